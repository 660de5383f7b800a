//! Making an image, and mending one that the kernel marked.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Output};

use lapstrake_sys::publish;
use rustix::fs::IFlags;

use super::record::Record;
use super::superblock::{Superblock, kept_back};
use super::{BLOCK, FILE, Reserve};
use crate::room::backing::program;
use crate::room::error::io;
use crate::room::{Error, Limit, Result};

/// Features spelled out, so that images do not depend on the host's `mke2fs.conf`, and every kernel
/// that we support mounts them.
const FEATURES: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,\
                        flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum";

/// The least that a room in an image can be limited to.
pub(super) const BYTES_MIN: u64 = 1 << 20;
/// What an image without a limit on bytes is made for: ext4 grows no further with these features.
const BYTES_MAX: u64 = 1 << 44;
/// One inode for so many bytes, where inodes are not limited. As ext4 does by default.
const BYTES_PER_INODE: u64 = 16384;
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
            below.f_blocks.saturating_mul(block).min(BYTES_MAX) / BLOCK
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

/// Makes a file system with `wanted` blocks to use. What it needs beside them is known when it is
/// made, so it is made again if the first try was too small; that takes some milliseconds.
fn format(file: &File, path: &Path, wanted: u64, inodes: Option<u64>) -> Result<Superblock> {
    let journal = journal_mib(wanted * BLOCK);
    let mut blocks = wanted + journal * (1 << 20) / BLOCK + 64;
    loop {
        file.set_len(0).map_err(io("empty", path))?;
        file.set_len(blocks * BLOCK).map_err(io("lengthen", path))?;
        let inodes = inodes.map_or(wanted * BLOCK / BYTES_PER_INODE, |most| {
            most + INODES_BEFORE
        });
        let mke2fs = tool("mke2fs")?;
        let output = Command::new(mke2fs)
            .env("MKE2FS_CONFIG", "/dev/null")
            .args(["-q", "-F", "-b", "4096", "-I", "256", "-m", "0"])
            .args(["-O", FEATURES])
            .args(["-J", &format!("size={journal}")])
            .args(["-N", &inodes.max(16).to_string()])
            .arg(path)
            .arg(blocks.to_string())
            .output();
        succeeded("mke2fs", path, output)?;
        let made = Superblock::read(file, path)?;
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
        check(path)?;
    }
    Ok(())
}

/// Checks an image that nobody has mounted, and mends it: first only what needs no judgement; then,
/// since nobody is there to judge, all. What loses its name is then in `lost+found`.
pub(super) fn check(path: &Path) -> Result<()> {
    let e2fsck = tool("e2fsck")?;
    let mut told_last = String::new();
    for answers in ["-p", "-y"] {
        let output = Command::new(&e2fsck)
            .args(["-f", answers])
            .arg(path)
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
