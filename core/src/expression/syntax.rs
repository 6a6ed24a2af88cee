//! What is wrong with the text of an expression, in the words of who writes it.

use cel::{ParseError, ParseErrors};

/// The first thing that is wrong, and where; what follows from it is left out.
pub fn told(errors: &ParseErrors) -> String {
    let Some(first) = errors.errors.first() else { return "it cannot be read".to_owned() };
    // The parser tells that without a place, and packed into the error of its own library.
    if errors.errors.iter().any(|error| error.msg.to_lowercase().contains("recursion limit")) {
        return "it nests too deeply".to_owned();
    }
    let (line, column) = first.pos;
    format!("line {line}, column {column}: {}", what(first))
}

fn what(error: &ParseError) -> String {
    let text = error.msg.trim_start_matches("Syntax error: ");
    let Some(found) = found(text) else { return text.to_owned() };
    match found.trim() {
        "<EOF>" if text.contains("expecting {'['") => "it ends where a value is missing".to_owned(),
        "<EOF>" => "it ends too early; is a bracket open?".to_owned(),
        "=" => "to compare, write ==".to_owned(),
        "and" => "write && for \"and\"".to_owned(),
        "or" => "write || for \"or\"".to_owned(),
        "not" => "write ! for \"not\"".to_owned(),
        open if open.starts_with(['\'', '"']) => "a text is not closed".to_owned(),
        other => format!("{other} cannot stand here"),
    }
}

/// What the parser has met: in quotes, before what it would rather have met.
fn found(text: &str) -> Option<&str> {
    let begin = ["mismatched input '", "extraneous input '", "token recognition error at: '"];
    let rest = begin.iter().find_map(|begin| text.strip_prefix(begin))?;
    let end = rest.find("' expecting").or_else(|| rest.rfind('\''))?;
    rest.get(..end)
}
