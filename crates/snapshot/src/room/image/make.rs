//! Making an image, and mending one that the kernel marked.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use lapstrake_sys::publish;
use rustix::fs::IFlags;

use super::record::Record;
use super::superblock::{BLOCKS_PER_GROUP, INODES_PER_BLOCK, Superblock, kept_back};
use super::{BLOCK, FILE, Reserve};
use crate::room::backing::program;
use crate::room::error::io;
use crate::room::{Error, Limit, Result};

/// Features spelled out, so that images do not depend on the host's `mke2fs.conf`, and every kernel
/// that we support mounts them.
const FEATURES: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,\
                        flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum";

/// The least that a room in an image can be limited to: mke2fs makes no journal in less.
pub(super) const BYTES_MIN: u64 = 8 << 20;
/// What an image without a limit on bytes is made for: ext4 grows no further with these features.
const BYTES_MAX: u64 = 1 << 44;
/// One inode for so many bytes, where inodes are not limited. As ext4 does by default.
const BYTES_PER_INODE: u64 = 16384;
/// The most: 16 inodes for a group of 128 MiB.
const BYTES_PER_INODE_MAX: u64 = 8 << 20;
/// Blocks of a new file system that go when `lost+found` does.
const LOST_AND_FOUND: u64 = 4;
/// Inodes in use before there is a room: those that ext4 keeps for itself, but the root directory.
const INODES_BEFORE: u64 = super::superblock::RESERVED_INODES;

/// Makes the image of a room in the empty directory `room`, and syncs it.
pub(crate) fn create(room: &Path, limit: Limit, reserve: Reserve) -> Result<()> {
    let wanted = match limit.bytes {
        Some(bytes) if bytes < BYTES_MIN => {
            return Err(Error::TooSmall {
                bytes,
                min: BYTES_MIN,
            });
        }
        Some(bytes) => bytes.min(BYTES_MAX).div_ceil(BLOCK),
        None => {
            let below = rustix::fs::statfs(room).map_err(io("ask for the free space of", room))?;
            let block = u64::try_from(below.f_bsize).unwrap_or(BLOCK);
            let most = below.f_blocks.saturating_mul(block).min(BYTES_MAX);
            // A larger image would have more inodes than that, for every group has some.
            let inodes = limit.inodes.unwrap_or(u64::MAX);
            let most = most.min(inodes.saturating_mul(BYTES_PER_INODE_MAX));
            most.max(BYTES_MIN) / BLOCK
        }
    };
    let path = room.join(FILE);
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .map_err(io("create", &path))?;
    // On btrfs, a file that is written in place everywhere must not be copied on write. Elsewhere
    // there is no such flag.
    let _ = rustix::fs::ioctl_setflags(&file, IFlags::NOCOW);
    let superblock = format(&file, &path, wanted, limit.inodes)?;
    if reserve == Reserve::Whole {
        set_aside(&file, &path, superblock.blocks)?;
    }
    publish::sync_file(&file).map_err(io("sync", &path))?;
    let record = Record {
        limit,
        blocks: superblock.blocks,
        // The root directory is the room's.
        base: superblock.blocks - superblock.free - LOST_AND_FOUND - 1,
        reserve,
    };
    record.write(room)
}

/// Makes a file system with `wanted` blocks to use. What it needs beside them is estimated; should
/// that have been too little, it is made again.
fn format(file: &File, path: &Path, wanted: u64, inodes: Option<u64>) -> Result<Superblock> {
    let journal = journal_mib(wanted * BLOCK);
    let inodes = inodes.map_or(wanted * BLOCK / BYTES_PER_INODE, |most| {
        most + INODES_BEFORE
    });
    let inodes = inodes.max(16);
    let mut blocks = estimate(wanted, inodes, journal);
    loop {
        file.set_len(0).map_err(io("empty", path))?;
        file.set_len(blocks * BLOCK).map_err(io("lengthen", path))?;
        let output = Command::new(tool("mke2fs")?)
            .env("MKE2FS_CONFIG", "/dev/null")
            .args(["-q", "-F", "-b", "4096", "-I", "256", "-m", "0"])
            .args(["-O", FEATURES])
            .args(["-J", &format!("size={journal}")])
            .args(["-N", &inodes.to_string()])
            .arg(path)
            .arg(blocks.to_string())
            .output();
        succeeded("mke2fs", path, output)?;
        let made = Superblock::read(file, path)?;
        if !made.has_journal {
            return Err(Error::Program {
                program: "mke2fs",
                path: path.to_owned(),
                told: "it made no journal".to_owned(),
            });
        }
        let usable = made.free + LOST_AND_FOUND + 1 - kept_back(made.blocks).min(made.free);
        if usable >= wanted {
            file.set_len(made.blocks * BLOCK)
                .map_err(io("shorten", path))?;
            return Ok(made);
        }
        let missing = wanted - usable;
        // The overhead has an overhead of its own.
        blocks += missing + missing / 32 + 16;
    }
}

