//! Where the bytes of a blob come from when it is pushed.

use std::future::Future;
use std::io::{self, Read};
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use lapstrake_oci::{Descriptor, Repo};

use crate::client::Client;

/// Bytes as they come. An error ends them.
pub type ByteStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// Bytes read at once from what blocks.
const CHUNK: usize = 256 << 10;
/// Chunks that wait for the network.
const AHEAD: usize = 4;

/// The bytes of a blob, as often as they are needed.
///
/// It is opened at 0 first, and again at another byte when a connection broke. It must give the same
/// bytes each time: what compresses must do so in the same way again.
pub trait Source: Send {
    /// How many bytes there are, if that is known before they were read.
    fn length(&self) -> Option<u64>;

    /// The bytes from one on.
    fn open(&mut self, from: u64) -> impl Future<Output = io::Result<ByteStream>> + Send;
}

impl Source for Bytes {
    fn length(&self) -> Option<u64> {
        Some(self.len() as u64)
    }

    async fn open(&mut self, from: u64) -> io::Result<ByteStream> {
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(self.len());
        let rest = self.slice(from..);
        Ok(Box::pin(stream::iter([Ok(rest)])))
    }
}

/// A blob of another repository or registry: its bytes pass through.
#[derive(Debug, Clone)]
pub struct Copied {
    /// Who fetches it.
    pub client: Client,
    /// Where it is.
    pub repo: Repo,
    /// Which it is.
    pub blob: Descriptor,
}

impl Source for Copied {
    fn length(&self) -> Option<u64> {
        Some(self.blob.size)
    }

    async fn open(&mut self, from: u64) -> io::Result<ByteStream> {
        let blob = self.client.blob_after(&self.repo, &self.blob, from);
        let blob = blob.await.map_err(io::Error::other)?;
        Ok(Box::pin(stream::try_unfold(blob, |mut blob| async {
            let chunk = blob.next_chunk().await.map_err(io::Error::other)?;
            Ok(chunk.map(|chunk| (chunk, blob)))
        })))
    }
}

/// What blocks when it is read, such as a file or a compressor. It is read on a thread of its own.
pub struct FromRead<F> {
    length: Option<u64>,
    open: F,
}

impl<F> std::fmt::Debug for FromRead<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FromRead")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl<F, R> FromRead<F>
where
    F: FnMut(u64) -> io::Result<R> + Send,
    R: Read + Send + 'static,
{
    /// What `open` opens at a byte. It may itself block for a moment only: what has to pass over bytes
    /// does so when it is read.
    pub fn new(length: Option<u64>, open: F) -> Self {
        Self { length, open }
    }
}

impl<F, R> Source for FromRead<F>
where
    F: FnMut(u64) -> io::Result<R> + Send,
    R: Read + Send + 'static,
{
    fn length(&self) -> Option<u64> {
        self.length
    }

    async fn open(&mut self, from: u64) -> io::Result<ByteStream> {
        let mut reader = (self.open)(from)?;
        let (give, taken) = tokio::sync::mpsc::channel(AHEAD);
        let worker = lapstrake_bridge::worker("push-read", move || {
            loop {
                let chunk = read_chunk(&mut reader).transpose();
                let Some(chunk) = chunk else { return };
                let is_last = chunk.is_err();
                // Nobody takes more when the push is over or begins again.
                if give.blocking_send(chunk).is_err() || is_last {
                    return;
                }
            }
        })?;
        Ok(Box::pin(stream::unfold(
            (taken, Some(worker)),
            |(mut taken, worker)| async {
                if let Some(chunk) = taken.recv().await {
                    return Some((chunk, (taken, worker)));
                }
                // The end of the channel is the end of the bytes only if the reader came to its end.
                let panicked = worker?.join().await.err()?;
                Some((Err(io::Error::other(panicked)), (taken, None)))
            },
        )))
    }
}

/// A whole chunk, or what there is at the end; `None` behind it.
fn read_chunk(reader: &mut impl Read) -> io::Result<Option<Bytes>> {
    let mut chunk = BytesMut::zeroed(CHUNK);
    let mut filled = 0;
    while filled < CHUNK {
        match reader.read(&mut chunk[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    chunk.truncate(filled);
    Ok((filled > 0).then(|| chunk.freeze()))
}
