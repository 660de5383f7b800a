//! Owners, modes, extended attributes and times.

use std::os::fd::BorrowedFd;

use lapstrake_sys::xattr;
use lapstrake_tree::model::{Metadata, Timestamp, Xattrs};
use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::{Failed, Marks, Why, beneath, failed};

/// What happens where a file system has no extended attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The layer is refused.
    Refuse,
    /// They are left out, and what needs them does not work.
    LeaveOut,
}

/// Whether a directory was there before this layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Was {
    New,
    There,
}

/// How attributes are given.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attributes {
    pub(crate) missing: Missing,
}

type Result<T> = std::result::Result<T, Failed>;

impl Attributes {
    /// Of an open regular file.
    pub(crate) fn of_file(self, file: BorrowedFd<'_>, metadata: &Metadata) -> Result<()> {
        owner_and_mode(file, metadata)?;
        for (name, value) in &metadata.xattrs {
            self.set(name, || {
                rustix::fs::fsetxattr(file, &**name, value, XattrFlags::empty())
            })?;
        }
        rustix::fs::futimens(file, &times(metadata.mtime)).map_err(failed("set the times of"))
    }

    /// Of an open directory.
    pub(crate) fn of_directory(
        self,
        dir: BorrowedFd<'_>,
        metadata: &Metadata,
        was: Was,
        marks: Marks,
    ) -> Result<()> {
        if was == Was::There {
            remove_others(dir, &metadata.xattrs)?;
        }
        owner_and_mode(dir, metadata)?;
        for (name, value) in &metadata.xattrs {
            // What overlay reads was obeyed already.
            if marks == Marks::Obeyed && lapstrake_tree::model::steers_overlay(name) {
                continue;
            }
            self.set(name, || {
                rustix::fs::fsetxattr(dir, &**name, value, XattrFlags::empty())
            })?;
        }
        rustix::fs::futimens(dir, &times(metadata.mtime)).map_err(failed("set the times of"))
    }

    /// Of a name that cannot be opened: a link, a device, a pipe.
    pub(crate) fn of_name(
        self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        is_link: bool,
        metadata: &Metadata,
    ) -> Result<()> {
        let (uid, gid) = owner(metadata);
        rustix::fs::chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(failed("change the owner of"))?;
        if !is_link {
            // It is no link: this process made it, in a directory that nobody else enters.
            rustix::fs::chmodat(parent, name, mode(metadata), AtFlags::empty())
                .map_err(failed("change the mode of"))?;
        }
        let path = beneath(parent, name);
        for (key, value) in &metadata.xattrs {
            // Linux knows `user.` attributes of files and directories only: nobody could see it.
            if key.starts_with(b"user.") {
                continue;
            }
            self.set(key, || {
                rustix::fs::lsetxattr(&path, &**key, value, XattrFlags::empty())
            })?;
        }
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(parent, name, &times(metadata.mtime), flags)
            .map_err(failed("set the times of"))
    }

    fn set(self, name: &[u8], set: impl FnOnce() -> std::result::Result<(), Errno>) -> Result<()> {
        match (set(), self.missing) {
            (Ok(()), _) | (Err(Errno::OPNOTSUPP), Missing::LeaveOut) => Ok(()),
            (Err(Errno::OPNOTSUPP), Missing::Refuse) => Err(Failed {
                action: "set an attribute of",
                why: Why::Unsupported(if name.starts_with(b"system.posix_acl") {
                    "it has no access control lists; mount it with them (acl) or use another one"
                } else {
                    "it has no extended attributes of this kind; use ext4, xfs or btrfs, or the erofs driver"
                }),
            }),
            // ext4 keeps all attributes of a file in one block.
            (Err(Errno::NOSPC | Errno::RANGE | Errno::TOOBIG), _) => Err(Failed {
                action: "set an attribute of",
                why: Why::Unsupported(
                    "its extended attributes are too large for this file system, or the disk is full; the erofs driver has no such limit",
                ),
            }),
            (Err(errno), _) => Err(failed("set an attribute of")(errno)),
        }
    }
}

/// Removes those attributes of a directory that the layer does not give it.
fn remove_others(dir: BorrowedFd<'_>, given: &Xattrs) -> Result<()> {
    let path = beneath(dir, b".");
    let names = match xattr::list(&path) {
        Err(Errno::OPNOTSUPP) => return Ok(()),
        names => names.map_err(failed("list the attributes of"))?,
    };
    for name in names {
        // What the security module keeps is not the layer's.
        if given.contains_key(&name) || *name == *b"security.selinux" {
            continue;
        }
        rustix::fs::fremovexattr(dir, &*name).map_err(failed("remove an attribute of"))?;
    }
    Ok(())
}

fn owner_and_mode(file: BorrowedFd<'_>, metadata: &Metadata) -> Result<()> {
    let (uid, gid) = owner(metadata);
    rustix::fs::fchown(file, uid, gid).map_err(failed("change the owner of"))?;
    rustix::fs::fchmod(file, mode(metadata)).map_err(failed("change the mode of"))
}

fn owner(metadata: &Metadata) -> (Option<Uid>, Option<Gid>) {
    (
        Some(Uid::from_raw(metadata.uid)),
        Some(Gid::from_raw(metadata.gid)),
    )
}

fn mode(metadata: &Metadata) -> Mode {
    Mode::from_raw_mode(metadata.mode.into())
}

fn times(time: Timestamp) -> Timestamps {
    let time = Timespec {
        tv_sec: time.seconds,
        tv_nsec: time.nanoseconds.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}
