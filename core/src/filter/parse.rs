//! From the text of a filter to a [`Filter`].

use super::{
    Filter,
    token::{Token, tokens},
};
use crate::{
    id::TypeName,
    limits::FILTER_BYTES_MAX,
    rfc3339,
    state::TaskState,
    validate::label,
    violation::{Violation, shown},
};

/// Told with everything that is refused, because the indexes serve nothing else.
const USABLE: &str = "usable are: state = RUNNING (several joined by OR), user = \"…\", \
                      task_type = …, labels.<key> = \"…\", \
                      create_time >= \"2026-01-01T00:00:00Z\", create_time < \"…\"; \
                      joined by AND";

/// Reads a filter. An empty one matches every task.
///
/// # Errors
/// A [`Violation`] of the field `filter` that says what cannot be read and which fields are usable.
pub fn parse(text: &str) -> Result<Filter, Violation> {
    read(text).map_err(|what| Violation {
        field: "filter".into(),
        description: format!("{what}; {USABLE}"),
    })
}

fn read(text: &str) -> Result<Filter, String> {
    if text.len() > FILTER_BYTES_MAX {
        return Err(format!("{} bytes are too many; at most {FILTER_BYTES_MAX}", text.len()));
    }
    let tokens = tokens(text)?;
    let mut reader = Reader { tokens: tokens.into_iter().peekable(), filter: Filter::default() };
    if reader.tokens.peek().is_none() {
        return Ok(reader.filter);
    }
    loop {
        reader.group()?;
        match reader.tokens.next() {
            None => return Ok(reader.filter),
            Some(Token::Word(word)) if word == "AND" => {}
            Some(other) => return Err(format!("{} stands where AND is expected", name(&other))),
        }
    }
}

struct Reader {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    filter: Filter,
}

/// `field operator value`.
struct Condition {
    field: String,
    operator: &'static str,
    value: String,
}

impl Reader {
    /// One condition, or several states joined by OR, with or without parentheses.
    fn group(&mut self) -> Result<(), String> {
        let opened = self.tokens.next_if_eq(&Token::Open).is_some();
        let first = self.condition()?;
        let mut states = Vec::new();
        if first.field == "state" {
            states.push(state(&first)?);
        }
        while self.tokens.next_if_eq(&Token::Word("OR".into())).is_some() {
            let next = self.condition()?;
            if first.field != "state" || next.field != "state" {
                return Err("OR joins states only".into());
            }
            states.push(state(&next)?);
        }
        if opened && self.tokens.next_if_eq(&Token::Close).is_none() {
            return Err("a closing parenthesis is missing".into());
        }
        if states.is_empty() {
            return self.apply(&first);
        }
        let slot = if self.filter.states.is_empty() { None } else { Some(()) };
        once(slot, "state")?;
        self.filter.states = states;
        Ok(())
    }

    fn condition(&mut self) -> Result<Condition, String> {
        let field = match self.tokens.next() {
            Some(Token::Word(field)) => field,
            Some(other) => return Err(format!("{} is not the name of a field", name(&other))),
            None => return Err("it ends where a field is expected".into()),
        };
        let operator = match self.tokens.next() {
            Some(Token::Operator(operator)) => operator,
            _ => return Err(format!("an operator is missing after {}", shown(&field))),
        };
        let value = match self.tokens.next() {
            Some(Token::Word(value) | Token::Quoted(value)) => value,
            _ => return Err(format!("a value is missing after {} {operator}", shown(&field))),
        };
        if value.chars().any(char::is_control) {
            return Err(format!("the value {} contains a control character", shown(&value)));
        }
        Ok(Condition { field, operator, value })
    }

    fn apply(&mut self, condition: &Condition) -> Result<(), String> {
        let Condition { field, operator, value } = condition;
        match field.as_str() {
            "create_time" => return self.create_time(operator, value),
            "user" => {
                equals(condition)?;
                once(self.filter.user.as_ref(), field)?;
                self.filter.user = Some(value.clone());
            }
            "task_type" => {
                equals(condition)?;
                once(self.filter.task_type.as_ref(), field)?;
                let task_type = TypeName::new(value)
                    .map_err(|error| format!("{} is not allowed: {error}", shown(value)))?;
                self.filter.task_type = Some(task_type);
            }
            _ => return self.label(condition),
        }
        Ok(())
    }

    fn label(&mut self, condition: &Condition) -> Result<(), String> {
        let field = &condition.field;
        let key = field
            .strip_prefix("labels.")
            .ok_or_else(|| format!("{} cannot be filtered by", shown(field)))?;
        if !label::is_key(key) {
            return Err(format!("{} is not a label's key", shown(key)));
        }
        equals(condition)?;
        once(self.filter.labels.iter().find(|(known, _)| known == key), field)?;
        self.filter.labels.push((key.to_owned(), condition.value.clone()));
        Ok(())
    }

