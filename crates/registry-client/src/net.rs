//! What a client's requests share: connections, credentials, and which mirrors are worth asking.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lapstrake_oci::Digest;
use reqwest::{NoProxy, Proxy};

use crate::auth::Auth;
use crate::certificates::HostCertificates;
use crate::endpoint::Endpoint;
use crate::error::{Class, Error};
use crate::http;
use crate::options::{Options, Proxies};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a mirror that could not be reached is passed over, so that not every request waits for it.
const REST: Duration = Duration::from_secs(60);
/// What is reached directly whatever the proxies are.
const THIS_MACHINE: &str = "localhost,127.0.0.0/8,::1";

#[derive(Debug)]
pub(crate) struct Net {
    pub(crate) options: Options,
    pub(crate) auth: Auth,
    /// For every host that has no certificates of its own.
    common: reqwest::Client,
    /// By host, filled when one is asked first.
    hosts: tokio::sync::Mutex<HashMap<String, reqwest::Client>>,
    resting: Mutex<HashMap<String, Instant>>,
    /// Blobs that no mirror is asked for any more.
    distrusted: Mutex<HashSet<Digest>>,
}

impl Net {
    pub(crate) fn new(options: Options) -> Result<Self, Error> {
        Ok(Self {
            common: client(&options, HostCertificates::default())?,
            options,
            auth: Auth::default(),
            hosts: tokio::sync::Mutex::default(),
            resting: Mutex::default(),
            distrusted: Mutex::default(),
        })
    }

    /// What speaks to a host, with the certificates that are for it.
    pub(crate) async fn to(&self, host: &str) -> Result<reqwest::Client, Error> {
        let mut hosts = self.hosts.lock().await;
        if let Some(client) = hosts.get(host) {
            return Ok(client.clone());
        }
        let (certificates, named) = (self.options.certificates.clone(), host.to_owned());
        let found = lapstrake_bridge::blocking(move || certificates.read(&named))
            .await
            .map_err(|error| Error::Setup(error.to_string()))??;
        let client = match found {
            None => self.common.clone(),
            Some(found) => client(&self.options, found)?,
        };
        hosts.insert(host.to_owned(), client.clone());
        Ok(client)
    }

    /// Where to pull from, in order; the last one is the registry itself.
    pub(crate) fn endpoints(&self, registry: &str) -> Result<Vec<Endpoint>, Error> {
        let mut endpoints = Vec::new();
        for mirror in self.options.mirrors.get(registry).into_iter().flatten() {
            if !self.is_resting(&mirror.host) {
                endpoints.push(Endpoint::mirror(mirror, registry, &self.options)?);
            }
        }
        endpoints.push(Endpoint::origin(registry, &self.options)?);
        Ok(endpoints)
    }

    /// The same for a blob.
    pub(crate) fn endpoints_of_blob(
        &self,
        registry: &str,
        blob: &Digest,
    ) -> Result<Vec<Endpoint>, Error> {
        let distrusted = self
            .distrusted
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if distrusted.contains(blob) {
            return Ok(vec![Endpoint::origin(registry, &self.options)?]);
        }
        drop(distrusted);
        self.endpoints(registry)
    }

    /// Asks no mirror for a blob any more; whether one may have been asked so far.
    pub(crate) fn distrust(&self, registry: &str, blob: &Digest) -> bool {
        let has_mirrors = self
            .options
            .mirrors
            .get(registry)
            .is_some_and(|m| !m.is_empty());
        let mut distrusted = self
            .distrusted
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        has_mirrors && distrusted.insert(blob.clone())
    }

    fn is_resting(&self, mirror: &str) -> bool {
        let resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        resting
            .get(mirror)
            .is_some_and(|since| since.elapsed() < REST)
    }

    /// Takes note that a mirror failed.
    pub(crate) fn failed(&self, mirror: &Endpoint, error: &Error) {
        if error.class() == Class::Unavailable {
            let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
            resting.insert(mirror.name.clone(), Instant::now());
        }
    }
}

fn client(options: &Options, certificates: HostCertificates) -> Result<reqwest::Client, Error> {
    let mut builder = reqwest::Client::builder()
        .user_agent(&options.user_agent)
        .connect_timeout(CONNECT_TIMEOUT)
        // Redirects are followed by us, so that credentials stay with their host. There is no limit of
        // time here, since an upload takes as long as it does: each request has its own.
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .http1_only();
    for proxy in proxies(&options.proxies)? {
        builder = builder.proxy(proxy);
    }
    if !certificates.authorities.is_empty() {
        builder = builder.tls_certs_merge(certificates.authorities);
    }
    if let Some(identity) = certificates.identity {
        builder = builder.identity(identity);
    }
    builder
        .build()
        .map_err(|error| Error::Setup(http::reason(&error)))
}

fn proxies(proxies: &Proxies) -> Result<Vec<Proxy>, Error> {
    let except = match &proxies.except {
        Some(except) => format!("{except},{THIS_MACHINE}"),
        None => THIS_MACHINE.to_owned(),
    };
    let mut made = Vec::new();
    for (scheme, url) in [("http", &proxies.http), ("https", &proxies.https)] {
        let Some(url) = url.as_deref().filter(|url| !url.is_empty()) else {
            continue;
        };
        let proxy = match scheme {
            "http" => Proxy::http(url),
            _ => Proxy::https(url),
        };
        // The URL may hold a password.
        let proxy = proxy
            .map_err(|_| Error::Setup(format!("the proxy for {scheme} is not given as a URL")))?;
        made.push(proxy.no_proxy(NoProxy::from_string(&except)));
    }
    Ok(made)
}
