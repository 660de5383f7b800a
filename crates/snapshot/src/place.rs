//! A place: the directory in which one writable layer is kept.
//!
//! ```text
//! <place>/kind    one line: how the layer is kept. Written last: without it nothing was made.
//! <place>/upper/  <place>/work/    overlay's directories          (overlay, overlay-metacopy)
//! <place>/new     there until the first mount has given `upper` the attributes of the stack's root,
//!                 for overlay shows those of the topmost directory
//! <place>/root/                    a copy of the whole root       (whole)
//! ```
//!
//! The kind is the place's, not the driver's: every driver that mounts by overlay reads what
//! another one wrote, for their layers show the same files. It also says whether the layer was
//! mounted with `metacopy`, which it must then always be.

use std::fs::{DirBuilder, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use lapstrake_sys::{publish, xattr};
use rustix::fs::{AtFlags, CWD, Gid, Mode, Timespec, Uid, XattrFlags};

use crate::error::{io, std_io};
use crate::{CopyUp, Error, OpenDir, Result, Upper, WritableTree};

/// How a writable layer is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// As overlay's upper directory.
    Upper(CopyUp),
    /// As a whole root.
    Whole,
}

impl Place {
    fn word(self) -> &'static str {
        match self {
            Self::Upper(CopyUp::Whole) => "overlay",
            Self::Upper(CopyUp::AttributesFirst) => "overlay-metacopy",
            Self::Whole => "whole",
        }
    }

    /// What is kept at `place`; `None` if nothing is, or its creation was not finished.
    pub fn at(place: &Path) -> Result<Option<Self>> {
        let path = place.join("kind");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(std_io("read", path)(error)),
        };
        let all = [
            Self::Upper(CopyUp::Whole),
            Self::Upper(CopyUp::AttributesFirst),
            Self::Whole,
        ];
        match all.into_iter().find(|kind| kind.word() == text.trim_end()) {
            Some(kind) => Ok(Some(kind)),
            None => Err(Error::UnknownPlace {
                place: place.to_owned(),
                kind: text.trim_end().to_owned(),
            }),
        }
    }

    /// Makes an empty layer for overlay at `place`, unless there is one. It keeps the kind that it has.
    pub fn create_upper(place: &Path, copy_up: CopyUp) -> Result<()> {
        match Self::at(place)? {
            Some(Self::Upper(_)) => return Ok(()),
            Some(Self::Whole) => return Err(Error::wrong_place(place, Self::Whole)),
            None => {}
        }
        make_dir(&place.join("upper"), 0o755)?;
        make_dir(&place.join("work"), 0o700)?;
        let new = place.join("new");
        File::create(&new).map_err(std_io("create", &new))?;
        Self::Upper(copy_up).finish(place)
    }

    /// Says that what is at `place` is complete.
    pub fn finish(self, place: &Path) -> Result<()> {
        let (new, path) = (place.join("kind.new"), place.join("kind"));
        let mut file = File::create(&new).map_err(std_io("create", &new))?;
        file.write_all(format!("{}\n", self.word()).as_bytes())
            .map_err(std_io("write", &new))?;
        publish::sync_file(&file).map_err(std_io("sync", &new))?;
        publish::replace(&new, &path).map_err(std_io("rename to", &path))?;
        publish::sync_dir(place).map_err(std_io("sync", place))
    }

    /// Whether no root was ever mounted on what is at `place`, so that nothing can have changed.
    pub fn is_untouched(place: &Path) -> bool {
        place.join("new").exists()
    }

    /// The directories of the overlay layer at `place`.
    pub fn open_upper(place: &Path) -> Result<Upper> {
        match Self::at(place)? {
            Some(Self::Upper(copy_up)) => Ok(Upper {
                upper: OpenDir::open(&place.join("upper"))?,
                work: OpenDir::open(&place.join("work"))?,
                copy_up,
                new: Some(place.join("new")).filter(|new| new.exists()),
            }),
            Some(Self::Whole) => Err(Error::wrong_place(place, Self::Whole)),
            None => Err(Error::no_place(place)),
        }
    }

    /// The directory of the whole root at `place`.
    pub fn whole_root(place: &Path) -> Result<PathBuf> {
        match Self::at(place)? {
            Some(Self::Whole) => Ok(place.join("root")),
            Some(other) => Err(Error::wrong_place(place, other)),
            None => Err(Error::no_place(place)),
        }
    }

    /// What is to be read at `place`, whoever made it.
    pub fn tree(place: &Path) -> Result<WritableTree> {
        match Self::at(place)? {
            Some(Self::Upper(copy_up)) => Ok(WritableTree::Upper {
                dir: place.join("upper"),
                copy_up,
            }),
            Some(Self::Whole) => Ok(WritableTree::Whole {
                dir: place.join("root"),
            }),
            None => Err(Error::no_place(place)),
        }
    }
}

fn make_dir(path: &Path, mode: u32) -> Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(std_io("create directory", path)(error)),
    }
}

/// Gives a new upper directory the attributes of the root below it: overlay shows the upper one's.
pub(crate) fn take_root(upper: &Upper, lower: &OpenDir) -> Result<()> {
    let Some(new) = &upper.new else {
        return Ok(());
    };
    let to = upper.upper.path();
    let stat = rustix::fs::fstat(lower).map_err(io("stat", lower.path()))?;
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::chown(to, Some(uid), Some(gid)).map_err(io("change the owner of", to))?;
    rustix::fs::chmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))
        .map_err(io("change the mode of", to))?;
    let from = lower.within();
    for name in xattr::list(&from).map_err(io("list the attributes of", lower.path()))? {
        // That all below a layer's root is hidden is said of that layer, not of this one.
        if name.starts_with(b"trusted.overlay.") {
            continue;
        }
        let value = xattr::get(&from, &name).map_err(io("read an attribute of", lower.path()))?;
        if let Some(value) = value {
            rustix::fs::setxattr(to, &*name, &value, XattrFlags::empty())
                .map_err(io("set an attribute of", to))?;
        }
    }
    let times = rustix::fs::Timestamps {
        last_access: Timespec {
            tv_sec: stat.st_atime,
            tv_nsec: i64::try_from(stat.st_atime_nsec).unwrap_or(0),
        },
        last_modification: Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or(0),
        },
    };
    rustix::fs::utimensat(CWD, to, &times, AtFlags::empty()).map_err(io("set the times of", to))?;
    std::fs::remove_file(new).map_err(std_io("remove", new))
}