    fn create_time(&mut self, operator: &str, value: &str) -> Result<(), String> {
        let time_ms = rfc3339::parse_ms(value)
            .ok_or_else(|| format!("{} is not a time like 2026-01-01T00:00:00Z", shown(value)))?;
        let bound = match operator {
            ">=" => &mut self.filter.created_from_ms,
            "<" => &mut self.filter.created_before_ms,
            _ => return Err(format!("create_time {operator} cannot be used, only >= and <")),
        };
        once(bound.as_ref(), &format!("create_time {operator}"))?;
        *bound = Some(time_ms);
        Ok(())
    }
}

fn equals(condition: &Condition) -> Result<(), String> {
    if condition.operator == "=" {
        Ok(())
    } else {
        Err(format!("{} {} cannot be used, only =", shown(&condition.field), condition.operator))
    }
}

fn once<T>(already: Option<T>, field: &str) -> Result<(), String> {
    match already {
        None => Ok(()),
        Some(_) => Err(format!("{} is given twice", shown(field))),
    }
}

fn state(condition: &Condition) -> Result<TaskState, String> {
    equals(condition)?;
    let known = TaskState::ALL.into_iter().find(|state| state.name() == condition.value);
    known.ok_or_else(|| {
        let names = TaskState::ALL.map(TaskState::name).join(", ");
        format!("{} is not a state ({names})", shown(&condition.value))
    })
}

fn name(token: &Token) -> String {
    match token {
        Token::Word(text) | Token::Quoted(text) => shown(text),
        Token::Operator(operator) => (*operator).into(),
        Token::Open => "(".into(),
        Token::Close => ")".into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_every_field() {
        let text = r#"state = RUNNING OR state = PENDING AND user = "al\"ice" AND task_type = train
            AND labels.project = 'x y' AND labels.a.b/c-d=1
            AND create_time >= "2026-01-01T00:00:00Z" AND create_time < "2026-01-01T00:00:01Z""#;
        let filter = parse(text).unwrap();
        assert_eq!(filter.states, [TaskState::Running, TaskState::Pending]);
        assert_eq!(filter.user.as_deref(), Some("al\"ice"));
        assert_eq!(filter.task_type.unwrap().as_str(), "train");
        let labels = [("project", "x y"), ("a.b/c-d", "1")].map(|(k, v)| (k.into(), v.into()));
        assert_eq!(filter.labels, labels);
        assert_eq!(filter.created_from_ms, Some(1_767_225_600_000));
        assert_eq!(filter.created_before_ms, Some(1_767_225_601_000));
        assert_eq!(parse("  ").unwrap(), Filter::default());
    }

    #[test]
    fn states_may_stand_in_parentheses() {
        let filter = parse("(state = FAILED OR state = CANCELLED) AND (user = bob)").unwrap();
        assert_eq!(filter.states, [TaskState::Failed, TaskState::Cancelled]);
        assert_eq!(filter.user.as_deref(), Some("bob"));
    }

    #[test]
    fn sql_in_a_value_is_a_value() {
        let filter = parse(r#"user = "'; DROP TABLE t_train_1; --""#).unwrap();
        assert_eq!(filter.user.as_deref(), Some("'; DROP TABLE t_train_1; --"));
    }

    #[test]
    fn refuses_everything_else_and_names_what_is_usable() {
        for text in [
            "user",
            "user =",
            "user = a b",
            "user = a AND",
            "user = a OR user = b",
            "user = a or user = b",
            "user != a",
            "user = a AND user = b",
            "state = running",
            "state = RUNNING AND state = PENDING",
            "NOT state = RUNNING",
            "payload = x",
            "labels. = x",
            "labels.A = x",
            "labels.a = x AND labels.a = y",
            "create_time = \"2026-01-01T00:00:00Z\"",
            "create_time < yesterday",
            "task_type = \"a'b\"",
            "user = \"no end",
            "user = \"\0\"",
            "((user = a))",
            "(user = a",
            "= = =",
            "'; DROP TABLE t_train_1",
        ] {
            let violation = parse(text).unwrap_err();
            assert_eq!(violation.field, "filter");
            assert!(violation.description.contains("usable are: state"), "{text}");
        }
        let deep = "(".repeat(100_000);
        assert!(parse(&deep).is_err());
        assert!(parse(&deep[..4_000]).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,200}") {
            let _ = parse(&text);
        }

        #[test]
        fn never_panics_on_the_right_words(
            words in proptest::collection::vec(
                proptest::sample::select(vec![
                    "state", "=", "RUNNING", "AND", "OR", "(", ")", "user", "\"a\"", "labels.a",
                    "create_time", ">=", "\\", "\"", "'", "é", "!", ":",
                ]),
                0..20,
            ),
        ) {
            let _ = parse(&words.join(" "));
            let _ = parse(&words.concat());
        }
    }
}
