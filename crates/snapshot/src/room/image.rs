//! Rooms that are file systems of their own: ext4 in a sparse file, mounted through a loop device.
//!
//! ```text
//! <room>/room.ext4    the file system; as large as what it may hold, and what it needs for itself
//! <room>/record       its limit, and how much of it is not the room's (see `record`)
//! <run>/<id>/         where it is mounted: the room's directory
//! ```
//!
//! The file takes what is used, not what is allowed: the file system gives back what becomes free
//! (`discard`), and [`trim`] whatever that missed. It has a journal and waits for the disk like any
//! other, so a power cut leaves it as it leaves a directory on the file system below.
//!
//! One file must never be two devices. Whoever makes a device of it holds an exclusive lock on the
//! file, through the descriptor that the device keeps: the lock lives exactly as long as the
//! device, across processes and mount namespaces. Who finds it locked looks for the device.
//!
//! Rooms may be promised more than the file system below has; see `guard`. With [`Reserve::Whole`]
//! that cannot happen.

mod attach;
mod guard;
mod make;
mod record;
mod resize;
mod seats;
mod superblock;

pub(super) use guard::{Place, pass};
pub(super) use make::create;
pub(super) use resize::resize;
pub(super) use seats::Seats;

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use lapstrake_sys::ext4;
use lapstrake_sys::loopdev::LoopDevice;
use lapstrake_sys::mount::{Context, Restrictions};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::error::io;
use super::{Counted, Error, Limit, Result, Usage};
use attach::Attached;
use record::Record;
use superblock::Superblock;

/// Whether space is set aside for what a room may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserve {
    /// No: rooms may be promised more than there is.
    Nothing,
    /// All of it, when the room is made. Such a room gives nothing back.
    Whole,
}

/// Block size of every image.
const BLOCK: u64 = 4096;
const FILE: &str = "room.ext4";
/// Blocks that count as used, but are the file system's: the list of blocks kept for growing.
const OWN_BLOCKS: u64 = 1;

/// Whether the room at `path` is an image.
pub(super) fn is_one(path: &Path) -> bool {
    path.join(FILE).exists()
}

/// Whether the room at `path` is an image with this limit.
pub(super) fn was_made_for(path: &Path, limit: Limit, reserve: Reserve) -> Result<bool> {
    let record = Record::read(path)?;
    Ok(record.limit == limit && record.reserve == reserve)
}

/// Mounts the image of `room` at its seat, unless it is mounted. Returns the room's directory.
pub(super) fn mount(seats: &Seats, room: &Path, name: &str) -> Result<PathBuf> {
    let seat = seats.make(name)?;
    if seats.is_taken(name)? {
        // One that can be written no more is mended by mounting it again, if nobody looks into it.
        if !is_dead(&seat)? || !seats.clear_if_idle(name)? {
            return Ok(seat);
        }
        seats.make(name)?;
    }
    let image = room.join(FILE);
    let record = Record::read(room)?;
    let device = match attach::attach(&image)? {
        Attached::Ours(file) => {
            make::mend(&file, &image)?;
            attach::device(&file, &image)?
        }
        Attached::Found(device) => device,
    };
    let named = |source| Error::Mount {
        path: seat.clone(),
        source,
    };
    let context = Context::open("ext4").map_err(named)?;
    context
        .string("source", device.path().as_os_str().as_encoded_bytes())
        .map_err(named)?;
    context.string("errors", "remount-ro").map_err(named)?;
    // Tables of a new file are zero already.
    context.flag("noinit_itable").map_err(named)?;
    if record.reserve == Reserve::Nothing {
        context.flag("discard").map_err(named)?;
    }
    let restrictions = Restrictions {
        read_only: false,
        inert: false,
    };
    let detached = context.create(restrictions).map_err(named)?;
    detached.attach_at(&seat).map_err(named)?;
    // Not ours to show; when e2fsck found something, it stays.
    drop(std::fs::remove_dir(seat.join("lost+found")));
    refresh(room, &seat, &device)?;
    Ok(seat)
}

/// Whether the file system at `seat` gave up: its journal could not be written.
fn is_dead(seat: &Path) -> Result<bool> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    match rustix::fs::open(seat, flags, Mode::RUSR) {
        Err(Errno::ROFS | Errno::IO | Errno::SHUTDOWN) => Ok(true),
        // A full one is alive.
        Ok(_) | Err(Errno::NOSPC) => Ok(false),
        Err(errno) => Err(io("make a file in", seat)(errno)),
    }
}

/// Brings the record up to the size that the file system has, which a resize that was cut short may
/// have changed.
fn refresh(room: &Path, seat: &Path, device: &LoopDevice) -> Result<()> {
    // Through the device: the file may be behind what the file system holds in memory.
    let file = File::open(device.path()).map_err(io("open", device.path()))?;
    let blocks = Superblock::read(&file, device.path())?.blocks;
    let statfs = rustix::fs::statfs(seat).map_err(io("ask for the size of", seat))?;
    let old = Record::read(room)?;
    let base = blocks.saturating_sub(statfs.f_blocks) + OWN_BLOCKS;
    let new = Record {
        blocks,
        base,
        ..old
    };
    if new == old { Ok(()) } else { new.write(room) }
}

/// What the room uses: by its mounted file system, or by what that wrote when it was unmounted.
pub(super) fn usage(seats: &Seats, room: &Path, name: &str) -> Result<Usage> {
    let record = Record::read(room)?;
    let (used, inodes_used, inodes) = if seats.is_taken(name)? {
        let seat = seats.path(name);
        let statfs = rustix::fs::statfs(&seat).map_err(io("ask for the free space of", &seat))?;
        let used = statfs.f_blocks - statfs.f_bfree;
        let inodes_used = statfs.f_files - statfs.f_ffree;
        (used - OWN_BLOCKS.min(used), inodes_used, statfs.f_files)
    } else {
        let path = room.join(FILE);
        let file = File::open(&path).map_err(io("open", &path))?;
        let superblock = Superblock::read(&file, &path)?;
        let used = superblock.blocks.saturating_sub(superblock.free);
        let used = used.saturating_sub(record.base);
        (used, superblock.inodes_used(), superblock.inodes)
    };
    Ok(Usage {
        bytes: used * BLOCK,
        inodes: Some(inodes_used.saturating_sub(superblock::RESERVED_INODES)),
        files: None,
        limit: Limit {
            bytes: record.limit.bytes,
            // As many as came of it: inodes come in steps.
            inodes: record
                .limit
                .inodes
                .map(|_| inodes.saturating_sub(superblock::RESERVED_INODES)),
        },
        counted: Counted::Always,
    })
}

/// Gives back to the file system below what is free in the room. Returns the bytes looked through.
pub(super) fn trim(seats: &Seats, room: &Path, name: &str) -> Result<u64> {
    if Record::read(room)?.reserve == Reserve::Whole {
        return Ok(0);
    }
    let seat = mount(seats, room, name)?;
    let dir = File::open(&seat).map_err(io("open", &seat))?;
    ext4::trim(dir.as_fd()).map_err(io("trim", &seat))
}
