//! Bytes on their way, looked at: hashed once however often they are given, and counted.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use lapstrake_oci::{Digest, Hasher};
use lapstrake_registry_client::{ByteStream, Source};

use crate::error::Error;

/// What is known of bytes that have a name. Clones know the same.
#[derive(Clone)]
pub(super) struct Seen {
    state: Arc<Mutex<State>>,
    want: Digest,
    length: u64,
    /// What it means if they are others.
    wrong: Arc<dyn Fn(Digest) -> Error + Send + Sync>,
}

struct State {
    /// How much was hashed.
    at: u64,
    hasher: Hasher,
    /// Of all of it.
    got: Option<Digest>,
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seen")
            .field("want", &self.want)
            .finish_non_exhaustive()
    }
}

impl Seen {
    pub(super) fn new(
        want: &Digest,
        length: u64,
        wrong: impl Fn(Digest) -> Error + Send + Sync + 'static,
    ) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                at: 0,
                hasher: want.algorithm().hasher(),
                got: None,
            })),
            want: want.clone(),
            length,
            wrong: Arc::new(wrong),
        }
    }

    /// Looks at the bytes from one on, or at their end if there are none. An error instead of the last of
    /// them if they are not what their name says, so that nobody who counts has all.
    pub(super) fn see(&self, from: u64, bytes: &[u8]) -> io::Result<()> {
        let end = from + bytes.len() as u64;
        if bytes.is_empty() && end < self.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if end > state.at {
            // A reader that was given up may still read what another one reads again.
            let known = usize::try_from(state.at.saturating_sub(from)).unwrap_or(usize::MAX);
            let new = bytes.get(known..).unwrap_or_default();
            state.hasher.update(new);
            state.at = end;
        }
        if end < self.length {
            return Ok(());
        }
        let got = match &state.got {
            Some(got) => got.clone(),
            None => state.hasher.clone().finish(),
        };
        state.got = Some(got.clone());
        if got == self.want {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            (self.wrong)(got),
        ))
    }
}

/// A source whose bytes are looked at.
pub(super) struct Watched<S, F> {
    pub(super) source: S,
    /// What they have to be, unless somebody else looks.
    pub(super) seen: Option<Seen>,
    /// Told how many were given so far.
    pub(super) tell: F,
}

impl<S: Source, F: Fn(u64) + Clone + Send + Sync + 'static> Source for Watched<S, F> {
    fn length(&self) -> Option<u64> {
        self.source.length()
    }

    async fn open(&mut self, from: u64) -> io::Result<ByteStream> {
        let bytes = self.source.open(from).await?;
        let (seen, tell) = (self.seen.clone(), self.tell.clone());
        let watched = stream::unfold(Some((bytes, from)), move |at| {
            let (seen, tell) = (seen.clone(), tell.clone());
            async move {
                let (mut bytes, at) = at?;
                let next = bytes.next().await;
                let chunk = next.unwrap_or_else(|| Ok(Bytes::new()));
                let looked_at = chunk.and_then(|chunk| {
                    seen.map_or(Ok(()), |seen| seen.see(at, &chunk))?;
                    Ok(chunk)
                });
                match looked_at {
                    Ok(chunk) if chunk.is_empty() => None,
                    Ok(chunk) => {
                        let at = at + chunk.len() as u64;
                        tell(at);
                        Some((Ok(chunk), Some((bytes, at))))
                    }
                    Err(error) => Some((Err(error), None)),
                }
            }
        });
        Ok(Box::pin(watched))
    }
}

#[cfg(test)]
mod tests {
    use lapstrake_oci::Algorithm;

    use super::*;

    fn seen(want: &[u8], length: u64) -> Seen {
        Seen::new(&Algorithm::Sha256.digest(want), length, |got| {
            Error::OtherBlob {
                want: got.clone(),
                got,
            }
        })
    }

    #[test]
    fn bytes_that_are_given_again_are_hashed_once() {
        let seen = seen(b"abcdef", 6);
        for (from, bytes) in [
            (0, "abc"),
            (1, "bcd"),
            (0, "ab"),
            (4, "ef"),
            (5, "f"),
            (6, ""),
        ] {
            seen.see(from, bytes.as_bytes()).unwrap();
        }
    }

    #[test]
    fn the_last_byte_of_others_is_an_error_each_time_and_so_is_an_early_end() {
        let seen = seen(b"abcdef", 6);
        seen.see(0, b"abcde").unwrap();
        assert_eq!(
            seen.see(5, b"").unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
        for _again in 0..2 {
            assert_eq!(
                seen.see(5, b"g").unwrap_err().kind(),
                io::ErrorKind::InvalidData
            );
        }
    }
}
