//! One layer on its way from a blob to the store.
//!
//! Three stages run at once, joined by bounded queues, so that a pull costs no more memory for a large
//! layer than for a small one and the slowest stage sets the pace:
//!
//! ```text
//! network task --pipe--> decode thread --blocks--> split thread --> data, skeleton, spans, index
//!                        sha256 of blob            sha256 of tar, span digests
//! ```
//!
//! Nothing is published unless the blob's and the tar's digest are both what the manifest and the
//! config say.
//!
//! What was received of a layer when its pull ended too early stays for the next one (-> partial).
//!
//! A layer that is made here, of a container's changes, comes into the same queue as a tar, which then is
//! its own blob. It has no other source, and is on disk before it gets its name. So does one that comes
//! from an archive, of which nobody said what it should be.

mod decode;
mod local;
mod partial;
mod split;
mod stream;

use std::sync::mpsc;

pub(crate) use local::make;
pub(crate) use split::{Split, Staged};
pub(crate) use stream::{Received, receive_blob, receive_tar};

use partial::{Base, Keeper, Place};
use split::{Sink, Splitting};

use lapstrake_bridge::PipeReader;
use lapstrake_fill::decode::Boundary;
use lapstrake_oci::{Compression, Descriptor, DiffId, Digest};
use lapstrake_store::Store;

use crate::error::{Error, Result};
use crate::limits::Limits;

/// Bytes of tar that pass between the threads at a time: they stay in the processor's cache.
const BLOCK_BYTES: usize = 256 * 1024;
/// Blocks in flight between the threads.
const BLOCKS: usize = 6;

/// What is to be fetched, and what it must turn out to be.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// The blob as the manifest describes it.
    pub(crate) blob: Descriptor,
    /// What the manifest says of its compression; the bytes themselves decide.
    pub(crate) compression: Compression,
    /// The tar as the config names it.
    pub(crate) diff_id: DiffId,
}

/// A piece of the tar. A boundary, if any, lies behind its bytes.
struct Block {
    bytes: Vec<u8>,
    boundary: Option<Boundary>,
    /// Where the decoder is then, if it is a decoder that can start again there.
    place: Option<Place>,
}

/// Where blocks come from and go back to, to be filled again.
struct Queue {
    full: mpsc::SyncSender<Block>,
    empty: mpsc::Receiver<Vec<u8>>,
}

/// The other end of a [`Queue`].
struct Blocks {
    full: mpsc::Receiver<Block>,
    empty: mpsc::SyncSender<Vec<u8>>,
}

fn queue() -> (Queue, Blocks) {
    let (full_sender, full) = mpsc::sync_channel(BLOCKS);
    // Room for every block there is, so that giving one back never waits.
    let (empty, empty_receiver) = mpsc::sync_channel(BLOCKS + 2);
    (
        Queue {
            full: full_sender,
            empty: empty_receiver,
        },
        Blocks { full, empty },
    )
}

/// A layer that waits for its blob, or for the rest of it.
pub(crate) struct Begun {
    /// There until the layer is staged.
    splitting: Option<Splitting>,
    base: Option<Base>,
}

impl Drop for Begun {
    fn drop(&mut self) {
        // Given up before the first byte came: what was there is as good as before.
        if let Some(splitting) = self.splitting.take() {
            splitting.leave();
        }
    }
}

/// Begins a layer: with what an earlier pull left of it, if that is sound. Blocks while that is read.
pub(crate) fn begin(store: &Store, wanted: &Wanted, limits: Limits) -> Result<Begun> {
    let (mut splitting, base) = match partial::resume(store, wanted, limits)? {
        Some((splitting, base)) => (splitting, Some(base)),
        None => {
            let stage = store.content.stage_layer_of(&wanted.blob.digest)?;
            let algorithm = wanted.diff_id.0.algorithm();
            let splitting = Splitting::new(Sink::behind(stage), algorithm, limits)?;
            (splitting, None)
        }
    };
    splitting.keep(Keeper::new(wanted, base.as_ref()));
    Ok(Begun {
        splitting: Some(splitting),
        base,
    })
}

impl Begun {
    /// The first byte of the blob that is needed.
    pub(crate) fn from(&self) -> u64 {
        self.base.as_ref().map_or(0, |base| base.byte)
    }

    /// Receives the blob from there on and stages the layer, all digests checked. Blocks until all is done:
    /// run it on a thread of its own. If the blob ends too early, what came stays for another try.
    pub(crate) fn stage(
        mut self,
        wanted: &Wanted,
        limits: Limits,
        blob: PipeReader<lapstrake_registry_client::Error>,
    ) -> Result<Staged> {
        let base = self.base.take();
        let mut splitting = self.splitting.take().expect("taken here alone");
        let (queue, blocks) = queue();
        let (decoded, split) = std::thread::scope(|scope| {
            let decode = std::thread::Builder::new()
                .name("decode".to_owned())
                .spawn_scoped(scope, move || {
                    decode::run(wanted, base, limits, blob, &queue)
                })
                .map_err(Error::NoThread)?;
            let split = splitting.run(&blocks);
            // The decoder stops when nobody takes its blocks any more.
            drop(blocks);
            let decoded = decode.join().map_err(|_panic| Error::Panicked("decode"))?;
            Ok::<_, Error>((decoded, split))
        })?;
        let named = |error| named(error, &wanted.blob.digest);
        // If both failed, the side that failed first says why; the other only saw it go.
        match (decoded, split) {
            (Err(Error::Abandoned), Err(error)) | (Ok(_), Err(error)) => Err(named(error)),
            (Err(error), _) => {
                if is_worth_going_on(&error) {
                    splitting.leave();
                }
                Err(named(error))
            }
            (Ok(compression), Ok(())) => {
                let split = splitting.finish().map_err(named)?;
                split.stage(wanted, compression)
            }
        }
    }
}

/// An error of a layer's contents, with the name of its blob.
fn named(error: Error, blob: &Digest) -> Error {
    match error {
        Error::Decode(_) | Error::Tar { .. } => Error::Layer {
            blob: blob.clone(),
            source: Box::new(error),
        },
        other => other,
    }
}

/// Whether what came before an error is as good as ever.
fn is_worth_going_on(error: &Error) -> bool {
    match error {
        Error::Cancelled => true,
        Error::Registry(error) => error.class() != lapstrake_registry_client::Class::DataLoss,
        _ => false,
    }
}
