//! The decode thread: hashes the blob and decompresses it.

use lapstrake_bridge::{Broken, PipeReader};
use lapstrake_fill::decode::{Boundary, Decoder, Limits as DecodeLimits, Restart, SpanPolicy};
use lapstrake_fill::spans::Blob;
use lapstrake_oci::{Compression, Digest, Hasher};
use lapstrake_registry_client::Error as ClientError;

use super::partial::{Base, Place};
use super::{BLOCK_BYTES, BLOCKS, Block, Queue, Wanted};
use crate::error::{Error, Result};
use crate::limits::Limits;

pub(super) fn run(
    wanted: &Wanted,
    base: Option<Base>,
    limits: Limits,
    mut blob: PipeReader<ClientError>,
    queue: &Queue,
) -> Result<Compression> {
    let hasher = wanted.blob.digest.algorithm().hasher();
    let mut decoding = Decoding::new(wanted.compression, hasher, limits, queue);
    if let Some(base) = base {
        decoding.go_on(base)?;
    }
    while let Some(chunk) = blob.read().map_err(|broken| match broken {
        Broken::Failed(error) => Error::Registry(error),
        Broken::Cancelled => Error::Cancelled,
    })? {
        decoding.feed(&chunk)?;
    }
    let (want, size) = (&wanted.blob.digest, wanted.blob.size);
    let decoded = decoding.finish(|got, received| {
        if got == want && received == size {
            return Ok(());
        }
        Err(Error::BlobMismatch {
            want: want.clone(),
            size,
            got: got.clone(),
            received,
        })
    })?;
    Ok(decoded.compression)
}

/// A blob on its way through the decoder.
pub(super) struct Decoding<'a> {
    queue: &'a Queue,
    /// As declared, until the bytes say otherwise.
    compression: Compression,
    limits: DecodeLimits,
    hasher: Hasher,
    /// Bytes of the blob that were hashed; so many as were decoded, or one more.
    hashed: u64,
    /// Bytes that the hash knows and the decoder does not: in the middle of a byte it goes on.
    known: u64,
    received: u64,
    /// Where the decoder was started, in bytes of the blob and of the tar.
    base: (u64, u64),
    /// The blob's first bytes, until there are enough to tell how it is compressed.
    start: Vec<u8>,
    decoder: Option<Decoder>,
    /// The block being filled, at its full length, and how much of it is.
    block: Vec<u8>,
    filled: usize,
    made: usize,
}

impl<'a> Decoding<'a> {
    /// `declared` is what is said of the compression; the bytes decide.
    pub(super) fn new(
        declared: Compression,
        hasher: Hasher,
        limits: Limits,
        queue: &'a Queue,
    ) -> Self {
        Self {
            queue,
            compression: declared,
            limits: DecodeLimits {
                tar_bytes: limits.tar_bytes,
            },
            hasher,
            hashed: 0,
            known: 0,
            received: 0,
            base: (0, 0),
            start: Vec::new(),
            decoder: None,
            block: vec![0; BLOCK_BYTES],
            filled: 0,
            made: 1,
        }
    }

    /// Begins behind what is there already.
    fn go_on(&mut self, base: Base) -> Result<()> {
        let Place {
            compression,
            hashed,
            hasher,
        } = base.place;
        self.limits.tar_bytes = self.limits.tar_bytes.saturating_sub(base.tar);
        let decoder = Decoder::resume(compression, &base.restart, SpanPolicy::MIB, self.limits);
        self.decoder = decoder.transpose()?;
        (self.compression, self.hasher, self.hashed) = (compression, hasher, hashed);
        self.known = hashed - base.byte;
        self.received = base.byte;
        self.base = (base.byte, base.tar);
        Ok(())
    }

    /// Takes the next bytes of the blob.
    pub(super) fn feed(&mut self, chunk: &[u8]) -> Result<()> {
        self.received += chunk.len() as u64;
        if self.decoder.is_some() {
            return self.decode(chunk);
        }
        self.start.extend_from_slice(chunk);
        if self.start.len() < Compression::MAGIC {
            return Ok(());
        }
        self.begin()
    }

