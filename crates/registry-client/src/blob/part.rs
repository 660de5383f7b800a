//! One part of a blob, from first to last byte, across broken connections and mirrors that fail.

use bytes::Bytes;
use lapstrake_distribution::{endpoint, range};
use lapstrake_oci::{Descriptor, Digest, Repo};
use reqwest::header::CONTENT_RANGE;
use reqwest::{Method, Response, StatusCode};

use super::OnRetry;
use crate::client::{Client, puller};
use crate::error::Error;
use crate::http::{self, Asked};
use crate::request::{Peer, Request};
use crate::retry::Patience;

/// Which blob, and where it can be had.
#[derive(Debug, Clone)]
pub(super) struct Place {
    client: Client,
    /// Mirrors, and the registry at the end.
    peers: Vec<Peer>,
    digest: Digest,
    what: String,
    pub(super) size: u64,
    on_retry: OnRetry,
}

impl Place {
    pub(super) fn new(
        client: Client,
        repo: &Repo,
        blob: &Descriptor,
        on_retry: OnRetry,
    ) -> Result<Self, Error> {
        let endpoints = client
            .net
            .endpoints_of_blob(repo.registry(), &blob.digest)?;
        Ok(Self {
            peers: endpoints
                .into_iter()
                .map(|endpoint| puller(endpoint, repo))
                .collect(),
            client,
            digest: blob.digest.clone(),
            what: format!("the blob {}", blob.digest),
            size: blob.size,
            on_retry,
        })
    }
}

/// A part being fetched: exactly its bytes, or an error.
#[derive(Debug)]
pub(super) struct Part {
    place: Place,
    /// Which of the peers is asked.
    at: usize,
    /// The first byte that is still to come, counted from the blob's start.
    next: u64,
    /// One behind its last byte.
    end: u64,
    answer: Option<Response>,
    /// Whether the answer is the part asked for, and not the whole blob.
    is_ranged: bool,
    /// Bytes that the server sends again because it ignores ranges.
    skip: u64,
    patience: Patience,
}

impl Part {
    pub(super) fn new(place: Place, from: u64, end: u64) -> Self {
        Self {
            end: end.min(place.size),
            place,
            at: 0,
            next: from,
            answer: None,
            is_ranged: false,
            skip: 0,
            patience: Patience::default(),
        }
    }

    pub(super) fn is_ranged(&self) -> bool {
        self.is_ranged
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Makes the rest of the blob part of it, if the answer is all of the blob anyway.
    pub(super) fn widen(&mut self) {
        self.end = self.place.size;
    }

    pub(super) async fn connect_patiently(&mut self) -> Result<(), Error> {
        while self.answer.is_none() {
            if let Err(error) = self.connect().await {
                self.pause_or_fail(error).await?;
            }
        }
        Ok(())
    }

    /// The next bytes; `None` once all have come.
    pub(super) async fn next_chunk(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            match self.try_next().await {
                Ok(Some(chunk)) if chunk.is_empty() => {}
                Ok(chunk) => return Ok(chunk),
                Err(error) => {
                    self.answer = None;
                    self.pause_or_fail(error).await?;
                }
            }
        }
    }

    async fn try_next(&mut self) -> Result<Option<Bytes>, Error> {
        // The end of the blob is read, so that too many bytes are noticed; the end of a part is not.
        if self.next == self.end && (self.answer.is_none() || self.end < self.place.size) {
            self.answer = None;
            return Ok(None);
        }
        if self.answer.is_none() {
            self.connect().await?;
        }
        let answer = self.answer.as_mut().expect("connected above");
        let asked = Asked {
            registry: &self.place.peers[self.at].endpoint.name,
            what: &self.place.what,
        };
        let Some(mut chunk) = asked.chunk(answer).await? else {
            self.answer = None;
            return if self.next == self.end {
                Ok(None)
            } else {
                Err(self.cut_short())
            };
        };
        let skipped = self.skip.min(chunk.len() as u64);
        self.skip -= skipped;
        drop(chunk.split_to(usize::try_from(skipped).expect("no longer than the chunk")));
        let got = self.next + chunk.len() as u64;
        if got > self.place.size {
            return Err(Error::Length {
                registry: self.asked().registry.to_owned(),
                what: self.place.what.clone(),
                want: self.place.size,
                got,
            });
        }
        if got > self.end {
            // The rest is another part's.
            chunk.truncate(usize::try_from(self.end - self.next).expect("shorter than the chunk"));
        }
        self.patience.received(chunk.len() as u64);
        self.next += chunk.len() as u64;
        Ok(Some(chunk))
    }

    async fn connect(&mut self) -> Result<(), Error> {
        let peer = &self.place.peers[self.at];
        let url = peer
            .endpoint
            .url(&endpoint::blob(&peer.path, &self.place.digest))?;
        let mut request = Request::new(peer, &self.place.what, Method::GET, url);
        request.range = match (self.next, self.end == self.place.size) {
            (0, true) => None,
            (next, true) => Some(format!("bytes={next}-")),
            (next, false) => Some(format!("bytes={next}-{}", self.end - 1)),
        };
        let answer = self.place.client.net.fetch(&request).await?;
        self.is_ranged = answer.status() == StatusCode::PARTIAL_CONTENT;
        self.skip = if self.is_ranged {
            let first = http::text(answer.headers(), &CONTENT_RANGE)
                .and_then(range::parse)
                .map(|range| range.first);
            // Bytes from another place than asked for would be caught by the digest, but only at the end.
            match first {
                Some(first) if first <= self.next => self.next - first,
                _ => return Err(self.cut_short()),
            }
        } else {
            self.next
        };
        self.answer = Some(answer);
        Ok(())
    }

    fn asked(&self) -> Asked<'_> {
        Asked {
            registry: &self.place.peers[self.at].endpoint.name,
            what: &self.place.what,
        }
    }

    fn cut_short(&self) -> Error {
        self.asked().unreachable(format!(
            "the connection ended after {} of {} bytes",
            self.next, self.place.size
        ))
    }

    /// A mirror that fails is left for the next; only the registry itself is asked again.
    async fn pause_or_fail(&mut self, error: Error) -> Result<(), Error> {
        if self.at + 1 < self.place.peers.len() {
            let mirror = &self.place.peers[self.at].endpoint;
            self.place.client.net.failed(mirror, &error);
            self.place.on_retry.tell(&error);
            self.at += 1;
            return Ok(());
        }
        let pause = self.patience.after(&error);
        let Some(pause) = pause else {
            return Err(error);
        };
        self.place.on_retry.tell(&error);
        tokio::time::sleep(pause).await;
        Ok(())
    }
}
