//! Names of task types and ids of tasks.
//!
//! A task id is `<type>-<shard>-<13 characters>`, e.g. `train-1-0c5wzq8a7r2kd`: it carries its type
//! and shard, so that a get by id touches exactly one table. The 13 characters are Crockford base32
//! (lower case) of a 63-bit number: 41 bits of milliseconds since 2024-01-01, 10 bits of node, 12
//! bits of sequence. Within a shard it is the primary key, and it grows with time.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// 2024-01-01T00:00:00Z in Unix milliseconds, where the time part of a key starts.
pub const EPOCH_MS: i64 = 1_704_067_200_000;
const NODE_BITS: u32 = 10;
const SEQUENCE_BITS: u32 = 12;
const KEY_CHARS: usize = 13;
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The longest name of a task type, in bytes.
pub const TYPE_NAME_BYTES_MAX: usize = 40;

/// A checked name of a task type: `[a-z][a-z0-9_]{0,39}`. Table names are built from nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TypeName(std::sync::Arc<str>);

/// A text that is not a task type's name or not a task id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error(
        "a task type is a lower-case letter followed by at most 39 lower-case letters, digits or _"
    )]
    TypeName,
    #[error("a task id is <type>-<shard>-<13 characters>, e.g. train-1-0c5wzq8a7r2kd")]
    TaskId,
    #[error("a workflow id is wf-<13 characters>, e.g. wf-0c5wzq8a7r2kd")]
    WorkflowId,
    #[error("an operation id is op-<13 characters>, e.g. op-0c5wzq8a7r2kd")]
    OperationId,
    #[error("a schedule id is sc-<13 characters>, e.g. sc-0c5wzq8a7r2kd")]
    ScheduleId,
}

impl TypeName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`IdError::TypeName`] if it is empty, too long, or has any other character.
    pub fn new(name: &str) -> Result<Self, IdError> {
        let mut bytes = name.bytes();
        let head = bytes.next().is_some_and(|b| b.is_ascii_lowercase());
        let tail = bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if head && tail && name.len() <= TYPE_NAME_BYTES_MAX {
            Ok(Self(name.into()))
        } else {
            Err(IdError::TypeName)
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<TypeName> for String {
    fn from(name: TypeName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl TryFrom<String> for TypeName {
    type Error = IdError;
    fn try_from(name: String) -> Result<Self, IdError> {
        Self::new(&name)
    }
}

impl FromStr for TypeName {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::new(text)
    }
}

/// One shard of a task type; its tables are `t_<type>_<n>` and its sisters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId {
    pub task_type: TypeName,
    /// From 1.
    pub number: i32,
}

/// A task's id. Ids of one shard order by time of creation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TaskId {
    pub shard: ShardId,
    /// The primary key within the shard's table; never negative.
    pub key: i64,
}

impl From<TaskId> for String {
    fn from(id: TaskId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for TaskId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl TaskId {
    pub fn task_type(&self) -> &TypeName {
        &self.shard.task_type
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-", self.shard.task_type, self.shard.number)?;
        write_key(self.key, f)
    }
}

fn write_key(key: i64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut text = [b'0'; KEY_CHARS];
    let mut rest = key as u64;
    for slot in text.iter_mut().rev() {
        *slot = ALPHABET[(rest & 31) as usize];
        rest >>= 5;
    }
    text.iter().try_for_each(|&byte| fmt::Write::write_char(f, byte as char))
}

/// A workflow's id, `wf-<13 characters>`: a key like those of tasks, so ids order by time of
/// creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkflowId(pub i64);

impl fmt::Display for WorkflowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("wf-")?;
        write_key(self.0, f)
    }
}

impl FromStr for WorkflowId {
    type Err = IdError;

    /// Accepts exactly what `Display` prints.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let key = text.strip_prefix("wf-").and_then(parse_key);
        key.map(Self).ok_or(IdError::WorkflowId)
    }
}

/// An operation's id, `op-<13 characters>`: a key like those of tasks, so that it is greater than
/// those of the tasks that its broker had made before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OperationId(pub i64);

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("op-")?;
        write_key(self.0, f)
    }
}

impl FromStr for OperationId {
    type Err = IdError;

    /// Accepts exactly what `Display` prints.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let key = text.strip_prefix("op-").and_then(parse_key);
        key.map(Self).ok_or(IdError::OperationId)
    }
}

/// A schedule's id, `sc-<13 characters>`: a key like those of tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScheduleId(pub i64);

impl fmt::Display for ScheduleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sc-")?;
        write_key(self.0, f)
    }
}

impl FromStr for ScheduleId {
    type Err = IdError;

    /// Accepts exactly what `Display` prints.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let key = text.strip_prefix("sc-").and_then(parse_key);
        key.map(Self).ok_or(IdError::ScheduleId)
    }
}

impl FromStr for TaskId {
    type Err = IdError;

    /// Accepts exactly what `Display` prints, so that a task has one id and no aliases.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let mut parts = text.split('-');
        let (Some(name), Some(shard), Some(key), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(IdError::TaskId);
        };
        let task_type = TypeName::new(name).map_err(|_| IdError::TaskId)?;
        let number = parse_shard(shard).ok_or(IdError::TaskId)?;
        let key = parse_key(key).ok_or(IdError::TaskId)?;
        Ok(Self { shard: ShardId { task_type, number }, key })
    }
}

fn parse_shard(text: &str) -> Option<i32> {
    let canonical = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    if canonical { text.parse().ok() } else { None }
}

fn parse_key(text: &str) -> Option<i64> {
    if text.len() != KEY_CHARS {
        return None;
    }
    let mut key: u128 = 0;
    for byte in text.bytes() {
        let digit = ALPHABET.iter().position(|&a| a == byte)?;
        key = (key << 5) | digit as u128;
    }
    i64::try_from(key).ok()
}

/// Makes keys that grow and that differ from those of other nodes as long as their node numbers
/// differ. Two brokers that drew the same node number collide at the primary key; the insert is
/// then repeated with fresh keys from a generator with another node number.
#[derive(Clone, Debug)]
pub struct KeyGenerator {
    node: i64,
    last: i64,
}

impl KeyGenerator {
    /// `node` is taken modulo 1,024.
    pub fn new(node: u16) -> Self {
        Self { node: i64::from(node) % (1 << NODE_BITS), last: 0 }
    }

    /// The next key for a task created at `now_ms`. Never repeats and never decreases, also when
    /// the clock goes back or more than 4,096 keys are drawn in a millisecond (it then runs ahead).
    pub fn next_key(&mut self, now_ms: i64) -> i64 {
        let tick = now_ms.saturating_sub(EPOCH_MS).clamp(0, (1 << 41) - 1) << SEQUENCE_BITS;
        self.last = (self.last + 1).max(tick);
        let (ms, sequence) = (self.last >> SEQUENCE_BITS, self.last & ((1 << SEQUENCE_BITS) - 1));
        (ms << (NODE_BITS + SEQUENCE_BITS)) | (self.node << SEQUENCE_BITS) | sequence
    }
}

/// The smallest key that a task created at `time_ms` can have: the border for paging by time.
pub fn first_key_at(time_ms: i64) -> i64 {
    time_ms.saturating_sub(EPOCH_MS).clamp(0, (1 << 41) - 1) << (NODE_BITS + SEQUENCE_BITS)
}

/// When a key was made, in Unix milliseconds, by the clock of whoever made it.
pub fn key_time_ms(key: i64) -> i64 {
    (key >> (NODE_BITS + SEQUENCE_BITS)) + EPOCH_MS
}
