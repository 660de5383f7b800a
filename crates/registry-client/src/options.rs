//! What a client is told when it is made.

use std::collections::BTreeMap;

use lapstrake_distribution::endpoint;

/// User and password, or a token in place of the password. Never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// With whom plain HTTP may be spoken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlainHttp {
    /// Registries on this machine only.
    Loopback,
    /// Those, and these: `host` or `host:port`, as in references.
    LoopbackAnd(Vec<String>),
}

impl PlainHttp {
    /// Whether to speak plain HTTP with a registry.
    pub(crate) fn allows(&self, host: &str) -> bool {
        endpoint::is_loopback(host)
            || matches!(self, Self::LoopbackAnd(hosts) if hosts.iter().any(|named| named == host))
    }
}

/// How a client behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// Sent as `User-Agent`.
    pub user_agent: String,
    /// With whom plain HTTP may be spoken.
    pub plain_http: PlainHttp,
    /// By registry, as in references (`docker.io`, `localhost:5000`).
    pub credentials: BTreeMap<String, Credential>,
}
