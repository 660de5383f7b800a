//! `config.json` of Docker and `auth.json` of containers tools, which have one form.
//!
//! A key of `auths` is a registry, or, in `auth.json`, a registry and the beginning of a path; the longest
//! that fits is meant. Older files have URLs there.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::Credential;
use super::helper::{Helper, HelperError};
use crate::error::Error;

/// The key under which Docker keeps what is meant for `docker.io`.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";
const DOCKER_HUB: &str = "docker.io";
/// Of all headers that Docker sends to its daemon, the daemon passes on those that begin so.
const META: &str = "x-meta-";

/// Credentials of a file, and the helpers that it names.
#[derive(Clone, Default)]
pub struct AuthFile {
    auths: BTreeMap<String, Credential>,
    helpers: BTreeMap<String, String>,
    store: Option<String>,
    headers: BTreeMap<String, String>,
}

impl std::fmt::Debug for AuthFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthFile")
            .field("auths", &self.auths)
            .field("helpers", &self.helpers)
            .field("store", &self.store)
            .field("headers", &self.headers.keys())
            .finish()
    }
}

#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    auths: Option<BTreeMap<String, Auth>>,
    #[serde(default, rename = "credHelpers")]
    helpers: Option<BTreeMap<String, String>>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
    #[serde(default, rename = "HttpHeaders")]
    headers: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl AuthFile {
    /// Reads a file; `None` if there is none.
    ///
    /// # Errors
    /// If it can't be read or understood.
    pub fn read(path: &Path) -> Result<Option<Self>, Error> {
        let unusable = |reason| Error::Config {
            path: path.to_owned(),
            reason,
        };
        match std::fs::read(path) {
            Ok(text) => Self::parse(&text).map(Some).map_err(unusable),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unusable(error.to_string())),
        }
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// Why it can't be understood. None of the text is in it.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        // The parser's own message may quote the text.
        let wire: Wire = serde_json::from_slice(text).map_err(|e| {
            format!(
                "line {}, column {} is not as it should be",
                e.line(),
                e.column()
            )
        })?;
        let mut auths = BTreeMap::new();
        for (key, auth) in wire.auths.unwrap_or_default() {
            if let Some(credential) =
                credential(auth).map_err(|reason| format!("`auths` of {key:?}: {reason}"))?
            {
                auths.insert(normal(&key), credential);
            }
        }
        let helpers = wire.helpers.unwrap_or_default().into_iter();
        Ok(Self {
            auths,
            helpers: helpers.map(|(key, name)| (normal(&key), name)).collect(),
            store: wire.store.filter(|name| !name.is_empty()),
            headers: wire.headers.unwrap_or_default(),
        })
    }

    pub(super) fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers
            .iter()
            .filter(|(name, _)| name.to_ascii_lowercase().starts_with(META))
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The helper to ask about a registry.
    pub(super) fn helper(&self, registry: &str) -> Result<Option<Helper>, HelperError> {
        let named = self.helpers.get(registry).or(self.store.as_ref());
        // An empty name means: no helper for this registry, though there is one for others.
        named
            .filter(|name| !name.is_empty())
            .map(|name| Helper::new(name))
            .transpose()
    }

    pub(super) fn credential(&self, registry: &str, path: &str) -> Option<&Credential> {
        let mut key = format!("{registry}/{path}");
        loop {
            if let Some(credential) = self.auths.get(&key) {
                return Some(credential);
            }
            key.truncate(key.rfind('/')?);
        }
    }
}

/// What a helper is asked about: its key for a registry.
pub(super) fn server(registry: &str) -> &str {
    if registry == DOCKER_HUB {
        DOCKER_HUB_KEY
    } else {
        registry
    }
}

/// A key as a registry and a path. The paths of the first two protocols are no part of it.
fn normal(key: &str) -> String {
    let rest = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    let rest = rest.trim_end_matches('/');
    let rest = ["/v1", "/v2"]
        .iter()
        .find_map(|version| rest.strip_suffix(version))
        .unwrap_or(rest);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = match host {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB,
        host => host,
    };
    if path.is_empty() {
        host.to_owned()
    } else {
        format!("{host}/{path}")
    }
}

