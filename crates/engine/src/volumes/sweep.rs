//! Finding again what an earlier daemon knew, and finishing what it began.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use lapstrake_container::mounts::LOCAL_DRIVER;
use lapstrake_store::Commit;

use super::error::{Result, io_error};
use super::options::Options;
use super::record::Record;
use super::{Inner, Volumes, part};

/// What was found at the start, and done about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SettledVolumes {
    /// Volumes that were made for a container that was never there.
    pub removed: Vec<String>,
    /// Volumes whose mounts nobody uses any more.
    pub unmounted: Vec<String>,
}

impl Volumes {
    /// Says that all volumes are attached that containers use which still run, and takes away what nobody
    /// needs: mounts, and new volumes of containers that were never made. `is_container` knows ids.
    ///
    /// # Errors
    /// If something can't be unmounted or removed.
    pub fn settle(&self, is_container: &dyn Fn(&str) -> bool) -> Result<SettledVolumes> {
        let mut settled = SettledVolumes::default();
        for volume in self.inner.table.all() {
            let Some(record) = volume.record().clone() else {
                continue;
            };
            if let Some(container) = &record.made_for {
                let in_vain = record.labels.contains_key(super::ANONYMOUS_LABEL)
                    && !is_container(container)
                    && self.inner.claims.of(&volume.name).is_empty();
                if in_vain && self.inner.remove(&volume, &|_name| Vec::new()).is_ok() {
                    settled.removed.push(volume.name.clone());
                    continue;
                }
                let inner = &self.inner;
                inner.change(&volume, Commit::Lazy, |record| record.made_for = None)?;
            }
            let Some(held) = volume.try_change() else {
                continue;
            };
            if held.attached.is_empty()
                && let Options::Room(limit) = record.parsed(&volume.name)?
            {
                self.inner.let_go(&volume.name, limit);
            }
        }
        self.inner.unmount_unused(&mut settled)?;
        Ok(settled)
    }
}

impl Inner {
    /// Reads all records, and finishes removals. A room without a record gets one: the database forgot it.
    pub(super) fn load(&self) -> Result<()> {
        let rows = self.store.state().volumes()?;
        let mut strays = self.rooms.ids()?;
        for row in rows {
            strays.retain(|id| id.as_str() != row.name);
            let record = Record::from_json(&row.name, &row.body)?;
            if record.removing {
                self.finish_removal(&row.name)?;
            } else {
                self.table.add(&row.name, record);
            }
        }
        for id in strays {
            let path = self.home.join(&id);
            let metadata = std::fs::metadata(&path).map_err(io_error("look at", &path))?;
            let record = Record {
                driver: LOCAL_DRIVER.to_owned(),
                created: u64::try_from(metadata.ctime()).unwrap_or(0),
                ..Record::default()
            };
            self.save(id.as_str(), &record, Commit::Synced)?;
            self.table.add(id.as_str(), record);
        }
        Ok(())
    }

    fn unmount_unused(&self, settled: &mut SettledVolumes) -> Result<()> {
        for name in names(&self.seats())? {
            let volume = self.table.get(&name);
            // One that is busy is being attached.
            let held = volume.as_ref().map(|volume| volume.try_change());
            let unused = match &held {
                None => true,
                Some(None) => false,
                Some(Some(held)) => held.attached.is_empty(),
            };
            if unused {
                self.unmount(&name)?;
                settled.unmounted.push(name);
            }
        }
        // Those of containers that run are mounted in their own namespaces.
        let mine = format!("{}-", std::process::id());
        for name in names(&self.parts())? {
            if !name.starts_with(&mine) {
                part::release(&self.parts().join(name))?;
            }
        }
        self.close_private_dir(&self.seats())?;
        self.close_private_dir(&self.parts())
    }
}

/// Names in a directory that may not be there. None of them is looked at.
pub(super) fn names(dir: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io_error("list", dir)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(io_error("list", dir))?.file_name();
        names.extend(name.into_string());
    }
    names.sort();
    Ok(names)
}
