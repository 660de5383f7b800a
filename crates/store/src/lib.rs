//! The store: content that many may share, and the state of one daemon.
//!
//! ```text
//! the steps that make bytes visible or durable     -> disk
//!
//! <root>/content/   immutable, named by digest          -> content
//!          blobs/<algorithm>/<ab>/<hex>
//!          layers/<algorithm>/<ab>/<hex>/{data,skeleton,spans}
//!          tmp/<host>/  what is being written           -> stage
//!          trash/
//! <root>/state/     mutable, this host's alone
//!          state.db                                     -> state
//!          index/<hex>                                  -> index
//! ```
//!
//! What holds: a name below `blobs` or `layers` appears only when its bytes were checked against
//! it, and whole. `state.db` refers only to what is published. A layer is *present* once it is
//! published and *proved* once it is known to be on disk; until then a crash may take it back, so
//! only content that has a recorded source is published unproved.
//!
//! Left out: what the bytes mean. The store knows no tar, no HTTP and no Docker.
#![forbid(unsafe_code)]

mod content;
mod disk;
mod error;
mod format;
mod index;
mod stage;
mod state;

pub use content::{Content, Durability, LayerFiles};
pub use disk::{Commit, Disk, RealDisk};
pub use error::{Class, Error, Result};
pub use index::{IndexStamp, Indexes};
pub use stage::{LayerStage, StagedLayer};
pub use state::{ImageRecord, LayerRecord, LayerState, Source, State};

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A host's name for its own corner of a shared store: letters, digits, `-`, `_` and `.`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostId(Box<str>);

impl HostId {
    /// Keeps the characters that are safe in a file name and drops the rest.
    pub fn from_hostname(name: &str) -> Self {
        let safe = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let name: String = name.chars().filter(safe).take(64).collect();
        let name = name.trim_start_matches('.');
        Self(if name.is_empty() { "localhost" } else { name }.into())
    }

    /// As a file name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An open store.
#[derive(Debug)]
pub struct Store {
    /// Blobs and layers.
    pub content: Content,
    /// The indexes built on this host.
    pub indexes: Indexes,
    state: Mutex<State>,
    root: PathBuf,
}

impl Store {
    /// Opens the store below `root`, making it if there is none, and sweeps what crashed writers
    /// of this host left behind. `boot_id` identifies the running kernel: what was not proved
    /// under another one has to be checked before use.
    ///
    /// # Errors
    /// If the directory cannot be used or holds a store of a format that this version doesn't know.
    pub fn open(root: &Path, host: &HostId, boot_id: &str) -> Result<Self> {
        Self::open_on(Arc::new(RealDisk), root, host, boot_id)
    }

    /// Opens a store on a disk that may be one that crashes; else as [`Store::open`].
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_on(disk: Arc<dyn Disk>, root: &Path, host: &HostId, boot_id: &str) -> Result<Self> {
        let content = Content::open(Arc::clone(&disk), &root.join("content"), host)?;
        let state_dir = root.join("state");
        disk::make_dirs_synced(&*disk, &state_dir)?;
        format::ensure(&*disk, &state_dir, "lapstrake-state")?;
        let indexes = Indexes::open(Arc::clone(&disk), &state_dir)?;
        let state = State::open(disk, &state_dir.join("state.db"), boot_id)?;
        Ok(Self {
            content,
            indexes,
            state: Mutex::new(state),
            root: root.to_owned(),
        })
    }

    /// Tags and layer records, for one thread at a time. Don't hold it while doing anything long.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the store is.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_ids_are_safe_file_names() {
        for (name, id) in [
            ("node-1", "node-1"),
            ("../x", "x"),
            ("a/b c", "abc"),
            ("", "localhost"),
        ] {
            assert_eq!(HostId::from_hostname(name).as_str(), id);
        }
    }
}
