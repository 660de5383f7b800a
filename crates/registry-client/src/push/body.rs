//! The body of an upload: a source's bytes on their way, counted and, if they have no name yet, hashed.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use lapstrake_oci::{Algorithm, Digest, Hasher};
use reqwest::{RequestBuilder, Response};

use super::source::ByteStream;
use crate::error::Error;
use crate::http::{Asked, STALL};

/// How long a registry may take to answer once it has all: some copy a blob to where it stays.
const ANSWER: Duration = Duration::from_secs(300);

/// What is known of the bytes that were given to the network. Only the last body that was made for it
/// counts: a connection that is being given up may still read from the one before.
#[derive(Debug)]
pub(super) struct Progress(Mutex<State>);

#[derive(Debug)]
struct State {
    /// One behind the last byte that was ever given, counted from the blob's start.
    reached: u64,
    /// One behind the last byte that the body gave which counts.
    at: u64,
    /// With those that were given again.
    given: u64,
    /// Which body counts.
    body: u64,
    is_waiting_for_source: bool,
    is_at_end: bool,
    /// How many bytes there are, once that was seen.
    length: Option<u64>,
    failure: Option<io::Error>,
    /// Of the bytes before `reached`.
    hasher: Option<Hasher>,
}

impl Progress {
    /// Of a blob that has a name, or that gets one.
    pub(super) fn new(has_name: bool) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            reached: 0,
            at: 0,
            given: 0,
            body: 0,
            is_waiting_for_source: false,
            is_at_end: false,
            length: None,
            failure: None,
            hasher: (!has_name).then(|| Algorithm::Sha256.hasher()),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn reached(&self) -> u64 {
        self.state().reached
    }

    pub(super) fn at(&self) -> u64 {
        self.state().at
    }

    pub(super) fn given(&self) -> u64 {
        self.state().given
    }

    fn is_at_end(&self) -> bool {
        self.state().is_at_end
    }

    /// How many bytes there are, once that was seen.
    pub(super) fn length(&self) -> Option<u64> {
        self.state().length
    }

    /// There are so many bytes: the source has no more.
    pub(super) fn ends_at(&self, length: u64) {
        self.state().length = Some(length);
    }

    /// The name of the bytes given so far, if they have none yet.
    pub(super) fn digest(&self) -> Option<Digest> {
        let hasher = self.state().hasher.clone()?;
        Some(hasher.finish())
    }

    /// Why the source could not be read, told once.
    fn failure(&self) -> Option<io::Error> {
        self.state().failure.take()
    }
}

impl State {
    fn give(&mut self, at: u64, chunk: &Bytes) {
        let end = at + chunk.len() as u64;
        self.given += chunk.len() as u64;
        self.at = end;
        if end <= self.reached {
            return;
        }
        if let Some(hasher) = &mut self.hasher {
            // Bytes that are given again were hashed before.
            let known = usize::try_from(self.reached.saturating_sub(at)).unwrap_or(usize::MAX);
            hasher.update(&chunk[known.min(chunk.len())..]);
        }
        self.reached = end;
    }
}

/// Bytes from one on, to be sent.
pub(super) struct Body {
    source: ByteStream,
    progress: Arc<Progress>,
    number: u64,
    at: u64,
    /// Where it ends, if that is known. It may not be read further than there.
    end: Option<u64>,
}

impl Body {
    pub(super) fn new(
        source: ByteStream,
        progress: &Arc<Progress>,
        at: u64,
        end: Option<u64>,
    ) -> Self {
        let number = {
            let mut state = progress.state();
            state.body += 1;
            state.at = at;
            state.is_at_end = false;
            state.body
        };
        Self {
            source,
            progress: Arc::clone(progress),
            number,
            at,
            end,
        }
    }
}

impl Stream for Body {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.source.as_mut().poll_next(context);
        let progress = Arc::clone(&self.progress);
        let mut state = progress.state();
        if state.body != self.number {
            return Poll::Ready(Some(Err(io::ErrorKind::Interrupted.into())));
        }
        state.is_waiting_for_source = next.is_pending();
        match next {
            Poll::Ready(Some(Ok(chunk))) => {
                state.give(self.at, &chunk);
                self.at += chunk.len() as u64;
                state.is_at_end = Some(self.at) == self.end;
                Poll::Ready(Some(Ok(chunk)))
            }
            Poll::Ready(Some(Err(error))) => {
                let kind = error.kind();
                state.failure = Some(error);
                Poll::Ready(Some(Err(kind.into())))
            }
            Poll::Ready(None) => {
                state.is_at_end = true;
                // What was to end at a byte may be a part of more.
                if self.end.is_none() {
                    state.length = Some(self.at);
                }
                Poll::Ready(None)
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Sends a request with such a body, as long as it moves.
pub(super) async fn send(
    asked: Asked<'_>,
    request: RequestBuilder,
    progress: &Progress,
) -> Result<Response, Error> {
    let mut sending = Box::pin(request.send());
    let mut waited = Duration::ZERO;
    loop {
        let before = progress.given();
        match tokio::time::timeout(STALL, &mut sending).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => {
                return Err(match progress.failure() {
                    Some(source) => Error::Source {
                        registry: asked.registry.to_owned(),
                        what: asked.what.to_owned(),
                        source,
                    },
                    None => asked.transport(&error),
                });
            }
            Err(_elapsed) => {
                let moves = progress.given() != before || progress.state().is_waiting_for_source;
                waited = if moves {
                    Duration::ZERO
                } else {
                    waited + STALL
                };
                let patience = if progress.is_at_end() { ANSWER } else { STALL };
                if waited >= patience {
                    return Err(asked.stalled(waited));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt as _, stream};
    use proptest::prelude::*;

    use super::*;

    /// Gives bytes from one on, in chunks, up to another one.
    async fn give(progress: &Arc<Progress>, bytes: &[u8], from: usize, to: usize, chunk: usize) {
        let chunks: Vec<_> = bytes[from..to]
            .chunks(chunk)
            .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
            .collect();
        let source: ByteStream = Box::pin(stream::iter(chunks));
        let mut body = Body::new(source, progress, from as u64, None);
        while body.next().await.is_some() {}
    }

    proptest! {
        #[test]
        fn the_digest_is_that_of_the_bytes_however_often_they_are_given(
            bytes in prop::collection::vec(any::<u8>(), 1..200),
            breaks in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..6),
            chunk in 1_usize..40,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let progress = Progress::new(false);
            runtime.block_on(async {
                for (from, to) in breaks {
                    // It goes on from a byte that was given already.
                    let reached = usize::try_from(progress.reached()).unwrap();
                    let from = from.index(reached + 1);
                    let to = from + to.index(bytes.len() - from + 1);
                    give(&progress, &bytes, from, to, chunk).await;
                }
                let reached = usize::try_from(progress.reached()).unwrap();
                give(&progress, &bytes, reached, bytes.len(), chunk).await;
            });
            prop_assert_eq!(progress.digest(), Some(Algorithm::Sha256.digest(&bytes)));
            prop_assert!(progress.is_at_end());
        }
    }
}
