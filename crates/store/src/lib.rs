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
//!          owner        who may change the store        -> owner
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
mod object;
mod owner;
mod stage;
mod state;

pub use content::{Content, Durability, LayerFiles};
pub use disk::{Commit, Disk, RealDisk};
pub use error::{Class, Error, Result};
pub use index::{IndexStamp, Indexes};
pub use object::{Object, ObjectError};
pub use owner::{Holder, Patience};
pub use stage::{LayerStage, StagedLayer};
pub use state::{ImageRecord, LayerRecord, LayerState, Lineage, Parent, Source, State};

use crate::owner::{Before, Owner};

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

/// What the opener of a store may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Change it. There is one such process for a store.
    Owner,
    /// Read it, beside an owner.
    ReadOnly,
}

/// What a store is told of its surroundings.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Its directory.
    pub root: &'a Path,
    /// This host.
    pub host: &'a HostId,
    /// The running kernel: what was not proved under another one has to be checked before use.
    pub boot_id: &'a str,
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
    /// The last field: others must be gone before another process can become the owner.
    owner: Option<Owner>,
}

impl Store {
    /// Opens the store below `root` as its owner, making it if there is none, and sweeps what
    /// crashed writers of this host left behind.
    ///
    /// # Errors
    /// If the directory cannot be used, holds a store of a format that this version doesn't know,
    /// or has another owner.
    pub fn open(root: &Path, host: &HostId, boot_id: &str) -> Result<Self> {
        let place = Place {
            root,
            host,
            boot_id,
        };
        Self::open_at(place, None)
    }

    /// As [`Store::open`]; if there is another owner, waits for it to go.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_at(place: Place<'_>, patience: Option<Patience<'_>>) -> Result<Self> {
        Self::open_on(Arc::new(RealDisk), place, patience)
    }

    /// Opens a store on a disk that may be one that crashes; else as [`Store::open`].
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_on(
        disk: Arc<dyn Disk>,
        place: Place<'_>,
        patience: Option<Patience<'_>>,
    ) -> Result<Self> {
        let Place {
            root,
            host,
            boot_id,
        } = place;
        let state_dir = root.join("state");
        disk::make_dirs_synced(&*disk, &state_dir)?;
        let owner = Owner::become_one(root, &state_dir, boot_id, patience)?;
        format::ensure(&*disk, &state_dir, "lapstrake-state")?;
        let content = Content::open(Arc::clone(&disk), &root.join("content"), host)?;
        let indexes = Indexes::open(Arc::clone(&disk), &state_dir)?;
        let state = State::open(disk, &state_dir.join("state.db"), boot_id)?;
        Ok(Self {
            content,
            indexes,
            state: Mutex::new(state),
            root: root.to_owned(),
            owner: Some(owner),
        })
    }

    /// Opens a store to read it, beside an owner if there is one. Whatever would change it is
    /// refused.
    ///
    /// # Errors
    /// If there is no store, or one of a format that this version doesn't know.
    pub fn open_read_only(place: Place<'_>) -> Result<Self> {
        let Place {
            root,
            host,
            boot_id,
        } = place;
        let state_dir = root.join("state");
        format::check_readable(root, &state_dir, "lapstrake-state")?;
        Ok(Self {
            content: Content::open_read_only(root, &root.join("content"), host)?,
            indexes: Indexes::open_read_only(&state_dir),
            state: Mutex::new(State::open_read_only(&state_dir.join("state.db"), boot_id)?),
            root: root.to_owned(),
            owner: None,
        })
    }

    /// What this process may do.
    pub fn access(&self) -> Access {
        match self.owner {
            Some(_) => Access::Owner,
            None => Access::ReadOnly,
        }
    }

    /// Whether an earlier owner was killed, or the machine went down, so that there may be something
    /// to sweep.
    pub fn may_hold_remains(&self) -> bool {
        self.owner
            .as_ref()
            .is_some_and(|owner| owner.before() == Before::Unknown)
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

impl Drop for Store {
    fn drop(&mut self) {
        if let Some(owner) = &self.owner {
            owner.is_orderly();
        }
    }
}

#[cfg(test)]
mod tests {
    use lapstrake_oci::Algorithm;

    use super::*;

    #[test]
    fn a_reader_sees_what_the_owner_does_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let host = HostId::from_hostname("h");
        let place = Place {
            root: dir.path(),
            host: &host,
            boot_id: "b",
        };
        let nothing = Store::open_read_only(place).unwrap_err();
        assert!(matches!(nothing, Error::NoStore(_)));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);

        let owner = Store::open(dir.path(), &host, "b").unwrap();
        let reader = Store::open_read_only(place).unwrap();
        let digest = Algorithm::Sha256.digest(b"x");
        let image = ImageRecord {
            reference: "docker.io/library/x:latest".to_owned(),
            manifest: digest.clone(),
            config: digest.clone(),
        };
        let lineage = Lineage {
            index: None,
            layers: &[],
        };
        let put = |store: &Store| {
            store
                .content
                .put_blob(b"x", &digest, Durability::HasSource)?;
            store.state().set_image(&image, &lineage)
        };
        assert!(put(&reader).is_err());
        put(&owner).unwrap();
        assert_eq!(
            reader.state().images().unwrap(),
            std::slice::from_ref(&image)
        );
        assert_eq!(reader.content.read_blob(&digest, 10).unwrap(), b"x");
        assert!(reader.state().set_image(&image, &lineage).is_err());
        assert!(reader.content.stage_layer().is_err());
        assert_eq!(
            (owner.access(), reader.access()),
            (Access::Owner, Access::ReadOnly)
        );
        drop(owner);
        assert_eq!(reader.state().images().unwrap(), [image]);
    }

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
