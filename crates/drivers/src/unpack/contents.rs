//! The contents of files, out of a layer's data file.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;

use lapstrake_snapshot::OpenFile;
use lapstrake_sys::copy;
use lapstrake_tree::model::{BLOCK, FileData};

/// Below this size a copy is cheaper than shared blocks, for now and for readers.
const SHARE_MIN: u64 = 64 << 10;

/// Copies contents, by sharing blocks where the file system can.
#[derive(Debug)]
pub(crate) struct Copier<'a> {
    data: Option<&'a OpenFile>,
    shares: bool,
}

impl<'a> Copier<'a> {
    pub(crate) fn new(data: Option<&'a OpenFile>) -> Self {
        Self { data, shares: true }
    }

    /// Fills a new, empty file.
    pub(crate) fn copy(&mut self, to: &File, size: u64, from: &FileData) -> io::Result<()> {
        if size == 0 {
            return Ok(());
        }
        match from {
            FileData::Contiguous { data_offset } => self.run(to, 0, *data_offset, size, size),
            FileData::Sparse { extents, .. } => {
                rustix::fs::ftruncate(to, size)?;
                for extent in extents {
                    let (at, from) = (extent.file_offset, extent.data_offset);
                    self.run(to, at, from, extent.length, size)?;
                }
                Ok(())
            }
        }
    }

    fn run(&mut self, to: &File, at: u64, from: u64, length: u64, size: u64) -> io::Result<()> {
        let Some(data) = self.data else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        if self.shares && length >= SHARE_MIN {
            // Whole blocks: `data` is filled up with zeros after each file, and what goes beyond the
            // file's end is cut off.
            let blocks = length.next_multiple_of(BLOCK);
            self.shares = copy::share_range(data.as_fd(), from, to.as_fd(), at, blocks)?;
            if self.shares {
                if at + blocks > size {
                    rustix::fs::ftruncate(to, size)?;
                }
                return Ok(());
            }
        }
        copy::range(data.file(), from, to, at, length)
    }
}
