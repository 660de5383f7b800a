//! What holds for every input, whoever made it: tests and fuzzers both ask this.
#![allow(dead_code, reason = "each user needs a part of it")]
#![allow(unreachable_pub, reason = "a module of several test crates")]

use lapstrake_distribution::challenge::{self, Challenge};
use lapstrake_distribution::{endpoint, errors, range, token};

/// Asks every parser of text from a registry: none panics, and what they return keeps its promises.
pub fn any_text(input: &[u8]) {
    let line = errors::describe(input);
    assert!(line.chars().count() <= 200, "{line}");
    assert!(!line.contains(char::is_control), "{line:?}");
    if let Some(token) = token::parse(input) {
        assert!(!token.secret.is_empty());
        assert!(token.lifetime.as_secs() >= 60);
    }
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    any_challenge(text);
    any_range(text);
    endpoint::is_loopback(text);
}

fn any_challenge(text: &str) {
    for challenge in challenge::parse(text) {
        let Challenge::Bearer(bearer) = challenge else {
            continue;
        };
        assert!(!bearer.realm.is_empty(), "{text:?}");
        // What was read means the same when it is written without the sender's liberties.
        let quote = |text: &str| text.replace('\\', r"\\").replace('"', "\\\"");
        let mut header = format!(r#"Bearer realm="{}""#, quote(&bearer.realm));
        for (name, value) in [("service", &bearer.service), ("scope", &bearer.scope)] {
            if let Some(value) = value {
                header.push_str(&format!(r#",{name}="{}""#, quote(value)));
            }
        }
        assert_eq!(challenge::parse(&header), [Challenge::Bearer(bearer)]);
    }
}

fn any_range(text: &str) {
    let Some(range) = range::parse(text) else {
        return;
    };
    assert!(range.first <= range.last, "{text:?}");
    assert!(
        range.complete.is_none_or(|all| range.last < all),
        "{text:?}"
    );
    let complete = range
        .complete
        .map_or_else(|| "*".to_owned(), |all| all.to_string());
    let written = format!("bytes {}-{}/{complete}", range.first, range.last);
    assert_eq!(range::parse(&written), Some(range));
}
