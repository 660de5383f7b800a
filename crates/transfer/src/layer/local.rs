//! A layer made here: changes become a tar on one thread, while another hashes and splits it.

use std::io::{self, Read, Write};

use lapstrake_fill::decode::{Boundary, Restart};
use lapstrake_oci::{Algorithm, Compression};
use lapstrake_store::Store;
use lapstrake_tree::changes::{Changes, View, write_layer};

use super::{BLOCK_BYTES, Block, Queue, Split, decode::next_block, queue, split};
use crate::error::{Error, Result};
use crate::limits::Limits;

/// Bytes of tar in a span: the tar is its own blob, so that decoding can start anywhere.
const SPAN_BYTES: u64 = 1 << 20;

/// Writes changes as a layer that is not published yet. Each changed file is read once.
pub(crate) fn make<U: View + Sync, L: View + Sync>(
    store: &Store,
    changes: &Changes,
    upper: &U,
    lower: &L,
    limits: Limits,
) -> Result<Split> {
    let (queue, blocks) = queue();
    std::thread::scope(|scope| {
        let tar = std::thread::Builder::new()
            .name("tar".to_owned())
            .spawn_scoped(scope, move || {
                let out = write_layer(changes, upper, lower, TarQueue::new(queue))?;
                out.end()
            })
            .map_err(Error::NoThread)?;
        let split = split::run(store, Algorithm::Sha256, limits, &blocks);
        // The writer stops when nobody takes its blocks any more.
        drop(blocks);
        let written = tar.join().map_err(|_panic| Error::Panicked("tar"))?;
        match (written, split) {
            // The writer only saw the other side go, which says why.
            (Err(Error::Changes(lapstrake_tree::changes::Error::Output(_))), Err(error)) => {
                Err(error)
            }
            (Err(error), _) | (Ok(()), Err(error)) => Err(error),
            (Ok(()), Ok(split)) => Ok(split),
        }
    })
}

/// Takes a tar as it is written, and sends it on in blocks.
pub(super) struct TarQueue {
    queue: Queue,
    block: Vec<u8>,
    filled: usize,
    made: usize,
    sent: u64,
}

impl TarQueue {
    pub(super) fn new(queue: Queue) -> Self {
        Self {
            queue,
            block: vec![0; BLOCK_BYTES],
            filled: 0,
            made: 1,
            sent: 0,
        }
    }

    fn send(&mut self, next: Vec<u8>) -> Result<()> {
        let mut bytes = std::mem::replace(&mut self.block, next);
        bytes.truncate(self.filled);
        self.sent += self.filled as u64;
        self.filled = 0;
        let ends_span = !bytes.is_empty() && self.sent.is_multiple_of(SPAN_BYTES);
        let boundary = ends_span.then_some(Boundary {
            tar_offset: self.sent,
            restart: Restart::At { byte: self.sent },
        });
        self.queue
            .full
            .send(Block {
                bytes,
                boundary,
                place: None,
            })
            .map_err(|_gone| Error::Abandoned)
    }

    /// Takes all of a tar that is written already; one of more than `limit` bytes is refused.
    pub(super) fn fill(&mut self, input: &mut dyn Read, limit: u64) -> Result<()> {
        loop {
            if self.filled == BLOCK_BYTES {
                let next = next_block(&self.queue, &mut self.made)?;
                self.send(next)?;
            }
            match input.read(&mut self.block[self.filled..]) {
                Ok(0) => return Ok(()),
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Input(error)),
            }
            if self.sent + self.filled as u64 > limit {
                return Err(Error::Decode(lapstrake_fill::decode::Error::TooLarge {
                    compression: Compression::None,
                    limit,
                }));
            }
        }
    }

    /// Sends what is left.
    pub(super) fn end(mut self) -> Result<()> {
        self.send(Vec::new())
    }
}

impl Write for TarQueue {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(BLOCK_BYTES - self.filled);
        self.block[self.filled..][..taken].copy_from_slice(&bytes[..taken]);
        self.filled += taken;
        if self.filled == BLOCK_BYTES {
            let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
            let next = next_block(&self.queue, &mut self.made).map_err(gone)?;
            self.send(next).map_err(gone)?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// Blocks are full but for the last one, so that spans end where blocks do.
const _: () = assert!(SPAN_BYTES.is_multiple_of(BLOCK_BYTES as u64));
