//! What a client is told when it is made.

use std::collections::BTreeMap;

use lapstrake_distribution::endpoint;

use crate::certificates::Certificates;
use crate::credentials::Credentials;

/// With whom plain HTTP may be spoken. With a host that has certificates ([`Certificates`]) TLS is spoken
/// all the same.
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

/// Another place to pull a registry's images from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// `host` or `host:port`. Credentials, certificates and [`PlainHttp`] are looked up by it.
    pub host: String,
    /// What stands there before a repository's path, such as `proxy/hub`; empty for nothing.
    pub prefix: String,
}

/// Through whom registries are reached. This machine is always reached directly.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For plain HTTP: a URL, which may hold a user and a password.
    pub http: Option<String>,
    /// For HTTPS.
    pub https: Option<String>,
    /// Hosts, domains and networks that are reached directly, separated by commas, as in `NO_PROXY`.
    pub except: Option<String>,
}

impl std::fmt::Debug for Proxies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxies")
            .field("http", &self.http.is_some())
            .field("https", &self.https.is_some())
            .field("except", &self.except)
            .finish()
    }
}

/// How blobs are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetching {
    /// One request for a blob. The default: on a network without delay it costs least.
    Whole,
    /// Several requests at a time for a large blob, each for a part of it. It takes
    /// `parts * part_bytes` of memory for each blob that is being fetched, and pays where a connection
    /// is slower than the network.
    Parts {
        /// Requests at a time.
        parts: usize,
        /// Bytes of one of them.
        part_bytes: u64,
    },
}

/// How blobs are pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushing {
    /// One request for the bytes of a blob.
    Whole,
    /// A request for every so many bytes, for registries and proxies that take no large ones. So many are
    /// held in memory for each blob that is being pushed.
    Pieces(u64),
}

/// How a client behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// Sent as `User-Agent`.
    pub user_agent: String,
    /// With whom plain HTTP may be spoken.
    pub plain_http: PlainHttp,
    /// Who we are.
    pub credentials: Credentials,
    /// Whom to trust besides whom the system trusts, and our own certificates.
    pub certificates: Certificates,
    /// Through whom registries are reached.
    pub proxies: Proxies,
    /// By registry, as in references: where else to pull from, in this order, before the registry itself.
    pub mirrors: BTreeMap<String, Vec<Mirror>>,
    /// How blobs are fetched.
    pub fetching: Fetching,
    /// How blobs are pushed.
    pub pushing: Pushing,
}

impl Options {
    /// Of a client that knows nobody, goes straight to each registry, and speaks plain HTTP with this
    /// machine only.
    pub fn of(user_agent: &str) -> Self {
        Self {
            user_agent: user_agent.to_owned(),
            plain_http: PlainHttp::Loopback,
            credentials: Credentials::none(),
            certificates: Certificates::of_the_system(),
            proxies: Proxies::default(),
            mirrors: BTreeMap::new(),
            fetching: Fetching::Whole,
            pushing: Pushing::Whole,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_s_password_is_not_shown() {
        let proxies = Proxies {
            http: Some("http://me:hush@proxy".to_owned()),
            https: Some("http://me:hush@proxy".to_owned()),
            except: None,
        };
        assert!(!format!("{proxies:?}").contains("hush"));
    }
}
