//! What containers have of the disk, without looking at every file.
//!
//! A layer changes only while its container runs, or while files are copied into it. So what it used when its
//! container ended is what it uses still, and only those that run are looked at.
//!
//! What a container *wrote* is what clients are shown: of a container that wrote nothing, nothing. What it *takes* is
//! what the file system gets back when it is removed: its whole room, its log, and the directories for both.

use lapstrake_oci::Digest;
use lapstrake_snapshot::room;
use serde::{Deserialize, Serialize};

use super::Containers;
use super::container::Container;
use super::error::Result;
use crate::df::Held;

/// Where the file system counts, files are looked at only if they take less than this: few, then.
const WORTH_A_LOOK: u64 = 1 << 20;

/// What a writable layer uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Size {
    /// Bytes of files that the container wrote.
    pub written: u64,
    /// Bytes that its room takes of the disk.
    pub room: u64,
    /// Bytes that were in use in the room when it was made.
    pub empty: u64,
}

/// What a container uses of the disk, for clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes that it wrote.
    pub writable: u64,
    /// Bytes of that and of its image.
    pub root: u64,
}

impl Containers {
    /// What a container uses of the disk.
    ///
    /// # Errors
    /// If there is none of that name, or its layer can't be read.
    pub async fn sizes(&self, name: &str) -> Result<Sizes> {
        let name = name.to_owned();
        self.blocking(move |all| {
            let container = all.find(&name)?;
            let image = all.image_bytes(&container)?;
            let writable = all.size(&container)?.written;
            Ok(Sizes {
                writable,
                root: image + writable,
            })
        })
        .await
    }

    /// Bytes that a container wrote. It may look at files, and so wait.
    ///
    /// # Errors
    /// If there is none of that name, or its layer can't be read.
    pub fn writable_bytes(&self, name: &str) -> Result<u64> {
        Ok(self.size(&*self.find(name)?)?.written)
    }

    /// What the file system gets back when a container is removed.
    pub(crate) fn takes(&self, container: &Container) -> Result<Held> {
        let room = self.size(container)?.room;
        let mut held = crate::df::below(&self.places(&container.id).files)?;
        held.bytes += room;
        Ok(held)
    }

    /// What a container's writable layer uses.
    fn size(&self, container: &Container) -> Result<Size> {
        let (kept, runs) =
            container.with(|record| (record.state.size, record.state.phase.has_process()));
        match kept {
            Some(size) if !runs => Ok(size),
            _ => self.measure(&container.id, kept.map_or(0, |size| size.empty)),
        }
    }

    /// Looks, when a container was made, what its room takes; nothing if that can't be told.
    pub(crate) fn new_size(&self, container: &Container) -> Option<Size> {
        let size = self.settle_size(container)?;
        Some(Size {
            written: 0,
            empty: size.empty + size.written,
            room: size.room,
        })
    }

    /// Looks, when a container ended, what its layer uses; nothing if that can't be told.
    pub(crate) fn settle_size(&self, container: &Container) -> Option<Size> {
        let kept = container.with(|record| record.state.size);
        match self.measure(&container.id, kept.map_or(0, |size| size.empty)) {
            Ok(size) => Some(size),
            Err(error) => {
                self.note(&format!(
                    "container {}: its size is not known: {error}",
                    container.id
                ));
                None
            }
        }
    }

    /// `empty` is what was in use in the room when it was made.
    fn measure(&self, id: &str, empty: u64) -> Result<Size> {
        let rooms = self.inner.engine.rooms()?;
        let measure = || -> std::result::Result<Size, crate::Error> {
            let id: room::RoomId = id.parse()?;
            let usage = rooms.usage(&id)?;
            if let Some(files) = usage.files {
                return Ok(Size {
                    written: files,
                    room: usage.bytes,
                    empty,
                });
            }
            let more = usage.bytes.saturating_sub(empty);
            let files = match more < WORTH_A_LOOK {
                true => rooms.files(&id)?,
                false => None,
            };
            Ok(Size {
                written: files.unwrap_or(more),
                room: rooms.footprint(&id)?.bytes,
                empty,
            })
        };
        Ok(measure()?)
    }

    /// Bytes of the layers of a container's image; nothing if it is known no more.
    fn image_bytes(&self, container: &Container) -> Result<u64> {
        let engine = &self.inner.engine;
        let image = container.with(|record| record.image.parse::<Digest>());
        let Some(facts) = image.ok().and_then(|image| engine.facts_of(&image).ok()) else {
            return Ok(0);
        };
        let layers = engine.store.state().layers(&facts.layers);
        let layers = layers.map_err(crate::Error::from)?;
        Ok(layers.iter().flatten().map(|layer| layer.tar_len).sum())
    }
}
