//! The volumes that there are, in memory.
//!
//! The table is locked for a look or an entry only. A volume's `changing` is held while it is mounted,
//! made or taken away; its record is locked for a look.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use super::held;
use super::record::Record;

/// A volume.
#[derive(Debug)]
pub(super) struct Volume {
    pub(super) name: String,
    /// What is known of it; nothing while it is being made, or when it is gone.
    record: Mutex<Option<Record>>,
    changing: Mutex<Use>,
}

/// How a volume is used now.
#[derive(Debug, Default)]
pub(super) struct Use {
    /// Whether the name was given up: whoever waited for it looks again.
    pub(super) gone: bool,
    /// Who has it attached, by keys of their own.
    pub(super) attached: BTreeSet<String>,
    /// Where it is, once that was found out.
    pub(super) path: Option<PathBuf>,
    /// Counts attachments: who looked at a size and finds another number has looked in vain.
    pub(super) generation: u64,
    /// Directories in it that are attached, by the key of who has them.
    pub(super) parts: BTreeMap<String, Vec<PathBuf>>,
}

impl Volume {
    fn new(name: &str, record: Option<Record>) -> Self {
        Self {
            name: name.to_owned(),
            record: Mutex::new(record),
            changing: Mutex::default(),
        }
    }

    pub(super) fn record(&self) -> MutexGuard<'_, Option<Record>> {
        held(&self.record)
    }

    /// Waits until nobody else changes it.
    pub(super) fn change(&self) -> MutexGuard<'_, Use> {
        held(&self.changing)
    }

    /// Nothing if somebody else changes it.
    pub(super) fn try_change(&self) -> Option<MutexGuard<'_, Use>> {
        match self.changing.try_lock() {
            Ok(held) => Some(held),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// All volumes, by name.
#[derive(Debug, Default)]
pub(super) struct Table {
    volumes: Mutex<BTreeMap<String, Arc<Volume>>>,
}

impl Table {
    /// The volume of this name, which may be one that has no record yet.
    pub(super) fn entry(&self, name: &str) -> Arc<Volume> {
        let mut volumes = held(&self.volumes);
        let volume = volumes.entry(name.to_owned());
        Arc::clone(volume.or_insert_with(|| Arc::new(Volume::new(name, None))))
    }

    pub(super) fn add(&self, name: &str, record: Record) {
        let volume = Arc::new(Volume::new(name, Some(record)));
        held(&self.volumes).insert(name.to_owned(), volume);
    }

    pub(super) fn get(&self, name: &str) -> Option<Arc<Volume>> {
        let volume = held(&self.volumes).get(name).cloned();
        volume.filter(|volume| volume.record().is_some())
    }

    /// Gives up a name whose volume is held.
    pub(super) fn forget(&self, volume: &Arc<Volume>, held_by: &mut Use) {
        held_by.gone = true;
        *volume.record() = None;
        let mut volumes = held(&self.volumes);
        let ours = volumes.get(&volume.name);
        if ours.is_some_and(|ours| Arc::ptr_eq(ours, volume)) {
            volumes.remove(&volume.name);
        }
    }

    /// All that have a record, by name.
    pub(super) fn all(&self) -> Vec<Arc<Volume>> {
        let volumes: Vec<_> = held(&self.volumes).values().cloned().collect();
        volumes
            .into_iter()
            .filter(|volume| volume.record().is_some())
            .collect()
    }
}
