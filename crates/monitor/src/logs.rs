//! Log files: what a container wrote, entry by entry, in Docker's two formats.
//!
//! The monitor writes, through [`Writer`]; anyone may read beside it, through [`Reader`], also while files are
//! rotated. A file is rotated by renaming: `log` becomes `log.1`, `log.1` becomes `log.2` and so on.
//! Rotated files may be compressed (`log.1.gz`). Tools that know Docker's files know these.
//!
//! An entry is a line, or a piece of one that is longer than 16 KiB. What a crash left torn is skipped, never
//! passed on; a writer that finds it makes sure that what comes next is whole.

mod entry;
mod files;
mod json;
mod lines;
mod local;
mod read;
mod write;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use entry::Entry;
pub use read::{Query, Reader, Stopper};
pub use write::Writer;

/// How a log is written and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The format.
    pub format: Format,
    /// The file that is written to; rotated ones have longer names. Its directory must exist.
    pub path: PathBuf,
    /// A file that has this many bytes is rotated before the next entry; never if absent.
    pub max_size: Option<u64>,
    /// How many files there may be. With one, its content is dropped instead of kept in a rotated file.
    pub max_files: u32,
    /// Whether rotated files are compressed.
    pub compress: bool,
    /// Added to every entry: Docker's labels, environment and tag.
    pub attributes: BTreeMap<String, String>,
}

/// The formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// A line of JSON for each entry, as Docker's `json-file`.
    JsonFile,
    /// Length-delimited protocol buffers, as Docker's `local`.
    Local,
}

impl Settings {
    /// Docker's defaults for a format: `json-file` grows without bounds, `local` keeps five files of
    /// 20 MB, compressed.
    #[must_use]
    pub fn defaults(format: Format, path: PathBuf) -> Self {
        let (max_size, max_files, compress) = match format {
            Format::JsonFile => (None, 1, false),
            Format::Local => (Some(20 << 20), 5, true),
        };
        Self {
            format,
            path,
            max_size,
            max_files,
            compress,
            attributes: BTreeMap::new(),
        }
    }
}
