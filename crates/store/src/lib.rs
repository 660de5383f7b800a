//! The store: content that many may share, and the state of one daemon.
//!
//! ```text
//! the steps that make bytes visible or durable     -> disk
//!
//! <root>/content/   immutable, named by digest          -> content, tiers
//!          blobs/<algorithm>/<ab>/<hex>
//!          layers/<algorithm>/<ab>/<hex>/{data,skeleton,spans}
//!          tmp/<host>/  what is being written           -> stage, partial
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
//! What everything takes on the disk is told apart by what it is for (-> holdings).
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
mod holdings;
mod index;
mod janitor;
mod lease;
mod mend;
mod object;
mod opening;
mod owner;
mod partial;
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
pub use collect::{
    Collected, Collection, Inventory, Leftover, Name, Plan, Quarantined, Victim, plan,
};
pub use content::{Content, Durability, LayerFiles};
pub use disk::{Commit, Disk, RealDisk};
pub use error::{Class, Error, Result};
pub use holdings::{Area, Holdings, OTHERS};
pub use index::{IndexStamp, Indexes};
pub use lease::Lease;
pub use mend::NewFile;
pub use object::{Object, ObjectError};
pub use opening::{Access, Place};
pub use owner::{Holder, Patience};
pub use prover::Proof;
pub use stage::{LayerStage, StagedLayer};
pub use state::{
    ContainerRecord, ImageRecord, LayerRecord, LayerState, Lineage, Parent, Put, Source, State,
    VolumeRecord, WritableRecord,
};
pub use sweep::Swept;
pub use usage::{FileUse, freed, measure};

use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard};
use std::time::SystemTime;

use lapstrake_oci::{DiffId, Digest};

use crate::janitor::Janitor;
use crate::owner::Owner;
use crate::prover::Prover;
use crate::shared::Shared;

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
    shared: Arc<Shared>,
    janitor: Janitor,
    prover: Prover,
    root: PathBuf,
    /// The last field: others must be gone before another process can become the owner.
    owner: Option<Owner>,
}

impl Store {
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

    /// Other hosts that use the same content directory, or did: each has a corner of its own there, which stays until
    /// somebody removes it. What they have in use is known to them alone.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn other_hosts(&self) -> Result<Vec<String>> {
        let content = self.root.join("content");
        let mut hosts: Vec<String> = Vec::new();
        for corner in ["leases", "tmp"] {
            hosts.extend(content::names(&content.join(corner))?);
        }
        hosts.sort();
        hosts.dedup();
        hosts.retain(|host| host != self.shared.leases.host());
        Ok(hosts)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_share_content_know_of_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let one = HostId::from_hostname("one");
        let store = Store::open(dir.path(), &one, "boot").unwrap();
        assert_eq!(store.other_hosts().unwrap(), [""; 0]);
        // Another host has its own state, and comes by the content directory alone.
        let content = dir.path().join("content");
        let two = HostId::from_hostname("two");
        Content::open(Arc::new(RealDisk), &content, &two).unwrap();
        assert_eq!(store.other_hosts().unwrap(), ["two"]);
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
