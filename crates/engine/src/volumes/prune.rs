//! Pruning: volumes that no container uses. As Docker's engine has it, volumes with options are left alone, and
//! unless all are asked for, so are those that were given a name.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::{Error, Result};
use super::record::Record;
use super::{ANONYMOUS_LABEL, UsersOf, VolumeDetails, Volumes};
use crate::prune::{Doing, Label, has_all};

/// Which volumes to prune.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneVolumes {
    /// Those with names, too.
    pub named: bool,
    /// Only volumes with all of these.
    pub labels: Vec<Label>,
    /// Only volumes that don't have all of these.
    pub not_labels: Vec<Label>,
}

/// What was pruned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrunedVolumes {
    /// Names.
    pub volumes: Vec<String>,
    /// Bytes that the file system gets back.
    pub bytes: u64,
}

impl Volumes {
    /// Removes volumes that no container uses. What can't be removed, because somebody began to use it
    /// meanwhile, stays.
    ///
    /// # Errors
    /// If a prune is running, or the store refuses.
    pub fn prune(
        &self,
        which: &PruneVolumes,
        doing: Doing,
        users: &UsersOf<'_>,
    ) -> Result<PrunedVolumes> {
        let _only = OnlyOne::begin(&self.inner.pruning)?;
        let mut pruned = PrunedVolumes::default();
        for details in self.list() {
            if !which.includes(&details) || !users(&details.name).is_empty() {
                continue;
            }
            // One that can't be looked at may be removable all the same.
            let size = self.size(&details.name).ok().flatten();
            let bytes = size.map_or(0, |size| size.bytes);
            if doing == Doing::It {
                match self.remove(&details.name, users) {
                    Ok(()) => {}
                    Err(Error::InUse { .. } | Error::MountedIn { .. } | Error::Missing(_)) => {
                        continue;
                    }
                    Err(error) => return Err(error),
                }
            }
            pruned.bytes += bytes;
            pruned.volumes.push(details.name);
        }
        Ok(pruned)
    }
}

impl PruneVolumes {
    fn includes(&self, volume: &VolumeDetails) -> bool {
        self.takes(&volume.labels, &volume.options)
    }

    fn takes(&self, labels: &BTreeMap<String, String>, options: &BTreeMap<String, String>) -> bool {
        let exempt = !self.not_labels.is_empty() && has_all(labels, &self.not_labels);
        let asked = self.named || labels.contains_key(ANONYMOUS_LABEL);
        asked && options.is_empty() && has_all(labels, &self.labels) && !exempt
    }

    /// Whether a volume is included that has this record; then what was kept of its size, if that still holds.
    pub(crate) fn takes_record(
        &self,
        name: &str,
        body: &str,
        boot_id: &str,
    ) -> Result<Option<Option<u64>>> {
        let record = Record::from_json(name, body)?;
        let kept = record
            .counted
            .filter(|counted| counted.boot_id == boot_id)
            .map(|counted| counted.bytes);
        Ok(self.takes(&record.labels, &record.options).then_some(kept))
    }
}

/// A prune that runs.
struct OnlyOne<'a>(&'a AtomicBool);

impl<'a> OnlyOne<'a> {
    fn begin(running: &'a AtomicBool) -> Result<Self> {
        if running.swap(true, Ordering::AcqRel) {
            return Err(Error::Pruning);
        }
        Ok(Self(running))
    }
}

impl Drop for OnlyOne<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
