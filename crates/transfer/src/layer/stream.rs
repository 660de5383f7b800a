//! A layer from a stream of which nobody said what it should be: a tar or a compressed blob, in an
//! archive or alone. What it turns out to be is its name; whoever expects another one compares.

use std::io::Read;

use lapstrake_fill::spans::Blob;
use lapstrake_oci::{Algorithm, Compression, DiffId};
use lapstrake_store::Store;

use super::decode::Decoding;
use super::local::TarQueue;
use super::{BLOCK_BYTES, Queue, Split, Staged, queue, split};
use crate::error::{Error, Result};
use crate::limits::Limits;

/// A layer that was read to its end and has no name yet.
pub(crate) struct Received {
    split: Split,
    blob: Option<Blob>,
}

/// Reads a tar to its end, whatever it looks like. Diff ids are SHA-256.
pub(crate) fn receive_tar(store: &Store, input: &mut dyn Read, limits: Limits) -> Result<Received> {
    let ((), split) = receive(store, limits, |queue| {
        let mut tar = TarQueue::new(queue);
        tar.fill(input, limits.tar_bytes)?;
        tar.end()
    })?;
    Ok(Received { split, blob: None })
}

/// Reads a blob to its end, decoding and hashing it on the way. Its first bytes say how it is
/// compressed; `algorithm` is what it is hashed with.
pub(crate) fn receive_blob(
    store: &Store,
    input: &mut dyn Read,
    algorithm: Algorithm,
    limits: Limits,
) -> Result<Received> {
    let (blob, split) = receive(store, limits, |queue| {
        let decoding = Decoding::new(Compression::None, algorithm.hasher(), limits, &queue);
        decode(decoding, input)
    })?;
    Ok(Received {
        split,
        blob: Some(blob),
    })
}

/// Runs `feed` here and the splitter on a thread of its own.
fn receive<T>(
    store: &Store,
    limits: Limits,
    feed: impl FnOnce(Queue) -> Result<T>,
) -> Result<(T, Split)> {
    let (queue, blocks) = queue();
    std::thread::scope(|scope| {
        let split = std::thread::Builder::new()
            .name("split".to_owned())
            .spawn_scoped(scope, move || {
                split::run(store, Algorithm::Sha256, limits, &blocks)
            })
            .map_err(Error::NoThread)?;
        // The splitter ends when the queue is gone.
        let fed = feed(queue);
        let split = split.join().map_err(|_panic| Error::Panicked("split"))?;
        match (fed, split) {
            // The feeder only saw the other side go, which says why.
            (Err(Error::Abandoned), Err(error)) | (Err(error), _) | (Ok(_), Err(error)) => {
                Err(error)
            }
            (Ok(fed), Ok(split)) => Ok((fed, split)),
        }
    })
}

fn decode(mut decoding: Decoding<'_>, input: &mut dyn Read) -> Result<Blob> {
    let mut buffer = vec![0; BLOCK_BYTES];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return decoding.finish(|_got, _received| Ok(())),
            Ok(count) => decoding.feed(&buffer[..count])?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::Input(error)),
        }
    }
}

impl Received {
    /// What its tar hashes to.
    pub(crate) fn id(&self) -> DiffId {
        self.split.id()
    }

    /// How long that is.
    pub(crate) fn tar_len(&self) -> u64 {
        self.split.tar_len()
    }

    /// The blob that came; of a tar, the tar.
    pub(crate) fn blob(&self) -> Blob {
        self.blob.clone().unwrap_or_else(|| self.split.own_blob())
    }

    /// The layer without the blob.
    pub(crate) fn into_split(self) -> Split {
        self.split
    }

    /// Ends the layer.
    pub(crate) fn stage(self) -> Result<Staged> {
        let blob = self.blob();
        self.split.stage_as(blob)
    }
}