fn credential(auth: Auth) -> Result<Option<Credential>, &'static str> {
    let said = |text: Option<String>| text.filter(|text| !text.is_empty());
    if let Some(token) = said(auth.identitytoken) {
        return Ok(Some(Credential::Identity(token)));
    }
    if let Some(token) = said(auth.registrytoken) {
        return Ok(Some(Credential::Registry(token)));
    }
    if let Some(pair) = said(auth.auth) {
        let pair = STANDARD.decode(pair.trim()).ok();
        let pair = pair.and_then(|pair| String::from_utf8(pair).ok());
        // Docker ends some passwords with zeros.
        let pair = pair.as_deref().and_then(|pair| pair.split_once(':'));
        let (username, password) = pair.ok_or("`auth` is not base64 of `user:password`")?;
        return Ok(Some(Credential::Password {
            username: username.to_owned(),
            password: password.trim_end_matches('\0').to_owned(),
        }));
    }
    Ok(said(auth.username).map(|username| Credential::Password {
        username,
        password: auth.password.unwrap_or_default(),
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(text: &str) -> AuthFile {
        AuthFile::parse(text.as_bytes()).unwrap()
    }

    fn password(username: &str, password: &str) -> Credential {
        Credential::Password {
            username: username.to_owned(),
            password: password.to_owned(),
        }
    }

    #[test]
    fn each_way_to_write_a_credential() {
        let auths = file(
            r#"{"auths":{
                "a":{"auth":"bWU6aHVzaA=="},
                "b":{"username":"me","password":"hush"},
                "c":{"auth":"bWU6aHVzaA==","identitytoken":"t"},
                "d":{"registrytoken":"t"},
                "e":{},
                "f":{"auth":"bWU6YTpiAAA=","email":"x"},
                "https://index.docker.io/v1/":{"auth":"bWU6aHVzaA=="},
                "https://old.example:5000/v2/":{"auth":"bWU6aHVzaA=="}}}"#,
        );
        let me = password("me", "hush");
        let cases = [
            ("a", Some(me.clone())),
            ("b", Some(me.clone())),
            ("c", Some(Credential::Identity("t".to_owned()))),
            ("d", Some(Credential::Registry("t".to_owned()))),
            ("e", None),
            ("f", Some(password("me", "a:b"))),
            ("docker.io", Some(me.clone())),
            ("old.example:5000", Some(me)),
            ("other", None),
        ];
        for (registry, expected) in cases {
            assert_eq!(
                auths.credential(registry, "x/y"),
                expected.as_ref(),
                "{registry}"
            );
        }
    }

    #[test]
    fn the_longest_key_that_fits() {
        let auths = file(
            r#"{"auths":{"r":{"username":"1"},"r/team":{"username":"2"},"r/team/app":{"username":"3"}}}"#,
        );
        let cases = [
            ("other", "1"),
            ("team", "2"),
            ("team/x", "2"),
            ("team/app", "3"),
            ("team/app/x", "3"),
            ("team/apple", "2"),
        ];
        for (path, username) in cases {
            assert_eq!(
                auths.credential("r", path),
                Some(&password(username, "")),
                "{path}"
            );
        }
    }

    #[test]
    fn a_registry_s_own_helper_comes_before_the_store() {
        let helpers =
            file(r#"{"credsStore":"all","credHelpers":{"r":"one","https://s/":"two","no":""}}"#);
        let name = |registry| {
            let helper = helpers.helper(registry).unwrap();
            helper.map(|helper| helper.program())
        };
        assert_eq!(name("r").as_deref(), Some("docker-credential-one"));
        assert_eq!(name("s").as_deref(), Some("docker-credential-two"));
        assert_eq!(name("t").as_deref(), Some("docker-credential-all"));
        assert_eq!(name("no"), None);
        assert!(file("{}").helper("r").unwrap().is_none());
        assert!(file(r#"{"credsStore":"../x"}"#).helper("r").is_err());
    }

    #[test]
    fn only_meta_headers_are_for_registries() {
        let headers =
            file(r#"{"HttpHeaders":{"X-Meta-A":"1","Authorization":"2","x-meta-b":"3"}}"#);
        let headers: Vec<_> = headers.headers().collect();
        assert_eq!(headers, [("X-Meta-A", "1"), ("x-meta-b", "3")]);
    }

    #[test]
    fn a_file_that_cannot_be_understood_is_not_quoted() {
        for text in [
            r#"{"auths":{"r":{"auth":"hush"}}}"#,
            r#"{"auths":{"r":{"auth":7,"password":"hush"}}}"#,
            r#"{"auths":"hush"}"#,
            "hush",
        ] {
            let reason = AuthFile::parse(text.as_bytes()).unwrap_err();
            assert!(!reason.contains("hush"), "{reason}");
        }
    }

    proptest! {
        #[test]
        fn keys_stay_what_they_are_when_read_again(key in r"(https://)?[a-z.:]{1,12}(/[a-z0-9]{1,4}){0,3}/?") {
            let once = normal(&key);
            prop_assume!(!once.ends_with("/v1") && !once.ends_with("/v2"));
            prop_assert_eq!(normal(&once), once);
        }
    }
}
