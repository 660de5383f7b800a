//! Pushes: what a registry has already is not sent, what another repository of it has is mounted, and
//! the rest is sent, from where a broken connection left off if the registry says where that is.
//!
//! ```text
//! push_blob:  has it? ── mount from elsewhere ── begin ── bytes ── finish with the digest
//!                                                  └── where were we? ──┘
//! ```
//!
//! A push goes to the registry itself, never to a mirror.

mod body;
mod session;
mod source;

use bytes::Bytes;
use lapstrake_distribution::endpoint;
use lapstrake_distribution::scope::Scope;
use lapstrake_oci::{Algorithm, Digest, Reference, Repo};
use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderName};
use reqwest::{Method, StatusCode, Url};

use crate::client::{Client, puller};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::http::{self, Asked};
use crate::request::{Peer, Request};
use crate::retry;

pub use source::{ByteStream, Copied, FromRead, Source};

use session::Session;

/// How a registry tells what it took something for.
pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// A blob that was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Its name.
    pub digest: Digest,
    /// How it came to be there.
    pub way: Way,
}

/// How a blob came to be in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// It was there.
    Existing,
    /// From another repository of the same registry.
    Mounted(Repo),
    /// So many bytes were sent, with those that had to be sent again.
    Sent(u64),
}

impl Client {
    /// Whether a repository has a blob, and of what size.
    ///
    /// # Errors
    /// If the registry doesn't say.
    pub async fn blob_exists(&self, repo: &Repo, digest: &Digest) -> Result<Option<u64>, Error> {
        // Only who pushes asks, and will need to be allowed to.
        let peer = self.pusher(repo)?;
        self.has_blob(&peer, digest).await
    }

