//! Who calls: static tokens from a file, one line each.
//!
//! ```text
//! # name:kind:token        kind = client | worker | admin
//! ana:client:6f1c0d…
//! gpu-07:worker:91ab44…
//! ```
//!
//! Only the SHA-256 of a token is kept. A caller is found by the digest of what it sent, so the
//! time of a refusal says nothing about how much of a guess was right.

use crate::{
    secret_file::{self, SecretFileError},
    status,
};
use http::{Extensions, HeaderMap, header::AUTHORIZATION};
use sha2::{Digest, Sha256};
use std::{collections::HashMap, fmt, path::Path, str::FromStr, sync::Arc};
use tonic::Status;

/// Fewest characters of a token: 128 bits in base64 need 22.
const TOKEN_LEN_MIN: usize = 20;

/// What a caller's token was given out for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// No tokens are configured (loopback only): every right.
    Anonymous,
    /// Owners of tasks.
    Client,
    /// Worker processes.
    Worker,
    /// Operators: every right of owners and of the governor's callers, but not to work on tasks.
    Admin,
}

impl FromStr for Kind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "client" => Ok(Self::Client),
            "worker" => Ok(Self::Worker),
            "admin" => Ok(Self::Admin),
            _ => Err(()),
        }
    }
}

/// A caller whose token was found; the server puts it into the extensions of every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name beside the token.
    pub name: Arc<str>,
    /// What the token is for.
    pub kind: Kind,
}

impl Identity {
    /// The caller where no tokens are configured.
    #[must_use]
    pub fn anonymous() -> Self {
        Self { name: "anonymous".into(), kind: Kind::Anonymous }
    }

    /// The caller of a request; set by [`crate::server`] for every call that reaches a handler.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<&Self> {
        extensions.get()
    }

    /// Refuses callers whose token was given out for something else.
    ///
    /// # Errors
    /// PERMISSION_DENIED. Anonymous and admin callers are never refused.
    pub fn require(&self, kind: Kind) -> Result<(), Status> {
        if matches!(self.kind, Kind::Anonymous | Kind::Admin) || self.kind == kind {
            return Ok(());
        }
        Err(status::permission_denied("the token was given out for another kind of caller"))
    }
}

/// Why a tokens file was refused: everything that is wrong with it, never a token.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// It could not be read safely.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// Some lines are wrong.
    #[error("{}", .0.join("; "))]
    Lines(Vec<String>),
}

/// Finds the caller of a request; cheap to clone.
#[derive(Clone, Default)]
pub struct Authenticator {
    tokens: Option<Arc<HashMap<[u8; 32], Identity>>>,
}

impl Authenticator {
    /// Everybody is [`Identity::anonymous`]: for loopback only.
    #[must_use]
    pub fn open() -> Self {
        Self::default()
    }

    /// Reads a tokens file of mode 0600 or stricter.
    ///
    /// # Errors
    /// [`TokensError`] with all bad lines.
    pub fn from_file(path: &Path) -> Result<Self, TokensError> {
        Self::parse(&secret_file::read(path)?)
    }

    /// Reads the text of a tokens file.
    ///
    /// # Errors
    /// [`TokensError::Lines`] with all bad lines; also when there is no token at all.
    pub fn parse(text: &str) -> Result<Self, TokensError> {
        let mut tokens = HashMap::new();
        let mut wrong = Vec::new();
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match parse_line(line) {
                Ok((digest, identity)) => {
                    if tokens.insert(digest, identity).is_some() {
                        wrong.push(format!("line {number}: the token stands twice in the file"));
                    }
                }
                Err(rule) => wrong.push(format!("line {number}: {rule}")),
            }
        }
        if tokens.is_empty() && wrong.is_empty() {
            wrong.push("the file has no token".to_owned());
        }
        if wrong.is_empty() {
            Ok(Self { tokens: Some(Arc::new(tokens)) })
        } else {
            Err(TokensError::Lines(wrong))
        }
    }

    /// Finds the caller by `authorization: Bearer <token>`.
    ///
    /// # Errors
    /// UNAUTHENTICATED, with one text for every cause.
    pub fn identify(&self, headers: &HeaderMap) -> Result<Identity, Status> {
        let Some(tokens) = &self.tokens else {
            return Ok(Identity::anonymous());
        };
        bearer(headers)
            .and_then(|token| tokens.get(&digest_of(token)))
            .cloned()
            .ok_or_else(status::unauthenticated)
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.tokens.as_ref().map(|tokens| tokens.len());
        f.debug_struct("Authenticator").field("tokens", &count).finish()
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn digest_of(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn parse_line(line: &str) -> Result<([u8; 32], Identity), &'static str> {
    let mut parts = line.splitn(3, ':');
    let (Some(name), Some(kind), Some(token)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("it is not name:kind:token");
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    if name.is_empty() || name.len() > 63 || !name.chars().all(fits) {
        return Err("the name is not 1 to 63 of letters, digits and -_.@");
    }
    let kind = kind.parse().map_err(|()| "the kind is not client, worker or admin")?;
    if token.len() < TOKEN_LEN_MIN || !token.chars().all(|c| c.is_ascii_graphic()) {
        return Err("the token is not at least 20 visible ASCII characters");
    }
    Ok((digest_of(token), Identity { name: name.into(), kind }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use http::HeaderValue;

    const ANA: &str = "ana-token-0123456789";

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn a_token_names_its_caller_and_all_refusals_read_the_same() {
        let file = format!("# who\n\nana:client:{ANA}\ngpu-07:worker:with:colon-0123456789\n");
        let auth = Authenticator::parse(&file).unwrap();
        let ana = auth.identify(&headers(&format!("Bearer {ANA}"))).unwrap();
        assert_eq!((&*ana.name, ana.kind), ("ana", Kind::Client));
        let worker = auth.identify(&headers("bearer with:colon-0123456789")).unwrap();
        assert_eq!(worker.kind, Kind::Worker);

        let texts: Vec<_> = [headers("Bearer nope"), headers(ANA), headers("Basic x")]
            .iter()
            .chain([&HeaderMap::new()])
            .map(|headers| auth.identify(headers).unwrap_err())
            .map(|status| (status.code(), status.message().to_owned()))
            .collect();
        assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
        assert_eq!(texts[0].0, tonic::Code::Unauthenticated);

        assert!(ana.require(Kind::Client).is_ok());
        assert_eq!(ana.require(Kind::Worker).unwrap_err().code(), tonic::Code::PermissionDenied);
        assert!(Identity::anonymous().require(Kind::Worker).is_ok());
    }

    #[test]
    fn all_bad_lines_are_named_and_no_token_is_shown() {
        let text =
            format!("a:boss:{ANA}\nb:client\nc:client:short\nd:client:{ANA}\ne:client:{ANA}");
        let error = Authenticator::parse(&text).unwrap_err().to_string();
        for line in ["line 1", "line 2", "line 3", "line 5"] {
            assert!(error.contains(line), "{error}");
        }
        assert!(!error.contains("line 4"), "{error}");
        assert!(!error.contains(ANA) && !error.contains("short"), "{error}");
        assert!(Authenticator::parse("# nobody\n").is_err());
    }
}
