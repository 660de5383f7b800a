//! The store: content that many may share, and the state of one daemon.
//!
//! ```text
//! the steps that make bytes visible or durable     -> disk
//!
//! <root>/content/   immutable, named by digest          -> content, tiers
//!          blobs/<algorithm>/<ab>/<hex>
//!          layers/<algorithm>/<ab>/<hex>/{data,skeleton,spans}
//!          tmp/<host>/  what is being written           -> stage
//!          leases/<host>/  what is kept until a time    -> lease
//!          trash/       what is being removed           -> trash
//!          quarantine/  what was found damaged
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
//! Removal: threads claim what they rely on (-> claims), a collection spares that (-> collect), and
//! what a dead owner left is found by the next one (-> sweep, janitor).
//!
//! The disk is waited for by a thread of its own (-> prover).
//!
//! Left out: what the bytes mean. The store knows no tar, no HTTP and no Docker.
#![forbid(unsafe_code)]

pub mod check;
mod claims;
mod collect;
mod content;
mod disk;
mod error;
mod format;
mod index;
mod janitor;
mod lease;
mod mend;
mod object;
mod owner;
mod prover;
mod publish;
mod seal;
mod shared;
mod stage;
mod state;
mod sweep;
mod tiers;
mod trash;
mod usage;

pub use claims::Claim;
pub use collect::{Collected, Collection, Inventory, Name, Plan, Quarantined, Victim, plan};
pub use content::{Content, Durability, LayerFiles};
pub use disk::{Commit, Disk, RealDisk};
pub use error::{Class, Error, Result};
pub use index::{IndexStamp, Indexes};
pub use lease::Lease;
pub use mend::NewFile;
pub use object::{Object, ObjectError};
pub use owner::{Holder, Patience};
pub use prover::Proof;
pub use stage::{LayerStage, StagedLayer};
pub use state::{
    ImageRecord, LayerRecord, LayerState, Lineage, Parent, Source, State, WritableRecord,
};
pub use sweep::Swept;
pub use usage::{FileUse, freed};

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use lapstrake_oci::{DiffId, Digest};

use crate::claims::Claims;
use crate::janitor::Janitor;
use crate::lease::Leases;
use crate::owner::{Before, Owner};
use crate::prover::Prover;
use crate::shared::Shared;
use crate::trash::Trash;

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
    shared: Arc<Shared>,
    janitor: Janitor,
    prover: Prover,
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
        let database = state_dir.join("state.db");
        if seal::compare(&database).is_ok_and(|bytes| bytes == seal::Bytes::Damaged) {
            return Err(Error::DamagedDatabase(database));
        }
        let mut state = State::open(Arc::clone(&disk), &database, boot_id)?;
        if state.is_new() && !content.objects()?.is_empty() {
            state.keep_strays(true)?;
        }
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
        let disk = Arc::new(disk::ReadOnlyDisk);
        Ok(Self::of(disk, content, indexes, state, place, None))
    }

    /// Where content is looked for, in this order: the local directory first.
    pub fn tiers(&self) -> &[Content] {
        std::slice::from_ref(&self.content)
    }

    /// The files of a layer in the first tier that has it.
    pub fn find_layer(&self, id: &DiffId) -> Option<LayerFiles> {
        tiers::find_layer(self.tiers(), id)
    }

    /// Reads a small blob from the first tier where it is sound; one of more than `max_bytes` is
    /// refused.
    ///
    /// # Errors
    /// If it is in no tier, or damaged in all that have it, or can't be read.
    pub fn read_blob(&self, digest: &Digest, max_bytes: u64) -> Result<Vec<u8>> {
        tiers::read_blob(self.tiers(), digest, max_bytes)
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
        self.shared.state()
    }

    /// Claims objects: until the claim is dropped, nothing removes them. Claim what you are about
    /// to refer to, then look whether it is there. Don't hold [`Store::state`] while claiming.
    pub fn claim(&self, objects: impl IntoIterator<Item = Object>) -> Claim {
        self.shared.claims.claim(objects)
    }

    /// Takes a lease on objects, and waits until it is on disk: for whoever publishes them. When it
    /// returns, what a crash left of any of them is out of the way.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn lease(&self, objects: &[Object], expires: SystemTime) -> Result<Lease> {
        let claim = self.claim(objects.iter().cloned());
        self.janitor.make_room(objects)?;
        (self.shared.leases).take(claim, objects.to_vec(), expires)
    }

    /// Has published content brought to disk in the background. Layers that are *present* become
    /// *proved*; others are left as they are.
    ///
    /// # Errors
    /// If there is no thread to do it.
    pub fn prove(&self, layers: Vec<DiffId>, blobs: Vec<Digest>) -> Result<Proof> {
        self.prover.prove(layers, blobs)
    }

    /// Begins a collection, when the one that may be running is over.
    pub fn collect(&self) -> Collection<'_> {
        Collection::begin(&self.shared)
    }

    /// Removes what lies in the trash, and waits until that is done.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn empty_trash(&self) -> Result<()> {
        self.shared.trash.empty(&|| false).map(drop)
    }

    /// Removes what lies in the trash while nobody waits.
    ///
    /// # Errors
    /// If there is no thread to do it.
    pub fn empty_trash_in_background(&self) -> Result<()> {
        self.janitor.empty_trash()
    }

    /// Sweeps what an earlier owner may have left, waits until that is done, and says what was found.
    /// Opening a store does the same in the background if there may be something. Nothing may be
    /// in the middle of a publication.
    ///
    /// # Errors
    /// If the state database or the file system refuses.
    pub fn sweep(&self) -> Result<Swept> {
        self.janitor.sweeping().wait();
        let swept = sweep::sweep(&self.shared)?;
        self.janitor.learn(&swept);
        Ok(swept)
    }

    /// Where the store is.
    pub fn root(&self) -> &Path {
        &self.root
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
            store.state().set_image(&image, &lineage, Commit::Lazy)
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
                .set_image(&image, &lineage, Commit::Lazy)
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
