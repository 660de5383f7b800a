//! The client: what can be asked of a registry.

use std::sync::Arc;

use lapstrake_distribution::endpoint;
use lapstrake_distribution::scope::Scope;
use lapstrake_oci::{Algorithm, Descriptor, Digest, Document, Reference, Repo, bounds, media_type};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;

use crate::blob::{BlobStream, OnRetry};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::http::{self, Asked};
use crate::net::Net;
use crate::options::Options;
use crate::request::{Peer, Request};
use crate::retry;

/// A client for any number of registries. Clones share connections and tokens.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) net: Arc<Net>,
}

/// What a reference leads to.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The name of the document.
    pub digest: Digest,
    /// A manifest, or an index to choose from. Its bytes were checked against the digest if the
    /// reference has one.
    pub document: Document,
}

/// A document or a small blob that is wanted whole.
struct Wanted<'a> {
    repo: &'a Repo,
    what: String,
    /// Below the repository: makes a path of the repository's path.
    place: &'a (dyn Fn(&str) -> String + Sync),
    accept: Option<String>,
    max: u64,
    algorithm: Algorithm,
    digest: Option<&'a Digest>,
}

/// What came, checked.
struct Whole {
    digest: Digest,
    media_type: Option<String>,
    body: Vec<u8>,
}

impl Client {
    /// Makes a client. It connects to nothing yet.
    ///
    /// # Errors
    /// If TLS can't be set up, or a proxy is given that is none.
    pub fn new(options: Options) -> Result<Self, Error> {
        Ok(Self {
            net: Arc::new(Net::new(options)?),
        })
    }

    /// Fetches what a reference leads to.
    ///
    /// # Errors
    /// If it can't be fetched, is not what the reference's digest says, or is no image or index.
    pub async fn resolve(&self, reference: &Reference) -> Result<Resolved, Error> {
        let name = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.to_string(),
            (None, None) => lapstrake_oci::reference::DEFAULT_TAG.to_owned(),
        };
        self.document(reference.repo(), &name, reference.digest())
            .await
    }

    /// Fetches a manifest or index by its digest.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub async fn manifest(&self, repo: &Repo, digest: &Digest) -> Result<Resolved, Error> {
        self.document(repo, &digest.to_string(), Some(digest)).await
    }

    async fn document(
        &self,
        repo: &Repo,
        name: &str,
        digest: Option<&Digest>,
    ) -> Result<Resolved, Error> {
        let what = format!("the manifest {}:{name}", repo.path());
        let whole = self
            .whole(Wanted {
                repo,
                what: what.clone(),
                place: &|path| endpoint::manifest(path, name),
                accept: Some(media_type::ACCEPT.join(", ")),
                max: bounds::MAX_MANIFEST_BYTES as u64,
                algorithm: digest.map_or(Algorithm::Sha256, Digest::algorithm),
                digest,
            })
            .await?;
        let document = Document::parse(whole.body, whole.media_type.as_deref());
        let document = document.map_err(|source| Error::Document {
            registry: repo.registry().to_owned(),
            what,
            source,
        })?;
        Ok(Resolved {
            digest: whole.digest,
            document,
        })
    }

    /// Fetches a small blob, such as a config, whole.
    ///
    /// # Errors
    /// If it can't be fetched, is larger than `max` bytes, or is not what its digest says.
    pub async fn small_blob(
        &self,
        repo: &Repo,
        blob: &Descriptor,
        max: u64,
    ) -> Result<Vec<u8>, Error> {
        let whole = self
            .whole(Wanted {
                repo,
                what: format!("the blob {}", blob.digest),
                place: &|path| endpoint::blob(path, &blob.digest),
                accept: None,
                max: max.min(blob.size),
                algorithm: blob.digest.algorithm(),
                digest: Some(&blob.digest),
            })
            .await?;
        Ok(whole.body)
    }

    /// Starts to fetch a blob of any size.
    ///
    /// # Errors
    /// If the registry refuses.
    pub async fn blob(&self, repo: &Repo, blob: &Descriptor) -> Result<BlobStream, Error> {
        self.blob_after(repo, blob, 0).await
    }

    /// Starts to fetch a blob from a byte on.
    ///
    /// # Errors
    /// If the registry refuses.
    pub async fn blob_after(
        &self,
        repo: &Repo,
        blob: &Descriptor,
        from: u64,
    ) -> Result<BlobStream, Error> {
        self.blob_telling(repo, blob, from, OnRetry::silent()).await
    }

    /// As [`Self::blob_after`], and tells whenever something is asked for once more.
    ///
    /// # Errors
    /// If the registry refuses.
    pub async fn blob_telling(
        &self,
        repo: &Repo,
        blob: &Descriptor,
        from: u64,
        on_retry: OnRetry,
    ) -> Result<BlobStream, Error> {
        BlobStream::open(self.clone(), repo, blob, from, on_retry).await
    }

    /// To be told when a blob's stream was not what its name says. A mirror may be to blame, so that none
    /// is asked for this blob any more. Whether another try may therefore end otherwise.
    pub fn distrust_mirrors(&self, repo: &Repo, blob: &Digest) -> bool {
        self.net.distrust(repo.registry(), blob)
    }

    /// From the first mirror that has it, right and whole, or else from the registry.
    async fn whole(&self, wanted: Wanted<'_>) -> Result<Whole, Error> {
        for endpoint in self.net.endpoints(wanted.repo.registry())? {
            let peer = puller(endpoint, wanted.repo);
            if !peer.endpoint.is_mirror() {
                return retry::until_done(|| self.whole_from(&peer, &wanted)).await;
            }
            match self.whole_from(&peer, &wanted).await {
                Ok(whole) => return Ok(whole),
                Err(error) => self.net.failed(&peer.endpoint, &error),
            }
        }
        unreachable!("the registry itself is the last of its endpoints")
    }

    async fn whole_from(&self, peer: &Peer, wanted: &Wanted<'_>) -> Result<Whole, Error> {
        let url = peer.endpoint.url(&(wanted.place)(&peer.path))?;
        let mut request = Request::new(peer, &wanted.what, Method::GET, url);
        request.accept.clone_from(&wanted.accept);
        let answer = self.net.fetch(&request).await?;
        let media_type = http::text(answer.headers(), &CONTENT_TYPE)
            .map(|value| value.split(';').next().unwrap_or(value).trim().to_owned());
        let asked = Asked {
            registry: &peer.endpoint.name,
            what: &wanted.what,
        };
        let body = asked.body(answer, wanted.max).await?;
        let digest = wanted.algorithm.digest(&body);
        match wanted.digest {
            Some(want) if *want != digest => Err(Error::Mismatch {
                registry: peer.endpoint.name.clone(),
                want: want.clone(),
                got: digest,
            }),
            _ => Ok(Whole {
                digest,
                media_type,
                body,
            }),
        }
    }
}

/// Who pulls from a repository at an endpoint.
pub(crate) fn puller(endpoint: Endpoint, repo: &Repo) -> Peer {
    let path = endpoint.path(repo.path());
    Peer {
        scope: Scope::pull(&path),
        endpoint,
        path,
    }
}
