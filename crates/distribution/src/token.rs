//! The token server's answer (the distribution project's "Token Authentication Specification").

use std::time::Duration;

use serde::Deserialize;

/// What a token server that says nothing of it means, and the least that it may mean, in seconds.
const DEFAULT_SECONDS: u64 = 60;

/// A token, which is a secret: it is not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// What to send after `Bearer `.
    pub secret: String,
    /// For how long it is good.
    pub lifetime: Duration,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token")
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// Reads the answer; `None` if it holds no token.
pub fn parse(body: &[u8]) -> Option<Token> {
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let secret = [answer.token, answer.access_token]
        .into_iter()
        .flatten()
        .find(|t| !t.is_empty())?;
    let seconds = answer
        .expires_in
        .unwrap_or(DEFAULT_SECONDS)
        .max(DEFAULT_SECONDS);
    Some(Token {
        secret,
        lifetime: Duration::from_secs(seconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_field_holds_the_token() {
        let token = |text: &str| parse(text.as_bytes()).map(|t| (t.secret, t.lifetime.as_secs()));
        let t = |secret: &str, seconds| Some((secret.to_owned(), seconds));
        assert_eq!(token(r#"{"token":"a"}"#), t("a", 60));
        assert_eq!(
            token(r#"{"token":"","access_token":"b","expires_in":300}"#),
            t("b", 300)
        );
        assert_eq!(token(r#"{"access_token":"b","expires_in":1}"#), t("b", 60));
        assert_eq!(token(r#"{"expires_in":1}"#), None);
        assert_eq!(token("<html>"), None);
    }

    #[test]
    fn a_token_is_not_shown() {
        let token = parse(br#"{"token":"hush"}"#).unwrap();
        assert!(!format!("{token:?}").contains("hush"));
    }
}
