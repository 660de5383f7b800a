//! Who may pull and push, and the tokens of a registry that hands them out.

use std::collections::BTreeMap;

use super::answer::Answer;
use super::http::{self, Incoming};

/// Who may pull and push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Anyone.
    Open,
    /// Who sends this header: `Basic` and the base64 of `user:password`.
    Basic(String),
    /// The same, but only `/v2/` says how to ask; elsewhere the refusal has no challenge.
    BasicAtTheDoor(String),
    /// Who has a token from `/token`, which anyone gets.
    Token,
    /// Who has a token from `/token`, which those get who send this header (see `Basic`).
    TokenFor(String),
    /// Who has a token from `/token`, which those get who `POST` this refresh token.
    TokenForIdentity(String),
}

/// The tokens that were handed out, with their scopes.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    /// The resources of each, with the actions that are allowed.
    scopes: BTreeMap<String, BTreeMap<String, String>>,
    handed_out: usize,
    /// What a request with a token that has run out is answered, instead of a challenge.
    pub(super) when_expired: Option<u16>,
}

impl Tokens {
    pub(super) fn expire(&mut self) {
        self.scopes.clear();
    }

    /// Answers `/token?service=…&scope=…`.
    pub(super) fn hand_out(&mut self, access: &Access, request: &Incoming) -> Answer {
        let form = String::from_utf8_lossy(&request.body);
        let is_known = match access {
            Access::TokenFor(header) => request.authorization() == Some(header),
            Access::TokenForIdentity(token) => {
                request.method == "POST"
                    && http::form(&form, "refresh_token").next().as_ref() == Some(token)
                    && http::form(&form, "grant_type").next().as_deref() == Some("refresh_token")
            }
            Access::Open | Access::Basic(_) | Access::BasicAtTheDoor(_) | Access::Token => true,
        };
        if !is_known {
            return Answer::error(401, "UNAUTHORIZED", "wrong user or password");
        }
        let scopes = match request.method.as_str() {
            "POST" => http::form(&form, "scope").collect(),
            _ => http::queries(&request.target, "scope"),
        };
        if scopes.is_empty() {
            return Answer::error(400, "UNSUPPORTED", "a scope is needed");
        }
        self.handed_out += 1;
        let token = format!("token-{}", self.handed_out);
        let granted = scopes
            .iter()
            .flat_map(|scope| scope.split(' '))
            .filter_map(|item| item.rsplit_once(':'))
            .map(|(resource, actions)| (resource.to_owned(), actions.to_owned()))
            .collect();
        self.scopes.insert(token.clone(), granted);
        Answer::json(serde_json::json!({ "token": token, "expires_in": 300 }).to_string())
    }

    /// The refusal, unless the request may do what it does in the repository.
    pub(super) fn refusal(
        &self,
        access: &Access,
        request: &Incoming,
        host: &str,
        path: &str,
    ) -> Option<Answer> {
        let resource = format!("repository:{path}");
        let actions = match request.method.as_str() {
            "GET" | "HEAD" => "pull",
            _ => "pull,push",
        };
        let (is_allowed, challenge) = match access {
            Access::Open => return None,
            Access::Basic(header) | Access::BasicAtTheDoor(header) => (
                request.authorization() == Some(header),
                r#"Basic realm="testkit""#.to_owned(),
            ),
            Access::Token | Access::TokenFor(_) | Access::TokenForIdentity(_) => {
                let token = request
                    .authorization()
                    .and_then(|header| header.strip_prefix("Bearer "));
                let granted = token.and_then(|token| self.scopes.get(token)?.get(&resource));
                let has = |action: &str| {
                    granted.is_some_and(|granted| granted.split(',').any(|has| has == action))
                };
                if let (Some(status), Some(_), None) = (self.when_expired, token, granted) {
                    return Some(Answer::error(status, "DENIED", "the token has run out"));
                }
                (
                    actions.split(',').all(has),
                    format!(
                        r#"Bearer realm="http://{host}/token",service="testkit",scope="{resource}:{actions}""#
                    ),
                )
            }
        };
        let says_how = !matches!(access, Access::BasicAtTheDoor(_)) || path.is_empty();
        (!is_allowed).then(|| {
            let refusal = Answer::error(401, "UNAUTHORIZED", "authentication required");
            if says_how {
                refusal.with("WWW-Authenticate", challenge)
            } else {
                refusal
            }
        })
    }
}
