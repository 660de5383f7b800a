//! The tar view: a layer's tar, byte for byte, from its skeleton and its data.

use std::{
    io::{self, Read},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    error::Error,
    read_at::ReadAt,
    skeleton::{Block, Op, Skeleton, Summary},
};

/// Reads a layer's tar. Positioned reads may come from many threads; they share one decoded block.
#[derive(Debug)]
pub struct TarView<S, D> {
    skeleton: Skeleton<S>,
    data: D,
    /// Where [`Read`] is.
    position: u64,
    /// The block read last.
    block: Mutex<Option<(usize, Arc<Block>)>>,
}

impl<S: ReadAt, D: ReadAt> TarView<S, D> {
    /// The view of a skeleton and its data.
    pub fn new(skeleton: S, data: D) -> Result<Self, Error> {
        Ok(Self {
            skeleton: Skeleton::open(skeleton)?,
            data,
            position: 0,
            block: Mutex::default(),
        })
    }

    /// What the skeleton says of the layer.
    pub fn summary(&self) -> Summary {
        self.skeleton.summary()
    }

    /// Reads from a place in the tar: all of `buffer`, or up to the end of the tar.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.summary().tar_len.saturating_sub(offset);
        let wanted = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let mut filled = 0;
        while filled < wanted {
            let block = self.block_at(offset + filled as u64)?;
            filled +=
                self.read_block(&block, offset + filled as u64, &mut buffer[filled..wanted])?;
        }
        Ok(filled)
    }

    /// Reads from one block: as much of `buffer` as the block has, at least one byte.
    fn read_block(&self, block: &Block, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let ops = block.ops();
        let first = ops
            .partition_point(|(start, _)| *start <= offset)
            .saturating_sub(1);
        let mut filled = 0;
        for (start, op) in &ops[first..] {
            let skipped = offset + filled as u64 - start;
            let rest = &mut buffer[filled..];
            filled += match *op {
                Op::Literal { start, length } => {
                    let skipped = usize::try_from(skipped).expect("within a literal run");
                    let step = rest.len().min(length - skipped);
                    rest[..step].copy_from_slice(block.literal(start + skipped, step));
                    step
                }
                Op::Content {
                    data_offset,
                    length,
                } => {
                    let left = length - skipped;
                    let step =
                        usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                    self.data
                        .read_exact_at(data_offset + skipped, &mut rest[..step])?;
                    step
                }
            };
            if filled == buffer.len() {
                break;
            }
        }
        Ok(filled)
    }

    fn block_at(&self, offset: u64) -> io::Result<Arc<Block>> {
        let index = self.skeleton.block_at(offset).ok_or_else(|| {
            let what = "it has no blocks for its tar";
            invalid(Error::SkeletonDamaged { offset: 0, what })
        })?;
        let mut held = self.block.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, block)) = &*held
            && *at == index
        {
            return Ok(Arc::clone(block));
        }
        let block = Arc::new(self.skeleton.block(index).map_err(invalid)?);
        *held = Some((index, Arc::clone(&block)));
        Ok(block)
    }
}

impl<S: ReadAt, D: ReadAt> Read for TarView<S, D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let filled = self.read_at(self.position, buffer)?;
        self.position += filled as u64;
        Ok(filled)
    }
}

fn invalid(error: Error) -> io::Error {
    match error {
        Error::Io { source, .. } => source,
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}