/// Blocks of a file system that has `wanted` ones to use, as mke2fs lays it out.
fn estimate(wanted: u64, inodes: u64, journal_mib: u64) -> u64 {
    let journal = journal_mib * (1 << 20) / BLOCK;
    let mut blocks = wanted;
    // What it needs for itself depends on its size, but hardly.
    for _ in 0..4 {
        let groups = blocks.div_ceil(BLOCKS_PER_GROUP);
        // Two bitmaps and the inodes.
        let each = 2 + inodes.div_ceil(groups).div_ceil(INODES_PER_BLOCK);
        // A superblock, and descriptors of 64 bytes for 1024 times as many groups, 1024 blocks at most.
        let copy = 1 + (groups * 16).min(1024 + groups.div_ceil(64));
        let own = journal + groups * each + copies(groups) * copy + 16;
        blocks = wanted + own + kept_back(blocks);
    }
    blocks
}

/// How many groups have a copy of the superblock: 0, 1, and the powers of 3, 5 and 7.
fn copies(groups: u64) -> u64 {
    let powers = |base: u64| {
        let powers = std::iter::successors(Some(base), |power| power.checked_mul(base));
        u64::try_from(powers.take_while(|power| *power < groups).count()).unwrap_or(0)
    };
    groups.min(2) + powers(3) + powers(5) + powers(7)
}

/// Large enough for what is written at a time, small enough to be paid for by every room: the
/// journal is the one part whose blocks are taken from the start, so that what it promises can be
/// kept when the file system below is full.
fn journal_mib(bytes: u64) -> u64 {
    match bytes >> 30 {
        0 => 4,
        1..64 => 8,
        _ => 16,
    }
}

/// Takes all blocks of the image from the file system below.
pub(super) fn set_aside(file: &File, path: &Path, blocks: u64) -> Result<()> {
    let flags = rustix::fs::FallocateFlags::empty();
    rustix::fs::fallocate(file, flags, 0, blocks * BLOCK).map_err(io("set space aside for", path))
}

/// Mends an image that the kernel marked as wrong. The journal makes that rare: a disk that failed,
/// or one below that ran full.
pub(super) fn mend(file: &File, path: &Path) -> Result<()> {
    if Superblock::read(file, path)?.has_errors {
        check(file, path)?;
    }
    Ok(())
}

/// Checks an image that nobody has mounted, and mends it: first only what needs no judgement; then,
/// since nobody is there to judge, all. What loses its name is then in `lost+found`.
pub(super) fn check(file: &File, path: &Path) -> Result<()> {
    let e2fsck = tool("e2fsck")?;
    let mut told_last = String::new();
    for answers in ["-p", "-y"] {
        let output = Command::new(&e2fsck)
            .args(["-f", answers])
            .arg(path)
            .stdin(lock_of(file, path)?)
            .output();
        let output = output.map_err(io("run e2fsck on", path))?;
        // Clean, or mended.
        if matches!(output.status.code(), Some(0..=3)) {
            return Ok(());
        }
        told_last = told(&output);
    }
    Err(Error::Damaged {
        path: path.to_owned(),
        told: told_last,
    })
}

/// The lock on an image, for a program that works on it: it must not end before the program does, even
/// if we are killed. Programs read nothing from it.
pub(super) fn lock_of(file: &File, path: &Path) -> Result<Stdio> {
    let file = file.try_clone().map_err(io("hold the lock of", path))?;
    Ok(file.into())
}

pub(super) fn tool(name: &'static str) -> Result<std::path::PathBuf> {
    program(name).ok_or(Error::NoProgram { program: name })
}

pub(super) fn succeeded(
    program: &'static str,
    path: &Path,
    output: std::io::Result<Output>,
) -> Result<()> {
    let output = output.map_err(io("run a program on", path))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Program {
        program,
        path: path.to_owned(),
        told: told(&output),
    })
}

/// The last lines that a program wrote.
fn told(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines = lines.collect::<Vec<_>>();
    lines[lines.len().saturating_sub(4)..].join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_estimate_is_enough_and_not_much_more() {
        if program("mke2fs").is_none() {
            eprintln!("SKIPPED the_first_estimate_is_enough_and_not_much_more: needs mke2fs");
            return;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("image");
        let options = || File::options().read(true).write(true).create(true).clone();
        for (mib, inodes) in [
            (8, None),
            (16, None),
            (127, None),
            (128, Some(500)),
            (700, Some(100_000)),
            (1024, None),
            (10_240, None),
            (10_240, Some(2000)),
            (102_400, None),
        ] {
            let wanted = mib << 20 >> 12;
            let file = options().truncate(true).open(&path).expect("a file");
            let made = format(&file, &path, wanted, inodes).expect("a file system");
            let inodes = inodes.map_or(wanted / 4, |most| most + INODES_BEFORE);
            let estimated = estimate(wanted, inodes.max(16), journal_mib(wanted * BLOCK));
            // mke2fs may leave out a last group that is too small.
            assert!(
                made.blocks <= estimated,
                "{mib} MiB: {estimated} were too few, {} are needed",
                made.blocks
            );
            let usable = made.free + LOST_AND_FOUND + 1 - kept_back(made.blocks);
            let excess = usable - wanted;
            assert!(
                excess <= 64 + wanted / 200,
                "{mib} MiB: {excess} blocks more"
            );
        }
    }
}
