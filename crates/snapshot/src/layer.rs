//! A layer as the store has it, the same for every driver.

use std::path::PathBuf;

use lapstrake_oci::DiffId;

/// One layer's files, fit for use: whoever makes this has settled that they are what the record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its name.
    pub id: DiffId,
    /// The EROFS index.
    pub index: StoredFile,
    /// BLAKE3 of the index, in lower-case hex. A driver that mounts it checks it.
    pub index_blake3: String,
    /// The skeleton, from which the layer's tree can be made.
    pub skeleton: PathBuf,
    /// The contents of its files; none when no file has any.
    pub data: Option<StoredFile>,
}

/// A file, and how long it has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its recorded length.
    pub len: u64,
}
