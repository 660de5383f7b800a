//! The body of a registry's error answer: `{"errors":[{"code","message","detail"}]}`.

use serde::Deserialize;

/// How much of what a registry says is worth showing, in characters.
const EXCERPT_CHARS: usize = 200;

#[derive(Deserialize)]
struct Body {
    errors: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// What the registry says, in one line: the errors it lists, or the start of what it sent instead.
pub fn describe(body: &[u8]) -> String {
    if let Ok(Body { errors }) = serde_json::from_slice(body) {
        let lines: Vec<_> = errors
            .iter()
            .map(
                |entry| match (entry.code.as_str(), entry.message.as_str()) {
                    (code, "") => clean(code),
                    ("", message) => clean(message),
                    (code, message) => format!("{}: {}", clean(code), clean(message)),
                },
            )
            .filter(|line| !line.is_empty())
            .collect();
        return clean(&lines.join("; "));
    }
    clean(&String::from_utf8_lossy(body))
}

/// Text from outside, made safe to show on a terminal: one line, no control characters, not long.
fn clean(text: &str) -> String {
    text.trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(EXCERPT_CHARS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_one_line_without_control_characters() {
        let cases = [
            (
                r#"{"errors":[{"code":"A","message":"b"},{"code":"C"}]}"#,
                "A: b; C",
            ),
            (
                r#"{"errors":[{"code":"A","message":"b\u001b[31m","detail":{"x":1}}]}"#,
                "A: b [31m",
            ),
            (r#"{"errors":[]}"#, ""),
            ("<html>\n502", "<html> 502"),
            ("", ""),
        ];
        for (body, line) in cases {
            assert_eq!(describe(body.as_bytes()), line);
        }
    }
}
