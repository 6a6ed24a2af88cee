//! Whether a task may end with a result.

use serde_json::Value;

use crate::{
    expression::{Expression, SUCCESS_VARIABLES, Variables},
    task::Content,
    workflow::content,
};

/// Most steps of a `success_if`: a few milliseconds at most.
const STEPS_MAX: u64 = 10_000;

/// What a `success_if` says of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    success_if: String,
    /// Why the result is refused, for people, if it is.
    refused: Option<String>,
}

impl Verdict {
    /// Looks at a result. That takes a while.
    pub fn of(success_if: &str, result: Option<&Content>) -> Self {
        let refused = holds(success_if, result).err();
        Self { success_if: success_if.to_owned(), refused }
    }

    /// Whether it is one by this condition.
    pub(crate) fn is_by(&self, success_if: &str) -> bool {
        self.success_if == success_if
    }

    pub(crate) fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }
}

fn holds(success_if: &str, result: Option<&Content>) -> Result<(), String> {
    let expression = Expression::parse_once(success_if, &SUCCESS_VARIABLES)?;
    let result = result.map(content::to_json).unwrap_or_default();
    match expression.evaluate_within(STEPS_MAX, &Variables::from([("result", result)])) {
        Ok((Value::Bool(true), _)) => Ok(()),
        Ok((Value::Bool(false), _)) => Err(format!("success_if does not hold: {success_if}")),
        Ok(_) => Err(format!("success_if is neither true nor false: {success_if}")),
        Err(error) => Err(format!("success_if {success_if}: {error}")),
    }
}
