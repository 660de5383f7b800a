//! Changing the size of an image: larger while it is mounted, either way while nobody uses it.
//!
//! A resize that is cut short leaves the smaller of two sizes, whatever the record says, until it
//! is asked for again: the new limit is recorded before the image grows, and after it has shrunk.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use lapstrake_sys::ext4;
use rustix::io::Errno;

use super::record::Record;
use super::seats::Seats;
use super::superblock::{self, Superblock};
use super::{BLOCK, FILE, Reserve, attach, guard, make};
use crate::room::error::io;
use crate::room::{Error, Limit, Result, RoomId};

/// How long a device may take to go away after its unmount.
const PATIENCE: Duration = Duration::from_secs(2);
/// The size that gives so much to use is found by trying: what ext4 needs for itself comes in steps.
const ATTEMPTS: u64 = 6;

/// Changes the limit of the room `id` at `room`.
pub(crate) fn resize(seats: &Seats, room: &Path, id: &RoomId, limit: Limit) -> Result<()> {
    let Some(bytes) = limit.bytes else {
        return Err(Error::Fixed {
            id: id.clone(),
            kind: "an image file",
            limit,
        });
    };
    let record = Record::read(room)?;
    let change = Change {
        seats,
        room,
        image: room.join(FILE),
        id,
        limit,
        wanted: bytes.max(make::BYTES_MIN).div_ceil(BLOCK),
    };
    change.check_inodes(&record)?;
    if record.limit.bytes == Some(bytes) && record.usable() >= change.wanted {
        return Record { limit, ..record }.write(room);
    }
    if record.usable() < change.wanted {
        Record { limit, ..record }.write(room)?;
        return change.grow();
    }
    let used = super::usage(seats, room, id.as_str())?.bytes;
    if used > bytes {
        return Err(Error::UsesMore {
            id: id.clone(),
            used,
            limit: bytes,
        });
    }
    change.offline("shrink")
}

/// A resize under way.
struct Change<'a> {
    seats: &'a Seats,
    room: &'a Path,
    image: PathBuf,
    id: &'a RoomId,
    limit: Limit,
    /// Blocks that are to be usable.
    wanted: u64,
}

