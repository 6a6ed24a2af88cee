//! Expressions over JSON values, in CEL (the Common Expression Language): conditions, and how the
//! input of a task is made of the results of others.
//!
//! They come from outside, and are evaluated where everybody waits. CEL always comes to an end, but
//! not always soon, and it can make values much larger than those it was given. So before one is
//! evaluated, what it can cost at most is worked out from the shapes of its variables ([`bound`]).

mod bound;
mod json;
mod names;
mod syntax;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    thread,
};

use cel::{Context, Env, Program};
use serde_json::Value as Json;

use crate::violation::shown;
use bound::Bound;
use names::Needs;

/// The longest expression.
pub const EXPRESSION_BYTES_MAX: usize = 4_096;
/// All that an expression of a workflow may name, here or there.
pub const VARIABLES: [&str; 6] = ["input", "prev", "nodes", "payload", "item", "index"];
/// What the condition of a task's success may name.
pub const SUCCESS_VARIABLES: [&str; 1] = ["result"];
/// All that an expression may call, beside the macros `has`, `all`, `exists`, `exists_one`, `map`
/// and `filter`.
pub const FUNCTIONS: [&str; 11] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "string",
    "int",
    "uint",
    "double",
    "bool",
    "bytes",
    "type",
];
/// Most steps of an evaluation, estimated from above: half a second and less.
const STEPS_MAX: u64 = 2_000_000;
/// Most values that an evaluation may make, estimated from above.
const VALUES_MAX: u64 = 1_000_000;
/// Expressions that are kept.
const KNOWN_MAX: usize = 256;
/// Taken as it is needed.
const STACK_BYTES: usize = 64 << 20;
/// How deep an expression may nest: a sum of so many terms is so deep.
const DEPTH_MAX: usize = 100;
/// Most bytes of what is said about an evaluation that failed.
const ERROR_BYTES_MAX: usize = 256;

/// A checked expression. Clones are cheap.
#[derive(Clone)]
pub struct Expression {
    source: Arc<str>,
    program: Arc<Program>,
    free: Arc<BTreeSet<String>>,
    nodes: Arc<BTreeSet<String>>,
}

/// What an expression may name, with the values of one evaluation.
pub type Variables<'a> = BTreeMap<&'a str, Json>;

/// Why there is no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// What CEL says, for people.
    #[error("{0}")]
    Failed(String),
    /// It could take too long, or make too much.
    #[error(
        "it could take {steps} steps and make {values} values of an input this large; at most \
         {steps_max} and {VALUES_MAX}"
    )]
    TooCostly { steps: u64, values: u64, steps_max: u64 },
}

impl Expression {
    /// Reads an expression that may name these variables.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn parse(source: &str, variables: &[&str]) -> Result<Self, String> {
        if source.len() > EXPRESSION_BYTES_MAX {
            let bytes = source.len();
            return Err(format!("{bytes} bytes are too many; at most {EXPRESSION_BYTES_MAX}"));
        }
        let wrong = |what: String| format!("in the expression {}: {what}", shown(source));
        let (program, needs) = compile(source).map_err(wrong)?;
        if let Some(unknown) = needs.functions.iter().find(|name| !is_function(name)) {
            let known = FUNCTIONS.join(", ");
            return Err(wrong(format!("there is no function {unknown}; it may call {known}")));
        }
        let free = needs.variables;
        if let Some(unknown) = free.iter().find(|name| !variables.contains(&name.as_str())) {
            let known = variables.join(", ");
            return Err(wrong(format!("there is no {unknown}; it may name {known}")));
        }
        let (source, program) = (source.into(), Arc::new(program));
        Ok(Self { source, program, free: Arc::new(free), nodes: Arc::new(needs.nodes) })
    }

    /// The same for those that many tasks have: the last few are kept.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_once(source: &str, variables: &[&str]) -> Result<Self, String> {
        type Known = Mutex<HashMap<(String, usize), Expression>>;
        static KNOWN: LazyLock<Known> = LazyLock::new(Known::default);
        let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (source.to_owned(), variables.len());
        if let Some(expression) = known().get(&key) {
            return Ok(expression.clone());
        }
        let expression = Self::parse(source, variables)?;
        let mut known = known();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(key, expression.clone());
        Ok(expression)
    }

    /// What was read.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The names of nodes that it writes out, as in `nodes.train` and `nodes['train']`.
    pub fn nodes(&self) -> &BTreeSet<String> {
        &self.nodes
    }

    /// Whether it names this variable.
    pub fn names(&self, variable: &str) -> bool {
        self.free.contains(variable)
    }

    /// Its value, and how many steps that took at most.
    ///
    /// # Errors
    /// [`EvaluationError`]; those of CEL depend on the values.
    pub fn evaluate(&self, variables: &Variables<'_>) -> Result<(Json, u64), EvaluationError> {
        self.evaluate_within(STEPS_MAX, variables)
    }

    /// The same in at most so many steps.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    pub fn evaluate_within(
        &self,
        steps_max: u64,
        variables: &Variables<'_>,
    ) -> Result<(Json, u64), EvaluationError> {
        let cost = Bound::of(self.program.expression(), variables);
        let (steps, values) = (cost.steps, cost.shape.values);
        if steps > steps_max || values > VALUES_MAX {
            return Err(EvaluationError::TooCostly { steps, values, steps_max });
        }
        let value = on_a_deep_stack(|| {
            let mut context = Context::with_env(environment());
            for (name, value) in variables {
                context.add_variable_from_value(*name, json::to_cel(value));
            }
            let value = self.program.execute(&context).map_err(|error| error.to_string())?;
            json::from_cel(&value)
        });
        let value = value.map_err(|error| EvaluationError::Failed(shortened(error)))?;
        Ok((value, steps))
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.source, f)
    }
}

fn is_function(name: &str) -> bool {
    FUNCTIONS.contains(&name)
}

fn environment() -> Arc<Env> {
    static ENVIRONMENT: std::sync::LazyLock<Arc<Env>> =
        std::sync::LazyLock::new(|| Arc::new(Env::stdlib()));
    Arc::clone(&ENVIRONMENT)
}

/// The program, and what it needs.
fn compile(source: &str) -> Result<(Program, Needs), String> {
    let read = on_a_deep_stack(|| {
        let program = environment().compile(source).map_err(|errors| syntax::told(&errors))?;
        match names::needs(program.expression(), DEPTH_MAX) {
            Some(needs) => Ok((program, needs)),
            None => Err(format!("it nests deeper than {DEPTH_MAX} levels")),
        }
    });
    read.map_err(shortened)
}

/// On a thread of its own: CEL descends recursively and, in a debug build, takes more than 32 KiB a
/// level, and megabytes to read what it accepts at most. A thread of the runtime has two.
fn on_a_deep_stack<T: Send>(work: impl FnOnce() -> Result<T, String> + Send) -> Result<T, String> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("expression".into()).stack_size(STACK_BYTES);
        let thread = thread.spawn_scoped(scope, work).map_err(|error| error.to_string())?;
        thread.join().unwrap_or_else(|_| Err("it cannot be followed".into()))
    })
}

fn shortened(mut text: String) -> String {
    if text.len() > ERROR_BYTES_MAX {
        text.truncate(text.floor_char_boundary(ERROR_BYTES_MAX));
        text.push('…');
    }
    text
}
