//! Expressions: what they say of JSON values, and that none of them can take the broker down.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use asyncflow_core::expression::{EvaluationError, Expression, FUNCTIONS, VARIABLES, Variables};
use serde_json::{Value, json};

fn evaluate(source: &str, variables: &[(&'static str, Value)]) -> Result<Value, EvaluationError> {
    let variables: Variables<'_> = variables.iter().cloned().collect();
    let expression = Expression::parse(source, &VARIABLES).unwrap();
    expression.evaluate(&variables).map(|(value, _)| value)
}

#[test]
fn values_are_those_of_json() {
    let runs = json!([{"lr": 0.1, "accuracy": 0.91}, {"lr": 0.01, "accuracy": 0.97}]);
    let best = "prev.filter(a, prev.all(b, a.accuracy >= b.accuracy))[0].lr";
    for (source, prev, value) in [
        ("prev", json!({"a": [1, null, true, "x"], "b": {"c": 1.5}}), None),
        ("prev + 1", json!(41), Some(json!(42))),
        ("prev.map(x, x * 2)", json!([1, 2, 3]), Some(json!([2, 4, 6]))),
        ("prev.filter(x, x > 1).size()", json!([1, 2, 3]), Some(json!(2))),
        (
            "{'n': prev.n, 'twice': prev.n + prev.n}",
            json!({"n": 2}),
            Some(json!({"n": 2, "twice": 4})),
        ),
        ("has(prev.n) ? prev.n : 7", json!({"m": 2}), Some(json!(7))),
        ("'run-' + string(prev)", json!(3), Some(json!("run-3"))),
        ("prev > 18446744073709551614u", json!(u64::MAX), Some(json!(true))),
        (best, runs, Some(json!(0.01))),
    ] {
        let expected = value.unwrap_or_else(|| prev.clone());
        assert_eq!(evaluate(source, &[("prev", prev)]).unwrap(), expected, "{source}");
    }
}

#[test]
fn what_cannot_be_read_is_told() {
    let parse = |source: &str| Expression::parse(source, &["input"]).unwrap_err();
    for (source, what) in [
        ("1 +", "line 1, column 4: it ends where a value is missing"),
        ("input.a\n  && ) 1", "line 2, column 6: ) cannot stand here"),
        ("input.a = 1", "line 1, column 9: to compare, write =="),
        ("input.a and input.b", "line 1, column 9: write && for \"and\""),
        ("'abc", "line 1, column 1: a text is not closed"),
        ("input.a + other.b", "there is no other; it may name input"),
    ] {
        let told = parse(source);
        assert!(told.starts_with("in the expression \"") && told.ends_with(what), "{told}");
    }
    assert!(parse(&"1+".repeat(4_000)).contains("bytes are too many"));
    assert!(Expression::parse("input.map(x, x + 1)", &["input"]).is_ok(), "x is its own");
    for unknown in ["foo(1)", "input.matches('a')", "duration('1s')"] {
        assert!(parse(unknown).contains(": there is no function"), "{}", parse(unknown));
    }
}

#[test]
fn every_function_that_is_named_is_there() {
    for (call, value) in [
        ("size('abc')", json!(3)),
        ("'abc'.contains('b')", json!(true)),
        ("'abc'.startsWith('a')", json!(true)),
        ("'abc'.endsWith('b')", json!(false)),
        ("string(1.5)", json!("1.5")),
        ("int('7')", json!(7)),
        ("uint(7)", json!(7)),
        ("double(1)", json!(1.0)),
        ("bool('true')", json!(true)),
        ("size(bytes('ab'))", json!(2)),
        ("type(1) == type(2)", json!(true)),
    ] {
        assert_eq!(evaluate(call, &[]).unwrap(), value, "{call}");
    }
    assert_eq!(FUNCTIONS.len(), 11);
}

#[test]
fn what_has_no_value_is_told() {
    for source in ["prev.missing", "prev + 'text'", "prev / 0", "prev[7]", "1.0 / 0.0", "b'x'"] {
        let failed = evaluate(source, &[("prev", json!([1]))]).unwrap_err();
        assert!(matches!(failed, EvaluationError::Failed(_)), "{source}: {failed:?}");
        assert!(failed.to_string().len() < 300, "{failed}");
    }
}

/// A thread of the runtime has a stack of 2 MB.
#[test]
fn a_deep_expression_is_refused_or_read() {
    for (open, close) in [("(", ")"), ("[", "]"), ("-(", ")"), ("{'a':", "}"), ("prev[", "]")] {
        for depth in [10, 100, 1_000] {
            let source = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            match Expression::parse(&source, &VARIABLES) {
                Ok(expression) => {
                    let _ = expression.evaluate(&Variables::from([("prev", json!([1]))]));
                }
                Err(refused) => {
                    let is_told = ["nests too deeply", "nests deeper", "too many"];
                    assert!(is_told.iter().any(|what| refused.contains(what)), "{refused}");
                    assert!(!refused.contains("ParseError"), "{refused}");
                }
            }
        }
    }
    for deep in [format!("prev{}", ".a".repeat(2_000)), format!("1{}", "+1".repeat(2_000))] {
        let refused = Expression::parse(&deep, &VARIABLES).unwrap_err();
        assert!(refused.contains("deeper"), "{refused}");
    }
    assert_eq!(evaluate(&format!("1{}", "+1".repeat(90)), &[]).unwrap(), json!(91));
}

#[test]
fn what_could_take_too_long_or_too_much_is_not_begun() {
    let numbers: Vec<u32> = (0..10_000).collect();
    let prev = [("prev", json!(numbers))];
    let doubled = format!("['ab']{}", ".map(x, x + x)".repeat(60));
    let nested = format!("[1]{}", ".map(x, [x, x])".repeat(60));
    for source in [
        "prev.all(a, prev.all(b, a >= b || a < b))",
        "prev.map(a, prev)",
        "prev.all(x, [prev].exists(y, true))",
        "prev.map(a, prev.map(b, prev.map(c, 1)))",
        &doubled,
        &nested,
    ] {
        let refused = evaluate(source, &prev).unwrap_err();
        assert!(matches!(refused, EvaluationError::TooCostly { .. }), "{source}: {refused:?}");
    }
    // What people write for as many is not.
    for source in ["prev.map(x, x + 1)", "prev.filter(x, x > 7).size()", "prev.exists(x, x == 9)"] {
        evaluate(source, &prev).unwrap();
    }
}
