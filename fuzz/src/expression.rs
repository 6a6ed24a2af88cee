//! An expression is read or refused, and has a value or none, within its bounds and in few words.

use asyncflow_core::expression::{
    EXPRESSION_BYTES_MAX, EvaluationError, Expression, VARIABLES, Variables,
};
use serde_json::json;

/// Less than what the broker allows, so that a run gets somewhere.
const STEPS_MAX: u64 = 20_000;
/// Values are counted with 16 bytes of text each, and written with quotes, commas and escapes.
const VALUE_BYTES_MAX: usize = 256 << 20;

/// Reads the bytes as an expression, and evaluates it.
pub fn check(data: &[u8]) {
    let Some(source) = crate::text(data) else { return };
    let expression = match Expression::parse(source, &VARIABLES) {
        Ok(expression) => expression,
        Err(what) => {
            assert!(!what.is_empty() && what.len() <= crate::TOLD_BYTES_MAX, "{what}");
            return;
        }
    };
    assert!(source.len() <= EXPRESSION_BYTES_MAX);
    assert_eq!(expression.source(), source);
    let variables = Variables::from([
        ("input", json!({"n": 3, "list": [1, 2, 3], "text": "größe", "deep": {"a": [null]}})),
        ("prev", json!([{"lr": 0.1, "accuracy": 0.91}, {"lr": 0.01, "accuracy": 0.97}])),
        ("nodes", json!({"train": {"loss": 0.25}})),
        ("payload", json!(u64::MAX)),
        ("item", json!("a")),
        ("index", json!(7)),
    ]);
    match expression.evaluate_within(STEPS_MAX, &variables) {
        Ok((value, steps)) => {
            assert!(steps <= STEPS_MAX);
            assert!(value.to_string().len() <= VALUE_BYTES_MAX);
        }
        Err(EvaluationError::TooCostly { .. }) => {}
        Err(EvaluationError::Failed(what)) => {
            assert!(!what.is_empty() && what.len() <= crate::TOLD_BYTES_MAX, "{what}");
        }
    }
}
