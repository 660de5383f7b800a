//! What pruning containers and volumes would remove, for whoever only reads the store, beside a daemon that owns it.
//!
//! It is chosen by the same rules as the daemon's own prunings, from records in the database. Sizes are those
//! that were kept; of what has none, every file is looked at.

use std::collections::BTreeSet;

use lapstrake_snapshot::room::{self, RoomId, Rooms};

use crate::Engine;
use crate::containers::{PruneContainers, PrunedContainers, Record};
use crate::df::Held;
use crate::error::Result;
use crate::volumes::{self, PruneVolumes, PrunedVolumes, VolumeError};

impl Engine {
    /// The containers that pruning would remove, and what that would free.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn prunable_containers(&self, which: &PruneContainers) -> Result<PrunedContainers> {
        let mut pruned = PrunedContainers::default();
        for record in self.container_records()? {
            if !which.takes(&record) {
                continue;
            }
            pruned.bytes += self.takes(&record)?.bytes;
            pruned.ids.push(record.id);
        }
        Ok(pruned)
    }

    /// The volumes that pruning would remove, and what that would free.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn prunable_volumes(
        &self,
        which: &PruneVolumes,
    ) -> std::result::Result<PrunedVolumes, VolumeError> {
        let mut pruned = PrunedVolumes::default();
        let used = self.used_volumes()?;
        let Some(rooms) = volumes::rooms(self)? else {
            return Ok(pruned);
        };
        let (rows, boot) = {
            let state = self.store.state();
            (state.volumes()?, state.boot_id().to_owned())
        };
        for row in rows {
            if used.contains(&row.name) {
                continue;
            }
            if let Some(kept) = which.takes_record(&row.name, &row.body, &boot)? {
                let bytes = match kept {
                    Some(bytes) => bytes,
                    None => footprint(&rooms, &row.name)?.bytes,
                };
                pruned.bytes += bytes;
                pruned.volumes.push(row.name);
            }
        }
        Ok(pruned)
    }

    /// Containers, as the database has them. One that can't be read is left out: the daemon leaves it alone, too.
    pub(crate) fn container_records(&self) -> Result<Vec<Record>> {
        let rows = self.store.state().containers()?;
        let records = rows
            .iter()
            .filter_map(|row| serde_json::from_str(&row.body).ok());
        Ok(records.collect())
    }

    /// What the file system gets back with a container that does not run. Of a size that was kept, inodes are not known.
    pub(crate) fn takes(&self, record: &Record) -> Result<Held> {
        let mut held = crate::df::below(&self.container_files().join(&record.id))?;
        held.add(match record.state.size {
            Some(size) => Held {
                bytes: size.room,
                inodes: 0,
            },
            None => footprint(self.rooms()?, &record.id)?,
        });
        Ok(held)
    }

    fn used_volumes(&self) -> Result<BTreeSet<String>> {
        let mut used = BTreeSet::new();
        for record in self.container_records()? {
            used.extend(record.volumes().into_iter().map(str::to_owned));
        }
        Ok(used)
    }
}

/// What a room takes of the disk; nothing if it is gone.
fn footprint(rooms: &Rooms, name: &str) -> std::result::Result<Held, room::Error> {
    let id: RoomId = name.parse()?;
    match rooms.footprint(&id) {
        Ok(usage) => Ok(Held {
            bytes: usage.bytes,
            inodes: usage.inodes.unwrap_or_default(),
        }),
        Err(room::Error::Missing(_)) => Ok(Held::default()),
        Err(error) => Err(error),
    }
}
