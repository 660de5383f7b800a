//! Where a layer's blob can be read: a file here, another host, a registry.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

pub mod contract;

/// Why a source gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It has no such blob, and will not have it later.
    #[error("the source does not have the blob")]
    Missing,
    /// It could not be read; another try may succeed.
    #[error("the source cannot be read")]
    Unavailable(#[source] io::Error),
}

/// The compressed blob of a layer, readable anywhere, by many threads at once.
///
/// A source is not trusted: what is made from its bytes is checked by span digest.
pub trait Source: Send + Sync {
    /// Reads bytes of the blob from `offset` on: all of `buffer` or fewer, but at least one unless
    /// the blob ends at or before `offset`.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, SourceError>;
}

/// A blob in a file.
#[derive(Debug)]
pub struct FileSource(pub File);

impl Source for FileSource {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, SourceError> {
        loop {
            match self.0.read_at(buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other.map_err(SourceError::Unavailable),
            }
        }
    }
}
