//! Where settings come from, and how the layers become one tree.

use super::errors::ConfigErrors;
use config::{Config, ConfigError, File, FileFormat, Map, Source, Value, ValueKind};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The layers of one configuration, weakest first.
#[derive(Debug, Clone)]
pub struct Sources {
    defaults: &'static str,
    hints: Vec<(String, String, String)>,
    file: Option<PathBuf>,
    env_prefix: &'static str,
    env: Vec<(String, String)>,
    flags: Vec<(String, String)>,
}

impl Sources {
    /// Embedded defaults (TOML), and this process's environment under `env_prefix`: with
    /// `ASYNCFLOW_BROKER`, the variable `ASYNCFLOW_BROKER__DATABASE__URL` sets `database.url`.
    #[must_use]
    pub fn new(defaults: &'static str, env_prefix: &'static str) -> Self {
        let env = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value)))
            .map(|(key, value)| (key, value.to_string_lossy().into_owned()))
            .collect();
        Self { defaults, hints: Vec::new(), file: None, env_prefix, env, flags: Vec::new() }
    }

    /// A value in place of a default, weaker than everything else; `origin` says where it is from.
    #[must_use]
    pub fn hint(mut self, key: &str, origin: &str, value: impl Into<String>) -> Self {
        self.hints.push((key.to_owned(), origin.to_owned(), value.into()));
        self
    }

    /// A file over the defaults. It must exist.
    #[must_use]
    pub fn file(mut self, path: Option<PathBuf>) -> Self {
        self.file = path;
        self
    }

    /// Takes these variables instead of the process's environment.
    #[must_use]
    pub fn env(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.env = variables.into_iter().collect();
        self
    }

    /// A flag of the command line, the strongest layer. A value `[…]` is a TOML array.
    #[must_use]
    pub fn flag(mut self, key: &str, value: impl Into<String>) -> Self {
        self.flags.push((key.to_owned(), value.into()));
        self
    }

    pub(super) fn defaults_tree(&self) -> Result<Value, ConfigErrors> {
        check_syntax("the built-in defaults", self.defaults)?;
        tree(Config::builder().add_source(File::from_str(self.defaults, FileFormat::Toml)))
    }

    pub(super) fn merged_tree(&self) -> Result<Value, ConfigErrors> {
        let mut builder = Config::builder()
            .add_source(File::from_str(self.defaults, FileFormat::Toml))
            .add_source(Pairs(self.hints.clone()));
        if let Some(path) = &self.file {
            check_file(path)?;
            builder = builder.add_source(File::from(path.as_path()).format(FileFormat::Toml));
        }
        tree(builder.add_source(self.env_layer()).add_source(self.flag_layer()))
    }

    fn env_layer(&self) -> Pairs {
        let prefix = format!("{}__", self.env_prefix);
        let pairs = self.env.iter().filter_map(|(name, value)| {
            let key = name.strip_prefix(&prefix)?.to_lowercase().replace("__", ".");
            Some((key, format!("environment variable {name}"), value.clone()))
        });
        Pairs(pairs.collect())
    }

    fn flag_layer(&self) -> Pairs {
        let pairs = self.flags.iter();
        Pairs(pairs.map(|(k, v)| (k.clone(), "the command line".to_owned(), v.clone())).collect())
    }
}

/// Settings as (key path, origin, text); the text is converted where its type is known.
#[derive(Debug, Clone)]
struct Pairs(Vec<(String, String, String)>);

impl Source for Pairs {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        let values = self.0.iter().map(|(key, origin, text)| {
            (
                key.clone(),
                Value::new(Some(origin), array(text).unwrap_or_else(|| text.as_str().into())),
            )
        });
        Ok(values.collect())
    }
}

fn array(text: &str) -> Option<ValueKind> {
    let text = text.trim();
    if !(text.starts_with('[') && text.ends_with(']')) {
        return None;
    }
    let document = toml::from_str::<toml::Table>(&format!("value = {text}")).ok()?;
    let items = document.get("value")?.as_array()?.iter();
    let texts: Option<Vec<&str>> = items.map(toml::Value::as_str).collect();
    Some(texts?.into())
}

fn tree(
    builder: config::ConfigBuilder<config::builder::DefaultState>,
) -> Result<Value, ConfigErrors> {
    builder
        .build()
        .and_then(|config| config.collect())
        // `try_deserialize::<Value>` would lose where each value came from.
        .map(|table| Value::new(None, ValueKind::Table(table)))
        .map_err(|error| ConfigErrors::of("", super::mask::mask_urls(&error.to_string())))
}

fn check_file(path: &Path) -> Result<(), ConfigErrors> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path)
        .map_err(|error| ConfigErrors::of("", format!("cannot read {name}: {error}")))?;
    check_syntax(&name, &text)
}

/// Names the line and never shows it: it may hold a secret.
fn check_syntax(name: &str, text: &str) -> Result<(), ConfigErrors> {
    let Err(error) = toml::from_str::<toml::Table>(text) else {
        return Ok(());
    };
    let start = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count() + 1;
    Err(ConfigErrors::of("", format!("{name}, line {line}: {}", error.message())))
}
