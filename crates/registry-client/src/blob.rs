//! A blob's bytes as they come, across broken connections.

use bytes::Bytes;
use lapstrake_distribution::range;
use lapstrake_oci::{Descriptor, Digest, Repo};
use reqwest::header::CONTENT_RANGE;
use reqwest::{Response, StatusCode};

use crate::client::Client;
use crate::error::Error;
use crate::http;
use crate::retry::Patience;

/// A blob being fetched: all bytes that its descriptor speaks of, from where it was begun, or an error.
#[derive(Debug)]
pub struct BlobStream {
    client: Client,
    repo: Repo,
    digest: Digest,
    what: String,
    size: u64,
    /// Counted from the blob's start.
    received: u64,
    answer: Option<Response>,
    /// Bytes that the server sends again because it ignores ranges.
    skip: u64,
    patience: Patience,
}

impl BlobStream {
    pub(crate) async fn open(
        client: Client,
        repo: &Repo,
        blob: &Descriptor,
        from: u64,
    ) -> Result<Self, Error> {
        let mut stream = Self {
            client,
            repo: repo.clone(),
            digest: blob.digest.clone(),
            what: format!("the blob {}", blob.digest),
            size: blob.size,
            received: from,
            answer: None,
            skip: 0,
            patience: Patience::default(),
        };
        while stream.answer.is_none() {
            if let Err(error) = stream.connect().await {
                stream.pause_or_fail(error).await?;
            }
        }
        Ok(stream)
    }

    /// The next bytes; `None` once all have come.
    ///
    /// # Errors
    /// If the registry sends too much, or doesn't send the rest after several tries.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, Error> {
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
        if self.answer.is_none() {
            if self.received == self.size {
                return Ok(None);
            }
            self.connect().await?;
        }
        let answer = self.answer.as_mut().expect("connected above");
        let Some(mut chunk) = http::chunk(answer, &self.repo, &self.what).await? else {
            self.answer = None;
            return if self.received == self.size {
                Ok(None)
            } else {
                Err(self.cut_short())
            };
        };
        let skipped = self.skip.min(chunk.len() as u64);
        self.skip -= skipped;
        drop(chunk.split_to(usize::try_from(skipped).expect("no longer than the chunk")));
        let total = self.received + chunk.len() as u64;
        if total > self.size {
            return Err(Error::Length {
                registry: self.repo.registry().to_owned(),
                what: self.what.clone(),
                want: self.size,
                got: total,
            });
        }
        self.patience.received(chunk.len() as u64);
        self.received = total;
        Ok(Some(chunk))
    }

    async fn connect(&mut self) -> Result<(), Error> {
        let answer = self
            .client
            .blob_from(&self.repo, &self.digest, self.received, &self.what)
            .await?;
        self.skip = if answer.status() == StatusCode::PARTIAL_CONTENT {
            let first = answer
                .headers()
                .get(CONTENT_RANGE)
                .and_then(|value| value.to_str().ok())
                .and_then(range::parse)
                .map(|range| range.first);
            // Bytes from another place than asked for would be caught by the digest, but only at the end.
            match first {
                Some(first) if first <= self.received => self.received - first,
                _ => return Err(self.cut_short()),
            }
        } else {
            self.received
        };
        self.answer = Some(answer);
        Ok(())
    }

    fn cut_short(&self) -> Error {
        Error::Transport {
            registry: self.repo.registry().to_owned(),
            what: self.what.clone(),
            reason: format!(
                "the connection ended after {} of {} bytes",
                self.received, self.size
            ),
        }
    }

    async fn pause_or_fail(&mut self, error: Error) -> Result<(), Error> {
        tokio::time::sleep(self.patience.after(error)?).await;
        Ok(())
    }
}