impl Change<'_> {
    /// How large the image must be for what is wanted, as far as one can tell; a little more with
    /// every attempt.
    fn target(&self, record: &Record, per_group: u64, attempt: u64) -> u64 {
        let usable = record.usable();
        // Two bitmaps and the inodes, in every group.
        let overhead = 2 + per_group / superblock::INODES_PER_BLOCK;
        let group = superblock::BLOCKS_PER_GROUP;
        let with_overhead = |blocks: u64| {
            let kept_back = superblock::kept_back(record.blocks + blocks)
                .saturating_sub(superblock::kept_back(record.blocks));
            blocks + kept_back + blocks * overhead / (group - overhead)
        };
        let more = 8 + attempt * attempt * 64;
        if usable < self.wanted {
            record.blocks + with_overhead(self.wanted - usable) + more
        } else {
            let less = with_overhead(usable - self.wanted);
            record.blocks - less.min(record.blocks / 2) + more
        }
    }

    fn superblock(&self) -> Result<Superblock> {
        let file = File::open(&self.image).map_err(io("open", &self.image))?;
        Superblock::read(&file, &self.image)
    }

    /// Inodes come with groups of blocks: a limit on them can only follow the size.
    fn check_inodes(&self, record: &Record) -> Result<()> {
        let per_group = self.superblock()?.inodes_per_group();
        let inodes = |blocks| superblock::inodes_for(blocks, per_group);
        let after = inodes(self.target(record, per_group, 0));
        let follows = after - superblock::RESERVED_INODES;
        let fits = match self.limit.inodes {
            None => record.limit.inodes.is_none(),
            Some(_) if after == inodes(record.blocks) => self.limit.inodes == record.limit.inodes,
            Some(inodes) => inodes <= follows && follows - inodes < per_group,
        };
        if fits {
            return Ok(());
        }
        Err(Error::InodesFixed {
            id: self.id.clone(),
            bytes: self.limit.bytes.unwrap_or(0),
            inodes: follows,
        })
    }

    /// Grows while mounted, if that is allowed; otherwise while nobody uses it.
    fn grow(&self) -> Result<()> {
        let per_group = self.superblock()?.inodes_per_group();
        let seat = super::mount(self.seats, self.room, self.id.as_str())?;
        let dir = File::open(&seat).map_err(io("open", &seat))?;
        for attempt in 0..ATTEMPTS {
            let record = Record::read(self.room)?;
            if record.usable() >= self.wanted {
                break;
            }
            let blocks = self.target(&record, per_group, attempt);
            self.lengthen(blocks, record.reserve)?;
            let device = attach::find(&self.image)?.ok_or_else(|| Error::Damaged {
                path: self.image.clone(),
                told: "it is mounted, but no loop device has it".to_owned(),
            })?;
            device.refresh_size().map_err(attach::named(&self.image))?;
            match ext4::grow(dir.as_fd(), blocks) {
                Ok(()) => {
                    super::refresh(self.room, &seat, &device)?;
                    // What ext4 keeps back follows its size when it is mounted, not when it grows.
                    let blocks = Record::read(self.room)?.blocks;
                    guard::keep_back(&seat, superblock::kept_back(blocks))?;
                }
                // Without CAP_SYS_RESOURCE.
                Err(Errno::PERM) => {
                    drop((dir, device));
                    return self.offline("grow");
                }
                Err(errno) => return Err(io("grow the file system at", seat)(errno)),
            }
        }
        Ok(())
    }

    fn lengthen(&self, blocks: u64, reserve: Reserve) -> Result<()> {
        let path = &self.image;
        let file = File::options().write(true).open(path);
        let file = file.map_err(io("open", path))?;
        let length = file.metadata().map_err(io("stat", path))?.len();
        if length < blocks * BLOCK {
            file.set_len(blocks * BLOCK).map_err(io("lengthen", path))?;
        }
        if reserve == Reserve::Whole {
            make::set_aside(&file, path, blocks)?;
        }
        Ok(())
    }

    /// Changes the size of an image that is unmounted for it, and mounts it again.
    fn offline(&self, action: &'static str) -> Result<()> {
        let name = self.id.as_str();
        let in_use = || Error::InUse {
            id: self.id.clone(),
            action,
        };
        let was_mounted = self.seats.is_taken(name)?;
        if !self.seats.clear_if_idle(name)? {
            return Err(in_use());
        }
        let result = match attach::take(&self.image, PATIENCE)? {
            // A container's root keeps the file system alive without any directory of ours.
            None => Err(in_use()),
            Some(file) => self.resize_file(&file),
        };
        if was_mounted {
            super::mount(self.seats, self.room, name)?;
        }
        result
    }

    fn resize_file(&self, file: &File) -> Result<()> {
        let path = &self.image;
        make::check(file, path)?;
        for attempt in 0..ATTEMPTS {
            let record = Record::read(self.room)?;
            let usable = record.usable();
            // A shrink leaves a little too much rather than too little.
            if usable >= self.wanted && (attempt > 0 || usable == self.wanted) {
                break;
            }
            let before = Superblock::read(file, path)?;
            let blocks = self.target(&record, before.inodes_per_group(), attempt);
            self.lengthen(blocks, record.reserve)?;
            let resize2fs = Command::new(make::tool("resize2fs")?)
                .arg(path)
                .arg(blocks.to_string())
                .stdin(make::lock_of(file, path)?)
                .output();
            make::succeeded("resize2fs", path, resize2fs)?;
            let after = Superblock::read(file, path)?;
            file.set_len(after.blocks * BLOCK)
                .map_err(io("shorten", path))?;
            // Nothing of the room's came or went, so the difference is the file system's own.
            let base = record.base + (after.blocks - after.free);
            let base = base.saturating_sub(before.blocks - before.free);
            let limit = self.limit;
            Record {
                limit,
                blocks: after.blocks,
                base,
                ..record
            }
            .write(self.room)?;
        }
        Ok(())
    }
}
