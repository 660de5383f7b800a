//! Who may pull, and the tokens of a registry that hands them out.

use std::collections::BTreeMap;

use super::answer::Answer;
use super::http::{Incoming, query};

/// Who may pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Anyone.
    Open,
    /// Who sends this header: `Basic` and the base64 of `user:password`.
    Basic(String),
    /// Who has a token from `/token`, which anyone gets.
    Token,
    /// Who has a token from `/token`, which those get who send this header (see `Basic`).
    TokenFor(String),
}

/// The tokens that were handed out, with their scopes.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    scopes: BTreeMap<String, String>,
    handed_out: usize,
}

impl Tokens {
    pub(super) fn expire(&mut self) {
        self.scopes.clear();
    }

    /// Answers `/token?service=…&scope=…`.
    pub(super) fn hand_out(&mut self, access: &Access, request: &Incoming) -> Answer {
        if let Access::TokenFor(header) = access
            && request.authorization() != Some(header)
        {
            return Answer::error(401, "UNAUTHORIZED", "wrong user or password");
        }
        let Some(scope) = query(&request.target, "scope") else {
            return Answer::error(400, "UNSUPPORTED", "a scope is needed");
        };
        self.handed_out += 1;
        let token = format!("token-{}", self.handed_out);
        self.scopes.insert(token.clone(), scope);
        Answer::json(serde_json::json!({ "token": token, "expires_in": 300 }).to_string())
    }

    /// The refusal, unless the request may pull from the repository.
    pub(super) fn refusal(
        &self,
        access: &Access,
        request: &Incoming,
        host: &str,
        path: &str,
    ) -> Option<Answer> {
        let scope = format!("repository:{path}:pull");
        let (is_allowed, challenge) = match access {
            Access::Open => return None,
            Access::Basic(header) => (
                request.authorization() == Some(header),
                r#"Basic realm="testkit""#.to_owned(),
            ),
            Access::Token | Access::TokenFor(_) => {
                let token = request
                    .authorization()
                    .and_then(|header| header.strip_prefix("Bearer "));
                let granted = token.and_then(|token| self.scopes.get(token));
                (
                    granted == Some(&scope),
                    format!(
                        r#"Bearer realm="http://{host}/token",service="testkit",scope="{scope}""#
                    ),
                )
            }
        };
        (!is_allowed).then(|| {
            Answer::error(401, "UNAUTHORIZED", "authentication required")
                .with("WWW-Authenticate", challenge)
        })
    }
}
