//! Where the broker is, as the environment says it: the same variables as the command line has.

use std::{env, path::PathBuf};

use crate::{ChannelOptions, ClientOptions, Error};

const ADDRESS: &str = "http://127.0.0.1:7070";

impl ChannelOptions {
    /// By `ASYNCFLOW_BROKER` (default `http://127.0.0.1:7070`), `ASYNCFLOW_TOKEN`, which wins over
    /// `ASYNCFLOW_TOKEN_FILE`, and `ASYNCFLOW_CA_FILE`.
    ///
    /// Errors: [`Error::Config`] when the token's file cannot be read.
    pub fn from_env() -> Result<Self, Error> {
        Self::from_variables(|name| env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let address = variable("ASYNCFLOW_BROKER").unwrap_or_else(|| ADDRESS.to_owned());
        let read = |path: String| {
            std::fs::read_to_string(&path)
                .map(|token| token.trim().to_owned())
                .map_err(|source| Error::Config(format!("token file {path}: {source}")))
        };
        let token = match (variable("ASYNCFLOW_TOKEN"), variable("ASYNCFLOW_TOKEN_FILE")) {
            (Some(token), _) => Some(token),
            (None, path) => path.map(read).transpose()?,
        };
        let ca_file = variable("ASYNCFLOW_CA_FILE").map(PathBuf::from);
        Ok(Self { token, ca_file, ..Self::new(address) })
    }
}

impl ClientOptions {
    /// The broker of [`ChannelOptions::from_env`], and the defaults.
    ///
    /// Errors: as there.
    pub fn from_env() -> Result<Self, Error> {
        let ChannelOptions { address, token, ca_file, connect_timeout } =
            ChannelOptions::from_env()?;
        Ok(Self { address, token, ca_file, connect_timeout, ..Self::default() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::ChannelOptions;

    fn options(variables: &[(&str, &str)]) -> Result<ChannelOptions, crate::Error> {
        ChannelOptions::from_variables(|name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_environment_says_where_the_broker_is() {
        let none = options(&[]).unwrap();
        assert_eq!(
            (&*none.address, none.token, none.ca_file),
            ("http://127.0.0.1:7070", None, None)
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "from file\n").unwrap();
        let path = file.path().to_str().unwrap();
        let token_file = ("ASYNCFLOW_TOKEN_FILE", path);
        let all = options(&[("ASYNCFLOW_BROKER", "https://b:1"), token_file]).unwrap();
        assert_eq!((&*all.address, all.token.as_deref()), ("https://b:1", Some("from file")));
        let both = options(&[("ASYNCFLOW_TOKEN", "own"), token_file]).unwrap();
        assert_eq!(both.token.as_deref(), Some("own"));
        assert!(options(&[("ASYNCFLOW_TOKEN_FILE", "/no/such/file")]).is_err());
    }
}