    pub(crate) async fn has_blob(
        &self,
        peer: &Peer,
        digest: &Digest,
    ) -> Result<Option<u64>, Error> {
        let what = format!("the blob {digest}");
        let url = peer.endpoint.url(&endpoint::blob(&peer.path, digest))?;
        let request = Request::new(peer, &what, Method::HEAD, url);
        let answer = retry::until_done(|| self.net.fetch(&request)).await;
        match answer {
            Ok(answer) => {
                let length = http::text(answer.headers(), &CONTENT_LENGTH);
                let length = length.and_then(|length| length.parse().ok());
                // A registry that doesn't tell the length has the blob all the same.
                Ok(Some(length.unwrap_or(0)))
            }
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a blob can be pulled from a repository: from the registry, or from a mirror of it.
    ///
    /// # Errors
    /// If the registry doesn't say.
    pub async fn offers_blob(&self, repo: &Repo, digest: &Digest) -> Result<bool, Error> {
        for endpoint in self.net.endpoints_of_blob(repo.registry(), digest)? {
            let peer = puller(endpoint, repo);
            match self.has_blob(&peer, digest).await {
                Ok(Some(_)) => return Ok(true),
                Ok(None) => {}
                Err(error) if peer.endpoint.is_mirror() => self.net.failed(&peer.endpoint, &error),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Makes a blob of one repository a blob of another one of the same registry; whether the registry
    /// did so.
    ///
    /// # Errors
    /// If the registry can't be asked.
    pub async fn mount_blob(
        &self,
        repo: &Repo,
        digest: &Digest,
        from: &Repo,
    ) -> Result<bool, Error> {
        let peer = self.pusher(repo)?;
        let Some(url) = self.mount(&peer, digest, from).await? else {
            return Ok(true);
        };
        if let Some(url) = url {
            self.give_up(&peer, &url).await;
        }
        Ok(false)
    }

    /// Asks for a mount. `None` if it was done; otherwise the upload that was begun instead, if one was.
    async fn mount(
        &self,
        peer: &Peer,
        digest: &Digest,
        from: &Repo,
    ) -> Result<Option<Option<Url>>, Error> {
        if from.registry() != peer.endpoint.name || from.path() == peer.path {
            return Ok(Some(None));
        }
        let what = format!("the blob {digest} of {from}");
        let peer = Peer {
            scope: Scope::mount(&peer.path, from.path()),
            ..peer.clone()
        };
        let path = endpoint::mount(&peer.path, digest, from.path());
        let url = peer.endpoint.url(&path)?;
        let request = Request::new(&peer, &what, Method::POST, url.clone());
        let asked = Asked {
            registry: &peer.endpoint.name,
            what: &what,
        };
        match retry::until_done(|| self.net.fetch(&request)).await {
            Ok(answer) if answer.status() == StatusCode::CREATED => Ok(None),
            Ok(answer) => Ok(Some(self.net.target(&url, &answer, asked).ok())),
            // Not to be allowed to pull there, or no such blob, is a reason to send it.
            Err(error) if error.class() == crate::Class::Unavailable => Err(error),
            Err(_refused) => Ok(Some(None)),
        }
    }

    /// Ends an upload that is not needed, so that the registry need not keep it.
    async fn give_up(&self, peer: &Peer, url: &Url) {
        let request = Request::new(peer, "an upload", Method::DELETE, url.clone());
        // If this fails, the registry will forget the upload by itself.
        drop(self.net.ask(&request).await);
    }

    /// Makes sure that a repository has a blob. With a digest, what is there already or can be mounted
    /// from one of `elsewhere` is not sent, and the registry checks what is sent. Without, the digest is
    /// computed from what is sent.
    ///
    /// # Errors
    /// If the source can't be read, the registry refuses, or what was read is not what the digest says.
    pub async fn push_blob(
        &self,
        repo: &Repo,
        digest: Option<&Digest>,
        elsewhere: &[Repo],
        source: &mut impl Source,
    ) -> Result<Pushed, Error> {
        let peer = self.pusher(repo)?;
        let mut begun = None;
        if let Some(digest) = digest {
            let pushed = |way| Pushed {
                digest: digest.clone(),
                way,
            };
            if self.has_blob(&peer, digest).await?.is_some() {
                return Ok(pushed(Way::Existing));
            }
            for from in elsewhere {
                match self.mount(&peer, digest, from).await? {
                    None => {
                        if let Some(url) = begun {
                            self.give_up(&peer, &url).await;
                        }
                        return Ok(pushed(Way::Mounted(from.clone())));
                    }
                    Some(Some(url)) => {
                        if let Some(former) = begun.replace(url) {
                            self.give_up(&peer, &former).await;
                        }
                    }
                    Some(None) => {}
                }
            }
        }
        Session::new(self, &peer, digest, source).run(begun).await
    }

    /// Stores a manifest or an index under a reference's tag, or under its digest if it has no tag.
    ///
    /// # Errors
    /// If the registry refuses, or the reference has a digest that is not the document's.
    pub async fn push_manifest(
        &self,
        reference: &Reference,
        media_type: &str,
        raw: Bytes,
    ) -> Result<Digest, Error> {
        let repo = reference.repo();
        let peer = self.pusher(repo)?;
        let algorithm = reference
            .digest()
            .map_or(Algorithm::Sha256, Digest::algorithm);
        let digest = algorithm.digest(&raw);
        if let Some(want) = reference.digest().filter(|want| **want != digest) {
            return Err(Error::Mismatch {
                registry: repo.registry().to_owned(),
                want: want.clone(),
                got: digest,
            });
        }
        let name = reference
            .tag()
            .map_or_else(|| digest.to_string(), ToString::to_string);
        let what = format!("the manifest {}:{name}", repo.path());
        let url = peer.endpoint.url(&endpoint::manifest(&peer.path, &name))?;
        let mut request = Request::new(&peer, &what, Method::PUT, url);
        request.body = Some((media_type.to_owned(), raw));
        let answer = retry::until_done(|| self.net.fetch(&request)).await?;
        same_digest(answer.headers(), &digest, repo.registry())?;
        Ok(digest)
    }

    fn pusher(&self, repo: &Repo) -> Result<Peer, Error> {
        Ok(Peer {
            endpoint: Endpoint::origin(repo.registry(), &self.net.options)?,
            path: repo.path().to_owned(),
            scope: Scope::push(repo.path()),
        })
    }
}

/// What the registry took it for, if it says so.
pub(crate) fn same_digest(headers: &HeaderMap, want: &Digest, registry: &str) -> Result<(), Error> {
    let got = http::text(headers, &CONTENT_DIGEST).and_then(|text| text.parse::<Digest>().ok());
    match got {
        // One with another algorithm names the same bytes.
        Some(got) if got != *want && got.algorithm() == want.algorithm() => Err(Error::Mismatch {
            registry: registry.to_owned(),
            want: want.clone(),
            got,
        }),
        _ => Ok(()),
    }
}
