//! Opening a store, as its owner or to read it, and closing it.
//!
//! An owner is one before it looks at anything. It returns before what it may have to do is done:
//! sweeping what a dead owner left, emptying the trash, proving what is only present. Closing ends
//! the threads that do so, and only then is there a next owner.

use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::claims::Claims;
use crate::content::Content;
use crate::disk::{Disk, ReadOnlyDisk, RealDisk, make_dirs_synced};
use crate::error::{Error, Result};
use crate::index::Indexes;
use crate::janitor::Janitor;
use crate::lease::Leases;
use crate::owner::{Before, Owner, Patience};
use crate::prover::Prover;
use crate::shared::Shared;
use crate::state::State;
use crate::trash::Trash;
use crate::{HostId, Store, format, seal, stage};

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
        make_dirs_synced(&*disk, &state_dir)?;
        let owner = Owner::become_one(root, &state_dir, boot_id, patience)?;
        format::ensure(&*disk, &state_dir, "lapstrake-state")?;
        let content = Content::open(Arc::clone(&disk), &root.join("content"), host)?;
        let indexes = Indexes::open(Arc::clone(&disk), &state_dir)?;
        let has_content = || Ok(!content.objects()?.is_empty());
        let database = state_dir.join("state.db");
        if seal::compare(&database).is_ok_and(|bytes| bytes == seal::Bytes::Damaged) {
            return Err(Error::DamagedDatabase(database));
        }
        let state = State::open(Arc::clone(&disk), &database, boot_id, &has_content)?;
        let store = Self::of(disk, content, indexes, state, place, Some(owner));
        if store.may_hold_remains() {
            store.janitor.sweep()?;
        } else if !store.shared.trash.is_empty()? {
            store.janitor.empty_trash()?;
        }
        let present = store.state().present_layers()?;
        if !present.is_empty() {
            let sweeping = Arc::clone(store.janitor.sweeping());
            store.prover.catch_up(present, sweeping)?;
        }
        Ok(store)
    }

    fn of(
        disk: Arc<dyn Disk>,
        content: Content,
        indexes: Indexes,
        state: State,
        place: Place<'_>,
        owner: Option<Owner>,
    ) -> Self {
        let content_dir = place.root.join("content");
        let shared = Arc::new(Shared {
            opened: stage::Moment::now(),
            content: content.clone(),
            indexes: indexes.clone(),
            state: Mutex::new(state),
            claims: Arc::new(Claims::default()),
            leases: Leases::of(Arc::clone(&disk), &content_dir, place.host),
            trash: Trash::at(disk, content_dir.join("trash")),
        });
        Self {
            content,
            indexes,
            janitor: Janitor::new(Arc::clone(&shared)),
            prover: Prover::new(Arc::clone(&shared)),
            shared,
            root: place.root.to_owned(),
            owner,
        }
    }

    /// Opens a store to read it, beside an owner if there is one. Whatever would change it is
    /// refused.
    ///
    /// # Errors
    /// If there is no store, or one of a format that this version doesn't know.
    pub fn open_read_only(place: Place<'_>) -> Result<Self> {
        let root = place.root;
        let state_dir = root.join("state");
        format::check_readable(root, &state_dir, "lapstrake-state")?;
        let content = Content::open_read_only(root, &root.join("content"), place.host)?;
        let indexes = Indexes::open_read_only(&state_dir);
        let state = State::open_read_only(&state_dir.join("state.db"), place.boot_id)?;
        let disk = Arc::new(ReadOnlyDisk);
        Ok(Self::of(disk, content, indexes, state, place, None))
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
}

impl Drop for Store {
    fn drop(&mut self) {
        self.prover.finish();
        self.janitor.finish();
        if let Some(owner) = &self.owner
            && self.janitor.is_done()
        {
            self.state().seal();
            owner.is_orderly();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use lapstrake_oci::Algorithm;

    use super::*;
    use crate::{Commit, Durability, ImageRecord, Lineage};

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
            store
                .state()
                .set_image(&image, &lineage, SystemTime::now(), Commit::Lazy)
        };
        assert!(put(&reader).is_err());
        put(&owner).unwrap();
        assert_eq!(
            reader.state().images().unwrap(),
            std::slice::from_ref(&image)
        );
        assert_eq!(reader.content.read_blob(&digest, 10).unwrap(), b"x");
        assert!(
            reader
                .state()
                .set_image(&image, &lineage, SystemTime::now(), Commit::Lazy)
                .is_err()
        );
        assert!(reader.content.stage_layer().is_err());
        assert_eq!(
            (owner.access(), reader.access()),
            (Access::Owner, Access::ReadOnly)
        );
        drop(owner);
        assert_eq!(reader.state().images().unwrap(), [image]);
    }
}
