//! What containers have of the disk, without looking at every file.
//!
//! A layer changes only while its container runs, or while files are copied into it. So what it used when its
//! container ended is what it uses still, and only those that run are looked at. Nobody but the file system knows what
//! they change, and where it does not count, every file is looked at: what was found is then told for a while.
//!
//! What a container *wrote* is what clients are shown: of a container that wrote nothing, nothing. What it *takes* is
//! what the file system gets back when it is removed: its whole room, its log, and the directories for both.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use lapstrake_snapshot::room::{self, Counted};
use lapstrake_sys::parallel;
use serde::{Deserialize, Serialize};

use super::Containers;
use super::container::{Container, held};
use super::error::Result;
use super::record::{Nanoseconds, Record};
use crate::df::Held;

/// Where the file system counts, files are looked at only if they take less than this: few, then.
const WORTH_A_LOOK: u64 = 1 << 20;

/// What was found is told again for so many times as long as finding it took, so that no more than a tenth of the
/// time is spent on looking, however often somebody asks; but not for longer than this.
const PAUSE: u32 = 10;
const LONGEST: Duration = Duration::from_secs(30);

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

/// A look at the layer of a container that runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    size: Size,
    /// When the container was started that was looked at.
    started: Option<Nanoseconds>,
    ended: Instant,
    took: Duration,
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

    /// What each of these containers uses of the disk, in their order, several looked at at a time; nothing for one
    /// that is gone or can't be looked at. It may wait.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn sizes_of(&self, records: &[Record]) -> Result<Vec<Option<Sizes>>> {
        let images = records.iter().map(|record| &*record.image).collect();
        let images = self.inner.engine.sizes_of_images(&images)?;
        let of = |record: &Record| {
            let container = self.registry().get(&record.id)?;
            let writable = self.size(&container).ok()?.written;
            let image = images.get(&*record.image).copied().unwrap_or_default();
            Some(Sizes {
                writable,
                root: image + writable,
            })
        };
        let sizes = parallel::map(records, |record| Ok::<_, Infallible>(of(record)));
        Ok(sizes.unwrap_or_else(|never| match never {}))
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
        let state = container.with(|record| record.state.clone());
        match state.size {
            Some(size) if !state.phase.has_process() => Ok(size),
            kept => {
                self.look_while_it_runs(container, state.started, kept.map_or(0, |size| size.empty))
            }
        }
    }

    /// What the layer of a container uses that runs since `started`: as of now, or of a while ago. Whoever asks during
    /// a look waits for it.
    fn look_while_it_runs(
        &self,
        container: &Container,
        started: Option<Nanoseconds>,
        empty: u64,
    ) -> Result<Size> {
        let mut last = held(&container.looked);
        if let Some(look) = *last
            && look.started == started
            && look.holds()
        {
            return Ok(look.size);
        }
        let began = Instant::now();
        let size = self.measure(&container.id, empty)?;
        *last = Some(Look {
            size,
            started,
            ended: Instant::now(),
            took: began.elapsed(),
        });
        Ok(size)
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
        match self.measure_at_rest(&container.id, kept.map_or(0, |size| size.empty)) {
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

    /// As [`measure`](Self::measure), what is to be kept: if the file system counts late, every file is looked at.
    fn measure_at_rest(&self, id: &str, empty: u64) -> Result<Size> {
        let rooms = self.inner.engine.rooms()?;
        let look = || -> std::result::Result<Option<Size>, crate::Error> {
            let id: room::RoomId = id.parse()?;
            if rooms.usage(&id)?.counted != Counted::Lately {
                return Ok(None);
            }
            let usage = rooms.on_disk(&id)?;
            Ok(Some(Size {
                written: usage.files.unwrap_or_default(),
                room: usage.bytes,
                empty,
            }))
        };
        match look()? {
            Some(size) => Ok(size),
            None => self.measure(id, empty),
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
        let image = container.with(|record| record.image.clone());
        let bytes = self.inner.engine.sizes_of_images(&[&*image].into())?;
        Ok(bytes.get(&*image).copied().unwrap_or_default())
    }
}

impl Look {
    fn holds(&self) -> bool {
        self.ended.elapsed() < LONGEST.min(self.took * PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_told_for_ten_times_as_long_as_looking_took() {
        for (took, since, holds) in [
            (1, 5, true),
            (1, 11, false),
            (1000, 9000, true),
            (1000, 10_100, false),
            (60_000, 29_000, true),
            (60_000, 31_000, false),
        ] {
            let Some(ended) = Instant::now().checked_sub(Duration::from_millis(since)) else {
                continue;
            };
            let look = Look {
                size: Size::default(),
                started: None,
                ended,
                took: Duration::from_millis(took),
            };
            assert_eq!(look.holds(), holds, "{took} ms, {since} ms ago");
        }
    }
}
