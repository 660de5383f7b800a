//! The client: one request at a time, with authentication answered and redirects followed.

use std::sync::Arc;
use std::time::Duration;

use lapstrake_distribution::endpoint;
use lapstrake_oci::{Algorithm, Descriptor, Digest, Document, Reference, Repo, bounds, media_type};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION, RANGE};
use reqwest::{Response, StatusCode, Url};

use crate::auth::Auth;
use crate::blob::BlobStream;
use crate::error::Error;
use crate::http;
use crate::options::Options;
use crate::retry;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// As browsers do, more is a loop.
const MAX_REDIRECTS: usize = 10;

/// A client for any number of registries. Clones share connections and tokens.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    http: reqwest::Client,
    options: Options,
    auth: Auth,
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

impl Client {
    /// Makes a client. It connects to nothing yet.
    ///
    /// # Errors
    /// If TLS can't be set up.
    pub fn new(options: Options) -> Result<Self, Error> {
        let http = reqwest::Client::builder()
            .user_agent(&options.user_agent)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(http::STALL)
            // Redirects are followed here, so that credentials stay with their host.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .http1_only()
            .build()
            .map_err(|error| Error::Setup(http::reason(&error)))?;
        Ok(Self {
            shared: Arc::new(Shared {
                http,
                options,
                auth: Auth::default(),
            }),
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
        want: Option<&Digest>,
    ) -> Result<Resolved, Error> {
        let what = format!("the manifest {}:{name}", repo.path());
        let path = endpoint::manifest(repo, name);
        let (declared, body) = retry::until_done(|| async {
            let answer = self.get(repo, &path, &what, None).await?;
            let declared = answer
                .headers()
                .get(CONTENT_TYPE)
                .and_then(|value| value.to_str().ok())
                .map(|value| value.split(';').next().unwrap_or(value).trim().to_owned());
            let body = http::body(answer, repo, &what, bounds::MAX_MANIFEST_BYTES as u64).await?;
            Ok((declared, body))
        })
        .await?;
        let algorithm = want.map_or(Algorithm::Sha256, Digest::algorithm);
        let digest = verified(repo, &body, algorithm, want)?;
        let document =
            Document::parse(body, declared.as_deref()).map_err(|source| Error::Document {
                registry: repo.registry().to_owned(),
                what,
                source,
            })?;
        Ok(Resolved { digest, document })
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
        let what = format!("the blob {}", blob.digest);
        let path = endpoint::blob(repo, &blob.digest);
        let body = retry::until_done(|| async {
            let answer = self.get(repo, &path, &what, None).await?;
            http::body(answer, repo, &what, max.min(blob.size)).await
        })
        .await?;
        verified(repo, &body, blob.digest.algorithm(), Some(&blob.digest))?;
        Ok(body)
    }

    /// Starts to fetch a blob of any size.
    ///
    /// # Errors
    /// If the registry refuses.
    pub async fn blob(&self, repo: &Repo, blob: &Descriptor) -> Result<BlobStream, Error> {
        BlobStream::open(self.clone(), repo, blob, 0).await
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
        BlobStream::open(self.clone(), repo, blob, from).await
    }

    /// Sends a request for a blob from a byte on.
    pub(crate) async fn blob_from(
        &self,
        repo: &Repo,
        digest: &Digest,
        from: u64,
        what: &str,
    ) -> Result<Response, Error> {
        self.get(
            repo,
            &endpoint::blob(repo, digest),
            what,
            (from > 0).then_some(from),
        )
        .await
    }

    /// Sends a GET, answering a challenge once and following redirects.
    async fn get(
        &self,
        repo: &Repo,
        path: &str,
        what: &str,
        from: Option<u64>,
    ) -> Result<Response, Error> {
        let shared = &*self.shared;
        let host = endpoint::host(repo.registry());
        let scheme = if shared.options.plain_http.allows(repo.registry()) {
            "http"
        } else {
            "https"
        };
        let origin =
            Url::parse(&format!("{scheme}://{host}{path}")).map_err(|error| Error::Transport {
                registry: repo.registry().to_owned(),
                what: what.to_owned(),
                reason: error.to_string(),
            })?;
        let mut answer = self.follow(repo, &origin, what, from).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            shared
                .auth
                .answer(&shared.http, &shared.options, repo, answer.headers())
                .await?;
            answer = self.follow(repo, &origin, what, from).await?;
        }
        http::checked(answer, repo, what).await
    }

    async fn follow(
        &self,
        repo: &Repo,
        origin: &Url,
        what: &str,
        from: Option<u64>,
    ) -> Result<Response, Error> {
        let shared = &*self.shared;
        let mut url = origin.clone();
        for _hop in 0..=MAX_REDIRECTS {
            let mut request = shared.http.get(url.clone()).header(ACCEPT, accept(origin));
            let is_same_origin = url.origin() == origin.origin();
            if let (true, Some(header)) = (is_same_origin, shared.auth.header(repo)) {
                request = request.header(AUTHORIZATION, header);
            }
            if let Some(from) = from {
                request = request.header(RANGE, format!("bytes={from}-"));
            }
            let answer = request
                .send()
                .await
                .map_err(|error| http::transport(&error, repo, what))?;
            if !answer.status().is_redirection() {
                return Ok(answer);
            }
            url = self.target(repo, &url, &answer, what)?;
        }
        Err(refused(repo, what, "in a circle"))
    }

    /// Where a redirect leads, if we may go there.
    fn target(&self, repo: &Repo, url: &Url, answer: &Response, what: &str) -> Result<Url, Error> {
        let target = answer
            .headers()
            .get(LOCATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|location| url.join(location).ok())
            .ok_or_else(|| refused(repo, what, "to nowhere"))?;
        let host = http::authority(&target).unwrap_or_default();
        if target.scheme() != "https" && !self.shared.options.plain_http.allows(&host) {
            return Err(refused(
                repo,
                what,
                &format!(
                    "to {host} over plain HTTP, which is spoken only to this machine and to hosts that were named"
                ),
            ));
        }
        Ok(target)
    }
}

fn accept(origin: &Url) -> String {
    if origin.path().contains("/manifests/") {
        media_type::ACCEPT.join(", ")
    } else {
        "*/*".to_owned()
    }
}

fn refused(repo: &Repo, what: &str, reason: &str) -> Error {
    Error::Redirect {
        registry: repo.registry().to_owned(),
        what: what.to_owned(),
        reason: reason.to_owned(),
    }
}

fn verified(
    repo: &Repo,
    body: &[u8],
    algorithm: Algorithm,
    want: Option<&Digest>,
) -> Result<Digest, Error> {
    let got = algorithm.digest(body);
    match want {
        Some(want) if *want != got => Err(Error::Mismatch {
            registry: repo.registry().to_owned(),
            want: want.clone(),
            got,
        }),
        _ => Ok(got),
    }
}
