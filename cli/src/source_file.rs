//! A file in YAML or JSON that somebody wrote, and where in it something stands.

use crate::{connection::Broker, error::CliError, refusal};
use asyncflow_sdk::Error as SdkError;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{Error as YamlError, Location, Options, Spanned};
use std::{
    fmt,
    path::{Path, PathBuf},
};

/// Values in a file, and how deep they nest.
const NODES_MAX: usize = 5_000_000;
const DEPTH_MAX: usize = 200;

/// What was read.
pub struct SourceFile {
    path: PathBuf,
    text: String,
}

impl SourceFile {
    /// Reads a file; `-` is standard input.
    pub fn read(path: &Path) -> Result<Self, CliError> {
        let text = if path == Path::new("-") {
            std::io::read_to_string(std::io::stdin())
        } else {
            std::fs::read_to_string(path)
        };
        let text = text.map_err(|error| CliError::file(path, &error))?;
        Ok(Self { path: path.to_owned(), text })
    }

    /// What it says. `kind` is what it should be, `help` where that is described.
    pub fn parse<T: DeserializeOwned>(&self, kind: &str, help: &str) -> Result<T, CliError> {
        parse(&self.text).map_err(|error| CliError::Usage(self.told(&error, kind, help)))
    }

    /// An error about what it says.
    pub fn blame(&self, error: CliError) -> CliError {
        match error {
            CliError::Usage(what) => CliError::Usage(format!("{}: {what}", self.path.display())),
            other => other,
        }
    }

    /// The broker's refusal of the thing that it describes.
    pub fn refused(&self, broker: &Broker, error: SdkError, thing: &str) -> CliError {
        refusal::told(broker, error, thing, |path| self.place(path))
    }

    /// `file.yaml:12:5: nodes[1].run_if`; of what is not in it, where it would have to be.
    pub fn place(&self, path: &str) -> String {
        let tree = parse::<Tree>(&self.text).ok();
        let at = tree.and_then(|tree| tree.find(path)).unwrap_or_else(|| ": ".to_owned());
        format!("{}{at}{path}", self.path.display())
    }

    fn told(&self, error: &YamlError, kind: &str, help: &str) -> String {
        let path = self.path.display();
        let help = format!("{path} should be a {kind}: {help}");
        let bare = error.without_snippet();
        let Some(location) = bare.location().filter(|location| location.line() > 0) else {
            return format!("{path}: {bare}\n  {help}");
        };
        let (line, column) = (location.line(), location.column());
        let what = bare.to_string();
        let what = what.strip_prefix("error: ").unwrap_or(&what);
        let what = what.replace(&format!("line {line} column {column}: "), "");
        let what = what.replace(&format!(" at line {line}, column {column}"), "");
        let tree = parse::<Tree>(&self.text).ok();
        let field = tree.and_then(|tree| tree.path_to((line, column)));
        let field = field.filter(|field| !field.is_empty()).map(|field| format!("{field}: "));
        let shown = self.text.lines().nth(line as usize - 1).unwrap_or_default();
        let mark = " ".repeat((column as usize).saturating_sub(1));
        let field = field.unwrap_or_default();
        format!(
            "{path}:{line}:{column}: {field}{}\n  | {shown}\n  | {mark}^\n  {help}",
            plain(&what)
        )
    }
}

/// The parser's words, for those who do not write parsers.
fn plain(what: &str) -> String {
    if let Some(value) = what.strip_prefix("unknown variant ") {
        return format!("there is no {value}");
    }
    if what.contains("did not find expected") {
        let look = "it does not fit to what stands before it: look at indents, brackets and quotes";
        return format!("{look} ({what})");
    }
    match what {
        "invalid i32" | "invalid u32" | "invalid i64" => "it must be a whole number".to_owned(),
        "expected mapping start" => "it must be fields with values, `field: value`".to_owned(),
        "expected sequence start" => "it must be a list".to_owned(),
        other => other.to_owned(),
    }
}

/// Reads a text in YAML or JSON.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    // The broker has limits of its own, which it tells in words of workflows.
    let options: Options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: NODES_MAX,
            max_events: NODES_MAX,
            max_depth: DEPTH_MAX,
        },
    };
    serde_saphyr::from_str_with_options(text, options)
}

