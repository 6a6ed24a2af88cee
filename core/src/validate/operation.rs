//! What an operation is asked for.

use super::{at::At, text};
use crate::{
    access::{Denied, Principal, Verb, permit},
    filter,
    limits::{MESSAGE_BYTES_MAX, REQUEST_ID_BYTES_MAX},
    operation::{NewOperation, OperationKind},
    violation::{Violation, Violations},
};

/// A request as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperationInput {
    pub filter: String,
    /// Every task is meant.
    pub all: bool,
    /// 0 = as many as match.
    pub changes_max: i64,
    /// May be empty.
    pub request_id: String,
    pub message: String,
    pub from_start: bool,
}

/// Checks a request; `None` goes with violations. Whose tasks it concerns is not restricted yet,
/// see [`restrict`].
pub fn new_operation(
    input: OperationInput,
    kind: OperationKind,
    user: &str,
    violations: &mut Violations,
) -> Option<NewOperation> {
    let at = At::REQUEST;
    let selection = at.field("selection");
    check_filter(&input, kind, selection.field("filter"), violations);
    if input.changes_max < 0 {
        let what = format!("{} is negative; 0 means as many as match", input.changes_max);
        violations.add(selection.field("max_tasks"), what);
    }
    if !input.request_id.is_empty() {
        let at = at.field("request_id");
        text::required_line(&input.request_id, REQUEST_ID_BYTES_MAX, at, violations);
    }
    text::prose(&input.message, MESSAGE_BYTES_MAX, at.field("reason"), violations);
    violations.is_empty().then(|| NewOperation {
        kind,
        user: user.to_owned(),
        filter: input.filter,
        only_user: None,
        changes_max: Some(input.changes_max).filter(|most| *most > 0),
        message: input.message,
        from_start: input.from_start,
        request_id: Some(input.request_id).filter(|id| !id.is_empty()),
    })
}

fn check_filter(
    input: &OperationInput,
    kind: OperationKind,
    at: At<'_>,
    violations: &mut Violations,
) {
    let verb = kind.verb();
    let chosen = match filter::parse(&input.filter) {
        Ok(chosen) => chosen,
        Err(Violation { description, .. }) => return violations.add(at, description),
    };
    match (input.filter.trim().is_empty(), input.all) {
        (true, false) => {
            let what = format!("it is empty; say `all` to {verb} every task that you may change");
            violations.add(at, what);
        }
        (false, true) => violations.add(at, "it must be empty with `all`"),
        _ => {}
    }
    let sensible = kind.sensible_states();
    for state in chosen.states.iter().filter(|state| !sensible.contains(state)) {
        let names: Vec<_> = sensible.iter().map(|state| state.name()).collect();
        let names = names.join(", ");
        violations.add(at, format!("{verb} is not for tasks that are {state}; only {names}"));
    }
}

/// Restricts an operation to what whoever asks for it may change: who may not act for others
/// changes tasks of their own, whatever the filter matches.
///
/// # Errors
/// [`Denied`] when the filter names another user.
pub fn restrict(new: &mut NewOperation, caller: &Principal) -> Result<(), Denied> {
    let Err(denied) = permit(caller, Verb::ActForOthers) else { return Ok(()) };
    let named = filter::parse(&new.filter).ok().and_then(|chosen| chosen.user);
    if named.is_some_and(|user| user != caller.user) {
        return Err(denied);
    }
    new.only_user = Some(caller.user.clone());
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::access::PrincipalKind;

    fn wrong(kind: OperationKind, input: OperationInput) -> Vec<String> {
        let mut violations = Violations::new();
        let new = new_operation(input, kind, "ann", &mut violations);
        assert_eq!(new.is_some(), violations.is_empty());
        violations.into_list().into_iter().map(|violation| violation.field).collect()
    }

    fn of(filter: &str) -> OperationInput {
        OperationInput { filter: filter.into(), ..OperationInput::default() }
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let input = OperationInput {
            changes_max: -1,
            request_id: " ".into(),
            message: "\0".into(),
            ..of("")
        };
        let fields = ["selection.filter", "selection.max_tasks", "request_id", "reason"];
        assert_eq!(wrong(OperationKind::Cancel, input), fields);
    }

    #[test]
    fn all_is_meant_only_when_it_is_said() {
        let kind = OperationKind::Delete;
        for (filter, all, is_right) in
            [("", false, false), (" ", false, false), ("", true, true), ("user = a", true, false)]
        {
            let input = OperationInput { all, ..of(filter) };
            assert_eq!(wrong(kind, input).is_empty(), is_right, "{filter:?} {all}");
        }
        assert!(wrong(kind, of("user = a")).is_empty());
    }

    #[test]
    fn states_that_make_no_sense_are_refused() {
        for (kind, filter, is_right) in [
            (OperationKind::Cancel, "state = PENDING OR state = RUNNING", true),
            (OperationKind::Cancel, "state = FAILED", false),
            (OperationKind::Retry, "state = SUCCEEDED", true),
            (OperationKind::Retry, "state = RUNNING", false),
            (OperationKind::Purge, "state = FAILED OR state = PENDING", false),
            (OperationKind::Delete, "state = RUNNING", true),
            (OperationKind::Delete, "priority = 3", false),
        ] {
            assert_eq!(wrong(kind, of(filter)).is_empty(), is_right, "{kind:?} {filter}");
        }
    }

    #[test]
    fn who_may_not_act_for_others_changes_tasks_of_their_own() {
        let made = |filter: &str, kind| {
            let mut violations = Violations::new();
            let new = new_operation(of(filter), OperationKind::Cancel, "ann", &mut violations);
            let mut new = new.unwrap();
            let caller = Principal { user: "ann".into(), kind };
            restrict(&mut new, &caller).map(|()| new.only_user)
        };
        let client = PrincipalKind::Client;
        assert_eq!(made("labels.a = b", client), Ok(Some("ann".into())));
        assert_eq!(made("user = ann", client), Ok(Some("ann".into())));
        assert!(made("user = bob", client).is_err());
        assert_eq!(made("user = bob", PrincipalKind::Admin), Ok(None));
        assert_eq!(made("labels.a = b", PrincipalKind::Anonymous), Ok(None));
    }
}
