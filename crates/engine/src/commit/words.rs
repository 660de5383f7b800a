//! Words of a Dockerfile's instruction: quotes, backslashes and variables, as Docker reads them.

use std::iter::Peekable;
use std::str::Chars;

/// What is wrong with a text.
pub(super) type Problem = &'static str;

/// The value of a variable, if it is set.
pub(super) type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Splits a text at blanks that are in no quotes. Quotes and backslashes stay where they are.
pub(super) fn split(text: &str) -> Result<Vec<String>, Problem> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => {
                word.push(c);
                word.extend(chars.next());
                continue;
            }
            ('"' | '\'', None) => quote = Some(c),
            (_, Some(open)) if c == open => quote = None,
            (_, None) if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            _ => {}
        }
        word.push(c);
    }
    if quote.is_some() {
        return Err("a quote is not closed");
    }
    if !word.is_empty() {
        words.push(word);
    }
    Ok(words)
}

/// A word without its quotes and backslashes, its variables replaced.
pub(super) fn expand(word: &str, variables: Variables<'_>) -> Result<String, Problem> {
    let mut chars = word.chars().peekable();
    let mut out = String::new();
    let mut in_double = false;
    while let Some(c) = chars.next() {
        match c {
            '\'' if !in_double => loop {
                match chars.next() {
                    Some('\'') => break,
                    Some(c) => out.push(c),
                    None => return Err("a quote is not closed"),
                }
            },
            '"' => in_double = !in_double,
            '\\' => match chars.next() {
                // Within double quotes a backslash is one, but before these.
                Some(next) if in_double && !matches!(next, '"' | '$' | '\\') => {
                    out.extend(['\\', next]);
                }
                Some(next) => out.push(next),
                None => out.push('\\'),
            },
            '$' => out.push_str(&variable(&mut chars, variables)?),
            c => out.push(c),
        }
    }
    if in_double {
        return Err("a quote is not closed");
    }
    Ok(out)
}

/// What stands after a dollar sign.
fn variable(chars: &mut Peekable<Chars<'_>>, variables: Variables<'_>) -> Result<String, Problem> {
    if chars.peek() != Some(&'{') {
        let name = name(chars);
        return Ok(match name.as_str() {
            "" => "$".to_owned(),
            name => variables(name).unwrap_or_default(),
        });
    }
    chars.next();
    let name = name(chars);
    let mut rest = String::new();
    loop {
        match chars.next() {
            Some('}') => break,
            Some(c) => rest.push(c),
            None => return Err("a ${ is not closed"),
        }
    }
    let value = variables(&name).filter(|value| !value.is_empty());
    match (name.is_empty(), rest.get(..2), rest.get(2..)) {
        (true, ..) => Err("a ${ names no variable"),
        (false, None, _) if rest.is_empty() => Ok(variables(&name).unwrap_or_default()),
        (false, Some(":-"), Some(word)) => match value {
            Some(value) => Ok(value),
            None => expand(word, variables),
        },
        (false, Some(":+"), Some(word)) => match value {
            Some(_) => expand(word, variables),
            None => Ok(String::new()),
        },
        _ => Err("only ${NAME}, ${NAME:-WORD} and ${NAME:+WORD} are known"),
    }
}

fn name(chars: &mut Peekable<Chars<'_>>) -> String {
    let mut name = String::new();
    while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
        name.push(c);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let variables = |name: &str| (name == "X").then(|| "x y".to_owned());
        let words = split(text).unwrap();
        let words: Vec<_> = words
            .iter()
            .map(|word| expand(word, &variables).unwrap())
            .collect();
        assert_eq!(words, expected, "{text}");
    }

    #[test]
    fn words_are_read_as_a_shell_would() {
        check("a  b\tc", &["a", "b", "c"]);
        check(r#"a="b c" d='e f' g\ h"#, &["a=b c", "d=e f", "g h"]);
        check(r#""a\"b\n" 'a\b'"#, &["a\"b\\n", "a\\b"]);
        check(
            "$X ${X} '$X' \\$X \"$X\"",
            &["x y", "x y", "$X", "$X", "x y"],
        );
        check(
            "${X:-d} ${Y:-d} ${X:+d} ${Y:+d}z $",
            &["x y", "d", "d", "z", "$"],
        );
    }

    #[test]
    fn what_is_not_closed_is_refused() {
        assert!(split("a 'b").is_err());
        assert!(expand("${X", &|_| None).is_err());
        assert!(expand("${X?no}", &|_| None).is_err());
    }
}
