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
        let known: [BTreeSet<&str>; OTHERS.len()] = [
            layers.keys().map(String::as_str).collect(),
            (usage.volumes.iter()).map(|volume| &*volume.name).collect(),
            records.iter().map(|record| &*record.id).collect(),
        ];
        for (dir, known) in OTHERS.iter().zip(known) {
            for (path, held) in self.unknown_in(dir, &known)? {
                usage.unknown.insert(path, held);
            }
        }
        let files = self.root().join("state").join("container-files");
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
                held: footprint(rooms, &id)?,
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
                held: footprint(&rooms, &row.name.parse()?)?,
                containers: users.collect(),
                name: row.name.clone(),
            })
        };
        parallel::map(&rows, one)
    }

    /// What has a name in such a directory that is not known there.
    fn unknown_in(&self, dir: &str, known: &BTreeSet<&str>) -> Result<Vec<(PathBuf, Held)>> {
        let state = self.root().join("state");
        let mut unknown = Vec::new();
        for name in names(&state.join(dir))? {
            let text = name.to_string_lossy();
            if !text.starts_with('.') && !known.contains(&*text) {
                let held = below(&state.join(dir).join(&name))?;
                unknown.push((Path::new("state").join(dir).join(name), held));
            }
        }
        Ok(unknown)
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
fn footprint(rooms: &Rooms, id: &RoomId) -> Result<Held> {
    match rooms.footprint(id) {
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
