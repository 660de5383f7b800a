//! Where one registry's images are asked for: at the registry, or at a mirror of it.

use lapstrake_distribution::endpoint;
use reqwest::Url;

use crate::error::Error;
use crate::http;
use crate::options::{Mirror, Options};

/// A server that has images of a registry.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    /// As in references; credentials and messages go by it.
    pub(crate) name: String,
    base: Url,
    /// Stands before each repository's path: empty, or with a slash at its end.
    prefix: String,
    /// The registry that a mirror is asked to stand for.
    namespace: Option<String>,
}

impl Endpoint {
    /// The registry itself.
    pub(crate) fn origin(registry: &str, options: &Options) -> Result<Self, Error> {
        Ok(Self {
            name: registry.to_owned(),
            base: base(registry, endpoint::host(registry), options)?,
            prefix: String::new(),
            namespace: None,
        })
    }

    pub(crate) fn mirror(mirror: &Mirror, of: &str, options: &Options) -> Result<Self, Error> {
        let prefix = mirror.prefix.trim_matches('/');
        Ok(Self {
            name: mirror.host.clone(),
            base: base(&mirror.host, &mirror.host, options)?,
            prefix: if prefix.is_empty() {
                String::new()
            } else {
                format!("{prefix}/")
            },
            namespace: Some(of.to_owned()),
        })
    }

    pub(crate) fn is_mirror(&self) -> bool {
        self.namespace.is_some()
    }

    /// The path by which a repository goes here.
    pub(crate) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// The URL of what is at a path, such as [`endpoint::blob`] makes.
    pub(crate) fn url(&self, path: &str) -> Result<Url, Error> {
        let mut url = self.base.join(path).map_err(|error| Error::Transport {
            registry: self.name.clone(),
            what: path.to_owned(),
            reason: error.to_string(),
        })?;
        if let Some(namespace) = &self.namespace {
            url.query_pairs_mut().append_pair("ns", namespace);
        }
        Ok(url)
    }

    /// Whether a URL is this server's, so that it may see our credentials.
    pub(crate) fn is_at(&self, url: &Url) -> bool {
        self.base.origin() == url.origin()
    }
}

fn base(name: &str, host: &str, options: &Options) -> Result<Url, Error> {
    let scheme = if options.plain_http.allows(name) && !options.certificates.know(host) {
        "http"
    } else {
        "https"
    };
    let url = Url::parse(&format!("{scheme}://{host}/"));
    // A mirror's host comes from a person and may be anything, such as a URL.
    url.ok()
        .filter(|url| url.path() == "/" && url.query().is_none() && url.username().is_empty())
        .filter(|url| http::authority(url).is_some())
        .ok_or_else(|| Error::Setup(format!("{host:?} is no host to find a registry at")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirror(host: &str, prefix: &str) -> Result<String, Error> {
        let mirror = Mirror {
            host: host.to_owned(),
            prefix: prefix.to_owned(),
        };
        let endpoint = Endpoint::mirror(&mirror, "docker.io", &Options::of("test"))?;
        let path = endpoint::manifest(&endpoint.path("library/debian"), "12");
        Ok(endpoint.url(&path)?.to_string())
    }

    #[test]
    fn where_things_are() {
        let options = Options::of("test");
        let url = |registry| {
            let origin = Endpoint::origin(registry, &options).unwrap();
            origin.url("/v2/a/b/tags/list").unwrap().to_string()
        };
        assert_eq!(
            url("docker.io"),
            "https://registry-1.docker.io/v2/a/b/tags/list"
        );
        assert_eq!(
            url("localhost:5000"),
            "http://localhost:5000/v2/a/b/tags/list"
        );
        assert_eq!(
            mirror("m:5000", "").unwrap(),
            "https://m:5000/v2/library/debian/manifests/12?ns=docker.io"
        );
        assert_eq!(
            mirror("localhost", "/proxy/hub/").unwrap(),
            "http://localhost/v2/proxy/hub/library/debian/manifests/12?ns=docker.io"
        );
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for host in ["https://m", "m/path", "me:hush@m", "", "a b"] {
            assert!(mirror(host, "").is_err(), "{host}");
        }
    }
}