    /// Starts decoding with the bytes kept so far.
    fn begin(&mut self) -> Result<()> {
        let start = std::mem::take(&mut self.start);
        // A media type may lie; the bytes don't. What they look like wins, as in Docker.
        if start.len() >= Compression::MAGIC {
            self.compression = Compression::detect(&start);
        }
        self.decoder = Some(Decoder::new(
            self.compression,
            SpanPolicy::MIB,
            self.limits,
        )?);
        self.decode(&start)
    }

    fn decode(&mut self, mut input: &[u8]) -> Result<()> {
        let decoder = self
            .decoder
            .as_mut()
            .expect("called once there is a decoder");
        loop {
            let step = decoder.decode(input, &mut self.block[self.filled..])?;
            let (done, rest) = input.split_at(step.consumed);
            input = rest;
            // In step with the decoder, so that both can go on from the same place later.
            let known = self.known.min(done.len() as u64);
            self.known -= known;
            let new = &done[usize::try_from(known).expect("at most what is done")..];
            self.hasher.update(new);
            self.hashed += new.len() as u64;
            self.filled += step.produced;
            let full = self.filled == self.block.len();
            if step.boundary.is_none() && !full {
                return Ok(());
            }
            let next = next_block(self.queue, &mut self.made)?;
            let mut bytes = std::mem::replace(&mut self.block, next);
            bytes.truncate(self.filled);
            self.filled = 0;
            let boundary = step.boundary.map(|boundary| moved(boundary, self.base));
            let place = boundary.as_ref().map(|_start| Place {
                compression: self.compression,
                hashed: self.hashed,
                hasher: self.hasher.clone(),
            });
            send(
                self.queue,
                Block {
                    bytes,
                    boundary,
                    place,
                },
            )?;
        }
    }

    /// Has the blob checked, passes the rest on, and says what it was.
    pub(super) fn finish(mut self, check: impl FnOnce(&Digest, u64) -> Result<()>) -> Result<Blob> {
        if self.decoder.is_none() {
            self.begin()?;
        }
        let digest = self.hasher.finish();
        check(&digest, self.received)?;
        self.decoder.take().expect("begun above").finish()?;
        self.block.truncate(self.filled);
        send(
            self.queue,
            Block {
                bytes: self.block,
                boundary: None,
                place: None,
            },
        )?;
        Ok(Blob {
            digest,
            bytes: self.received,
            compression: self.compression,
        })
    }
}

/// A boundary of a decoder that was started there, as one of the whole blob and tar.
fn moved(boundary: Boundary, (byte, tar): (u64, u64)) -> Boundary {
    let restart = match boundary.restart {
        Restart::At { byte: at } => Restart::At { byte: byte + at },
        Restart::Deflate { bit, window } => Restart::Deflate {
            bit: 8 * byte + bit,
            window,
        },
        Restart::Continue => Restart::Continue,
    };
    Boundary {
        tar_offset: tar + boundary.tar_offset,
        restart,
    }
}

fn send(queue: &Queue, block: Block) -> Result<()> {
    queue.full.send(block).map_err(|_gone| Error::Abandoned)
}

/// A block to fill: a new one while fewer than [`BLOCKS`] were made, then one that comes back.
pub(super) fn next_block(queue: &Queue, made: &mut usize) -> Result<Vec<u8>> {
    if let Ok(mut block) = queue.empty.try_recv() {
        block.resize(BLOCK_BYTES, 0);
        return Ok(block);
    }
    if *made < BLOCKS {
        *made += 1;
        return Ok(vec![0; BLOCK_BYTES]);
    }
    let mut block = queue.empty.recv().map_err(|_gone| Error::Abandoned)?;
    block.resize(BLOCK_BYTES, 0);
    Ok(block)
}