/// Line and column, from 1.
type Spot = (u64, u64);

/// A value with its place in the text.
struct Tree {
    spot: Spot,
    value: Value,
}

enum Value {
    Leaf,
    List(Vec<Tree>),
    /// With the places of the keys.
    Map(Vec<(String, Spot, Tree)>),
}

impl Tree {
    /// `:12:5: ` of the deepest value on the path that is there.
    fn find(&self, path: &str) -> Option<String> {
        let (mut here, mut spot) = (self, None);
        for step in path.split(['.', '[']).filter(|step| !step.is_empty()) {
            let next = match &here.value {
                Value::Leaf => None,
                Value::List(list) => {
                    let index = step.trim_end_matches(']').parse::<usize>().ok();
                    index.and_then(|index| list.get(index))
                }
                Value::Map(map) => {
                    map.iter().find(|(key, ..)| key == step).map(|(.., value)| value)
                }
            };
            let Some(next) = next else { break };
            (here, spot) = (next, Some(next.spot));
        }
        spot.map(|(line, column)| format!(":{line}:{column}: "))
    }

    /// The path to what stands exactly there.
    fn path_to(&self, spot: Spot) -> Option<String> {
        match &self.value {
            Value::List(list) => list.iter().enumerate().find_map(|(index, item)| {
                let below = item.path_to(spot)?;
                Some(joined(&format!("[{index}]"), &below))
            }),
            Value::Map(map) => map.iter().find_map(|(key, at, value)| {
                let below = if *at == spot { String::new() } else { value.path_to(spot)? };
                Some(joined(key, &below))
            }),
            Value::Leaf => None,
        }
        .or_else(|| (self.spot == spot).then(String::new))
    }
}

fn joined(step: &str, below: &str) -> String {
    let dot = if below.is_empty() || below.starts_with('[') { "" } else { "." };
    format!("{step}{dot}{below}")
}

fn spot(location: Location) -> Spot {
    (location.line(), location.column())
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { spot: spot(read.referenced), value: read.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

macro_rules! leaves {
    ($($visit:ident: $kind:ty),*) => {
        $(fn $visit<E>(self, _: $kind) -> Result<Value, E> { Ok(Value::Leaf) })*
    };
}

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    leaves!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Leaf)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Leaf)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = seq.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = access.next_key::<Spanned<String>>()? {
            map.push((key.value, spot(key.referenced), access.next_value()?));
        }
        Ok(Value::Map(map))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn file(text: &str) -> SourceFile {
        SourceFile { path: "f.yaml".into(), text: text.to_owned() }
    }

    #[test]
    fn a_path_is_found_as_far_as_it_goes() {
        let file = file("name: x\nnodes:\n  - name: a\n    task: {type: t}\n");
        for (path, place) in [
            ("nodes[0].task.type", "f.yaml:4:18: nodes[0].task.type"),
            ("nodes[0].run_if", "f.yaml:3:5: nodes[0].run_if"),
            ("nodes[7]", "f.yaml:3:3: nodes[7]"),
            ("labels", "f.yaml: labels"),
        ] {
            assert_eq!(file.place(path), place);
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_place_and_field() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[allow(dead_code, reason = "read, and not looked at")]
        struct Thing {
            nodes: Vec<Node>,
        }
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[allow(dead_code, reason = "read, and not looked at")]
        struct Node {
            tries: Option<i32>,
        }
        for (text, told) in [
            ("nodes:\n  - tries: many\n", "f.yaml:2:12: nodes[0].tries: it must be a whole number"),
            ("nodes:\n  - trys: 1\n", "f.yaml:2:5: nodes[0].trys: unknown field `trys`"),
            ("nodes:\n  - tries: 1\n trys: 1\n", "f.yaml:3:2: it does not fit"),
            ("hello", "f.yaml:1:1: it must be fields with values"),
        ] {
            let error = file(text).parse::<Thing>("thing", "see the guide").unwrap_err();
            let error = error.to_string();
            assert!(error.starts_with(told), "{error}");
            assert!(error.ends_with("f.yaml should be a thing: see the guide"), "{error}");
        }
    }
}
