//! Keeps secrets out of error messages and out of `config show`.

use serde::Serialize;

/// Stands for a secret.
const MASK: &str = "***";

/// Whether the value of this key (a path or its last part) is a secret; files of secrets are not.
pub(super) fn is_secret_key(key: &str) -> bool {
    let name = key.rsplit('.').next().unwrap_or(key).to_ascii_lowercase();
    let holds_secret = ["token", "password", "passwd", "secret", "api_key", "private_key"]
        .iter()
        .any(|word| name.contains(word));
    let is_place = ["_file", "_path", "_dir", "_ms", "_max", "_min", "_bytes"]
        .iter()
        .any(|suffix| name.ends_with(suffix));
    holds_secret && !is_place
}

/// Masks the passwords inside URLs, wherever they stand in `text`.
#[must_use]
pub fn mask_urls(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        let end = tail.find(|c: char| c.is_whitespace() || "\"'`<>".contains(c));
        let (url, after) = tail.split_at(end.unwrap_or(tail.len()));
        masked.push_str(head);
        masked.push_str(&mask_query(&mask_user(url)));
        rest = after;
    }
    masked.push_str(rest);
    masked
}

/// Everything up to the last `@` counts as user information: a password may hold a bare `/`.
fn mask_user(url: &str) -> String {
    let Some((user_info, host)) = url.rsplit_once('@') else {
        return url.to_owned();
    };
    match user_info.split_once(':') {
        Some((user, _)) => format!("{user}:{MASK}@{host}"),
        None => url.to_owned(),
    }
}

fn mask_query(url: &str) -> String {
    let Some((base, query)) = url.split_once('?') else {
        return url.to_owned();
    };
    let parts: Vec<String> = query
        .split('&')
        .map(|part| match part.split_once('=') {
            Some((key, _)) if is_secret_key(key) => format!("{key}={MASK}"),
            _ => part.to_owned(),
        })
        .collect();
    format!("{base}?{}", parts.join("&"))
}

/// Renders a configuration as TOML with its secrets masked.
///
/// # Errors
/// When `config` has something that TOML cannot express, which is a bug of its type.
pub fn show<T: Serialize>(config: &T) -> Result<String, toml::ser::Error> {
    let mut table = toml::Value::try_from(config)?;
    mask_value("", &mut table);
    toml::to_string_pretty(&table)
}

fn mask_value(key: &str, value: &mut toml::Value) {
    match value {
        toml::Value::Table(table) => {
            for (name, inner) in table.iter_mut() {
                mask_value(name, inner);
            }
        }
        toml::Value::Array(items) => items.iter_mut().for_each(|item| mask_value(key, item)),
        toml::Value::String(text) if is_secret_key(key) && !text.is_empty() => {
            MASK.clone_into(text);
        }
        toml::Value::String(text) => *text = mask_urls(text),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_urls_are_masked_wherever_they_stand() {
        for (text, expected) in [
            ("mysql://af:pw@db/x", "mysql://af:***@db/x"),
            ("bad \"redis://:p@ss/w@h:6379/0\", sorry", "bad \"redis://:***@h:6379/0\", sorry"),
            (
                "a postgres://u:p@h/d?sslmode=on&password=x b",
                "a postgres://u:***@h/d?sslmode=on&password=*** b",
            ),
            ("sqlite:///var/lib/x.db", "sqlite:///var/lib/x.db"),
            ("http://user@host", "http://user@host"),
            ("no url: at all", "no url: at all"),
        ] {
            assert_eq!(mask_urls(text), expected);
        }
    }

    #[test]
    fn a_file_of_tokens_is_no_secret_but_a_token_is() {
        for key in ["token", "worker.api_token", "database.password", "client_secret"] {
            assert!(is_secret_key(key), "{key}");
        }
        for key in ["auth.tokens_file", "token_file", "page_token_max", "url"] {
            assert!(!is_secret_key(key), "{key}");
        }
    }
}
