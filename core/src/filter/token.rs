//! The words of a filter.

/// A word of a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A field, a keyword or an unquoted value.
    Word(String),
    /// A quoted value, without its quotes and escapes.
    Quoted(String),
    /// `=`, `!=`, `<`, `<=`, `>`, `>=` or `:`.
    Operator(&'static str),
    Open,
    Close,
}

/// Two-character operators stand before their one-character beginnings.
const OPERATORS: [&str; 7] = ["!=", "<=", ">=", "=", "<", ">", ":"];

/// Cuts a filter into tokens, or says what cannot be read. Takes one pass and no recursion.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, after) = match first {
            '(' => (Token::Open, &rest[1..]),
            ')' => (Token::Close, &rest[1..]),
            '"' | '\'' => quoted(rest, first)?,
            _ => match OPERATORS.into_iter().find(|operator| rest.starts_with(operator)) {
                Some(operator) => (Token::Operator(operator), &rest[operator.len()..]),
                None => word(rest),
            },
        };
        tokens.push(token);
        rest = after.trim_start();
    }
    Ok(tokens)
}

/// A word goes on to the next space, quote, parenthesis or operator. A colon may stand inside it.
fn word(rest: &str) -> (Token, &str) {
    let ends =
        |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '(' | ')' | '=' | '!' | '<' | '>');
    // The first character belongs to it whatever it is, so that every word makes progress.
    let first = rest.chars().next().map_or(0, char::len_utf8);
    let end = rest[first..].find(ends).map_or(rest.len(), |at| first + at);
    (Token::Word(rest[..end].to_owned()), &rest[end..])
}

/// A quoted text; a backslash takes the next character as it is.
fn quoted(rest: &str, quote: char) -> Result<(Token, &str), String> {
    let mut value = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some((_, escaped)) => value.push(escaped),
                None => break,
            },
            _ if c == quote => return Ok((Token::Quoted(value), &rest[at + quote.len_utf8()..])),
            _ => value.push(c),
        }
    }
    Err(format!("the quoted text that begins at {} has no end", crate::violation::shown(rest)))
}
