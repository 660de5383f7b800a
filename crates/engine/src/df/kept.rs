//! What containers, other writable layers and volumes keep under their names, as the database has them: it can be
//! asked beside a daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use lapstrake_snapshot::room::{self, RoomId, Rooms};
use lapstrake_store::{OTHERS, WritableRecord};
use lapstrake_sys::parallel;

use super::contents::Contents;
use super::{ContainerUse, DiskUsage, Held, VolumeUse, WritableUse, below};
use crate::Engine;
use crate::containers::Record;
use crate::error::{Result, io_error};
use crate::names::familiar;
use crate::volumes;

impl Engine {
    /// Adds what each has, and names what is there under a name that nobody knows.
    pub(super) fn kept(&self, contents: &Contents<'_>, usage: &mut DiskUsage) -> Result<()> {
        let records = self.container_records()?;
        let mut layers = BTreeMap::new();
        for layer in self.writable_uses(contents)? {
            layers.insert(layer.name.clone(), layer);
        }
        usage.volumes = self.volume_uses(&records)?;
        usage.unknown.extend(self.strangers()?);
        let files = self.container_files();
        let container = |record: &Record| container_use(record, &files);
        let mut containers = parallel::map(&records, container)?;
        for container in &mut containers {
            container.layer = layers.remove(&container.id);
        }
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        usage.containers = containers;
        usage.writables = layers.into_values().collect();
        Ok(())
    }

    fn writable_uses(&self, contents: &Contents<'_>) -> Result<Vec<WritableUse>> {
        // The database is let go before rooms are looked at.
        let records = self.store.state().writables()?;
        let in_use = self.run.places_in_use()?;
        let rooms = self.rooms()?;
        let one = |record: &WritableRecord| {
            let id: RoomId = record.name.parse()?;
            let (content, shared) = contents.under(&record.name);
            Ok(WritableUse {
                mounted: self.is_in_use(&in_use, &id),
                image: familiar(&record.image.reference),
                name: record.name.clone(),
                held: on_disk(rooms, &id)?,
                content,
                shared,
            })
        };
        parallel::map(&records, one)
    }

    fn volume_uses(&self, containers: &[Record]) -> Result<Vec<VolumeUse>> {
        let mut users: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for record in containers {
            for volume in record.volumes() {
                let of = users.entry(volume).or_default();
                of.insert(record.name.clone());
            }
        }
        let rows = self.store.state().volumes()?;
        let Some(rooms) = volumes::rooms(self)?.filter(|_| !rows.is_empty()) else {
            return Ok(Vec::new());
        };
        let one = |row: &lapstrake_store::VolumeRecord| {
            let users = users.get(&*row.name).into_iter().flatten().cloned();
            Ok(VolumeUse {
                anonymous: volumes::is_anonymous(&row.name, &row.body),
                held: on_disk(&rooms, &row.name.parse()?)?,
                containers: users.collect(),
                name: row.name.clone(),
            })
        };
        parallel::map(&rows, one)
    }

    /// What has a name in the directories of containers and volumes that the database does not know, by its path below
    /// the root.
    pub(super) fn strangers(&self) -> Result<Vec<(PathBuf, Held)>> {
        let state = self.root().join("state");
        let mut there = Vec::new();
        for dir in OTHERS {
            let names = names(&state.join(dir))?.into_iter();
            let named = names.filter(|name| !name.as_encoded_bytes().starts_with(b"."));
            there.push((dir, named.collect::<Vec<_>>()));
        }
        // What came meanwhile is known.
        let known = self.known_names()?;
        let mut strangers = Vec::new();
        for ((dir, names), known) in there.into_iter().zip(known) {
            for name in names {
                if name.to_str().is_none_or(|name| !known.contains(name)) {
                    let held = below(&state.join(dir).join(&name))?;
                    strangers.push((Path::new("state").join(dir).join(name), held));
                }
            }
        }
        Ok(strangers)
    }

    /// The names that the database knows in each of [`OTHERS`].
    fn known_names(&self) -> Result<[BTreeSet<String>; OTHERS.len()]> {
        let writables = self.store.state().writables()?;
        let volumes = self.store.state().volumes()?;
        let containers = self.container_records()?;
        Ok([
            writables.into_iter().map(|layer| layer.name).collect(),
            volumes.into_iter().map(|volume| volume.name).collect(),
            containers.into_iter().map(|record| record.id).collect(),
        ])
    }
}

fn container_use(record: &Record, files: &Path) -> Result<ContainerUse> {
    let dir = files.join(&record.id);
    let all = below(&dir)?;
    let log = format!("{}-json.log", record.id);
    let is_log = |name: &OsString| {
        let name = name.to_string_lossy();
        name.starts_with(&log) || name.starts_with("container.log")
    };
    let logs = names(&dir)?.into_iter().filter(is_log);
    let logs: Result<Vec<_>> = logs.map(|name| below(&dir.join(name))).collect();
    let logs = Held::sum(logs?);
    let runs = record.state.phase.has_process();
    Ok(ContainerUse {
        id: record.id.clone(),
        name: record.name.clone(),
        image: record.settings.image.clone(),
        image_id: record.image.clone(),
        phase: record.state.phase,
        layer: None,
        logs,
        files: Held {
            bytes: all.bytes.saturating_sub(logs.bytes),
            inodes: all.inodes.saturating_sub(logs.inodes),
        },
        written: record.state.size.filter(|_| !runs).map(|size| size.written),
        volumes: record.volumes().into_iter().map(str::to_owned).collect(),
    })
}

/// What a room takes of the disk; nothing if it is gone.
fn on_disk(rooms: &Rooms, id: &RoomId) -> Result<Held> {
    match rooms.on_disk(id) {
        Ok(usage) => Ok(Held {
            bytes: usage.bytes,
            inodes: usage.inodes.unwrap_or_default(),
        }),
        Err(room::Error::Missing(_)) => Ok(Held::default()),
        Err(error) => Err(error.into()),
    }
}

/// Names in a directory; none if it is not there.
fn names(dir: &Path) -> Result<Vec<OsString>> {
    lapstrake_sys::dir::names(dir).map_err(io_error("list", dir))
}
