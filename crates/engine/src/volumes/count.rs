//! What volumes use of the disk.
//!
//! Where the file system counts, it is asked. Elsewhere every file is looked at, but once: a size that was found
//! while nobody had the volume attached is kept until somebody attaches it. Volumes are looked at in the background
//! when their last user went and nobody came back for a while, so that whoever asks finds a number.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use lapstrake_snapshot::room::{self, Usage};
use lapstrake_store::Commit;

use super::error::Result;
use super::options::Options;
use super::record::Counted;
use super::table::Volume;
use super::{Inner, VolumeDetails, Volumes, held};

/// A volume and what it uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeSize {
    /// The volume.
    pub volume: VolumeDetails,
    /// Bytes on disk, directories included.
    pub bytes: u64,
    /// Inodes, where they are counted.
    pub inodes: Option<u64>,
    /// Bytes that it may use, if it is limited.
    pub limit: Option<u64>,
}

/// How long a volume must be at rest before it is looked at.
const REST: Duration = Duration::from_secs(2);

/// How long closing waits for a volume that is being looked at.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which volumes are to be looked at, and when.
#[derive(Debug, Default)]
pub(super) struct Counter {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    due: BTreeMap<String, Instant>,
    /// Whether there is a thread.
    running: bool,
}

impl Counter {
    pub(super) fn forget(&self, name: &str) {
        held(&self.queue).due.remove(name);
    }
}

impl Volumes {
    /// What each volume uses that is kept here, by name. Volumes whose options name a file system are not: they
    /// may be anywhere, and need not answer. One that can't be looked at is left out.
    pub fn sizes(&self) -> Vec<VolumeSize> {
        let all = self.inner.table.all();
        let size = |volume: &Arc<Volume>| Ok::<_, Infallible>(self.inner.size(volume).ok());
        let sizes = lapstrake_sys::parallel::map(&all, size);
        let sizes = sizes.unwrap_or_else(|never| match never {});
        sizes.into_iter().flatten().flatten().collect()
    }

    /// What a volume uses; nothing if it is not kept here or not there.
    ///
    /// # Errors
    /// If it can't be looked at.
    pub fn size(&self, name: &str) -> Result<Option<VolumeSize>> {
        match self.inner.table.get(name) {
            Some(volume) => self.inner.size(&volume),
            None => Ok(None),
        }
    }

    /// Waits until every volume at rest has been looked at.
    pub fn counted(&self) {
        let counter = &self.inner.counter;
        let queue = held(&counter.queue);
        drop(counter.changed.wait_while(queue, |queue| queue.running));
    }
}

impl Inner {
    fn size(&self, volume: &Volume) -> Result<Option<VolumeSize>> {
        let Some(record) = volume.record().clone() else {
            return Ok(None);
        };
        let details = self.details(&volume.name, &record);
        let Options::Room(limit) = record.parsed(&volume.name)? else {
            return Ok(None);
        };
        let size = |bytes, inodes| VolumeSize {
            volume: details,
            bytes,
            inodes,
            limit: limit.bytes,
        };
        if let Some(counted) = record
            .counted
            .filter(|counted| counted.boot_id == self.boot_id)
        {
            return Ok(Some(size(counted.bytes, Some(counted.inodes))));
        }
        match self.count(volume) {
            Ok(usage) => Ok(Some(size(usage.bytes, usage.inodes))),
            // Removed meanwhile, or not made yet.
            Err(super::Error::Room(room::Error::Missing(_))) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks or looks, and keeps what was found if nobody used the volume meanwhile.
    fn count(&self, volume: &Volume) -> Result<Usage> {
        // Somebody who mounts or makes it uses it.
        let at_rest = |volume: &Volume| {
            let held = volume.try_change()?;
            held.attached.is_empty().then_some(held.generation)
        };
        let before = at_rest(volume);
        let room = Self::room(&volume.name)?;
        let mut usage = self.rooms.usage(&room)?;
        match usage.counted {
            room::Counted::Always => return Ok(usage),
            room::Counted::Lately if before.is_none() => return Ok(usage),
            // What is kept must be so.
            room::Counted::Lately => usage = self.rooms.on_disk(&room)?,
            room::Counted::Walked => {}
        }
        if let Some(held) = volume.try_change()
            && before.is_some()
            && before == Some(held.generation)
            && held.attached.is_empty()
        {
            let counted = Counted {
                bytes: usage.bytes,
                inodes: usage.inodes.unwrap_or(0),
                boot_id: self.boot_id.clone(),
            };
            self.change(volume, Commit::Lazy, |record| {
                record.counted = Some(counted)
            })?;
        }
        Ok(usage)
    }

    /// Has a volume looked at when it was at rest for a while.
    pub(super) fn count_later(self: &Arc<Self>, name: &str) {
        let mut queue = held(&self.counter.queue);
        queue.due.insert(name.to_owned(), Instant::now() + REST);
        if queue.running {
            return;
        }
        let (counter, volumes) = (Arc::clone(&self.counter), Arc::downgrade(self));
        let thread = std::thread::Builder::new().name("volume-counter".to_owned());
        // Without a thread, whoever asks for sizes looks.
        queue.running = thread.spawn(move || counter.run(&volumes)).is_ok();
    }
}

impl Counter {
    /// Looks at volumes when they are due, until there are none. Between them it holds nothing, so that the
    /// store can be closed.
    fn run(&self, volumes: &Weak<Inner>) {
        let mut queue = held(&self.queue);
        loop {
            let next = queue.due.iter().min_by_key(|(_, due)| **due);
            let Some((name, due)) = next.map(|(name, due)| (name.clone(), *due)) else {
                break;
            };
            let wait = due.saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                let woken = self.changed.wait_timeout(queue, wait);
                queue = woken.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            queue.due.remove(&name);
            drop(queue);
            let inner = volumes.upgrade();
            if let Some(inner) = &inner
                && let Some(volume) = inner.table.get(&name)
            {
                // Whoever asks for its size learns why it can't be had.
                drop(inner.count(&volume));
            }
            drop(inner);
            queue = held(&self.queue);
        }
        queue.running = false;
        self.changed.notify_all();
    }

    /// Ends the thread. It is waited for, but not for long: it may have a million files to look at.
    pub(super) fn close(&self) {
        let mut queue = held(&self.queue);
        queue.due.clear();
        self.changed.notify_all();
        let closing = self
            .changed
            .wait_timeout_while(queue, PATIENCE, |queue| queue.running);
        drop(closing);
    }
}
