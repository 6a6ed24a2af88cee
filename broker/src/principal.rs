//! Who calls: from the token that the server found to the domain's principal.

use asyncflow_core::access::{Denied, Principal, PrincipalKind, Verb, permit};
use asyncflow_service::auth::{Identity, Kind};

use crate::error::RpcError;

/// The principal behind a token.
pub fn principal(identity: &Identity) -> Principal {
    let kind = match identity.kind {
        Kind::Anonymous => PrincipalKind::Anonymous,
        Kind::Client => PrincipalKind::Client,
        Kind::Worker => PrincipalKind::Worker,
        Kind::Admin => PrincipalKind::Admin,
    };
    Principal { user: identity.name.to_string(), kind }
}

/// Refuses a caller who creates or changes what is another's and may not.
///
/// # Errors
/// [`Denied`].
pub fn permit_user(caller: &Principal, user: &str) -> Result<(), RpcError> {
    if user == caller.user {
        return Ok(());
    }
    Ok(permit(caller, Verb::ActForOthers)?)
}

/// Who the caller is, if a token says so, and it asks for what is its own.
pub fn own(caller: &Principal, is_asked: bool) -> Option<&str> {
    (is_asked && caller.kind != PrincipalKind::Anonymous).then_some(caller.user.as_str())
}

impl From<Denied> for RpcError {
    fn from(denied: Denied) -> Self {
        Self::Forbidden(denied)
    }
}
