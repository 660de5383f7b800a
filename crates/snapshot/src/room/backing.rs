//! How rooms are made on this file system, and why so: facts, then a choice.

use std::fmt;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use lapstrake_sys::{btrfs, quota};
use rustix::io::Errno;

use super::error::io;
use super::{Error, Limit, Result};

/// How a room is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Backing {
    /// An ordinary directory: no limit, usage by walking.
    Directory,
    /// A directory with a project quota.
    Project,
    /// A btrfs subvolume with a quota group.
    Subvolume,
    /// An ext4 file system in a sparse file.
    Image,
}

impl Backing {
    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Project => "project quota",
            Self::Subvolume => "btrfs subvolume",
            Self::Image => "image file",
        }
    }
}

impl fmt::Display for Backing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a probe found: which ways there are, and why not the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The file system that rooms lie on.
    pub filesystem: String,
    /// How rooms without a limit are made.
    pub unlimited: Backing,
    /// How rooms with a limit on bytes are made, if they can be.
    pub limited: Option<Backing>,
    /// A sentence for each way that was looked at.
    pub reasons: Vec<String>,
}

/// What the reaper must know of the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filesystem {
    Btrfs,
    /// Directories may have projects.
    Projects,
    Other,
}

/// What was found out about the file system and the machine.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    filesystem: String,
    magic: u64,
    projects: std::result::Result<quota::Enforcement, Errno>,
    /// What quota groups are worth; `None` where there can be none.
    groups: Option<btrfs::Groups>,
    mke2fs: Option<PathBuf>,
    loops: bool,
}

const BTRFS: u64 = 0x9123_683E;
const NAMES: [(u64, &str); 9] = [
    (0xEF53, "ext4"),
    (0x5846_5342, "xfs"),
    (BTRFS, "btrfs"),
    (0xF2F5_2010, "f2fs"),
    (0x0102_1994, "tmpfs"),
    (0x2FC1_2FC1, "zfs"),
    (0x6969, "nfs"),
    (0x794C_7630, "overlay"),
    (0xCA45_1A4E, "bcachefs"),
];

impl Facts {
    pub(super) fn look(rooms: &Path) -> Result<Self> {
        let dir = File::open(rooms).map_err(io("open", rooms))?;
        let statfs = rustix::fs::fstatfs(&dir).map_err(io("ask for the file system of", rooms))?;
        // Only the low 32 bits count.
        let magic = u64::from_ne_bytes(statfs.f_type.to_ne_bytes()) & 0xFFFF_FFFF;
        let name = NAMES.iter().find(|(number, _)| *number == magic);
        let groups = match magic {
            BTRFS => {
                Some(btrfs::groups(dir.as_fd()).map_err(io("ask for quota groups at", rooms))?)
            }
            _ => None,
        };
        Ok(Self {
            filesystem: name.map_or_else(|| format!("{magic:#x}"), |(_, name)| (*name).to_owned()),
            magic,
            projects: quota::enforcement(dir.as_fd()),
            groups,
            mke2fs: program("mke2fs"),
            loops: Path::new("/dev/loop-control").exists(),
        })
    }

    pub(super) fn filesystem(&self) -> Filesystem {
        match self.projects {
            _ if self.magic == BTRFS => Filesystem::Btrfs,
            Ok(_) => Filesystem::Projects,
            Err(_) => Filesystem::Other,
        }
    }

    /// How a room with this limit is made, if nobody asks for a certain way.
    pub(super) fn choose(&self, limit: Limit) -> Result<Backing> {
        let ways: &[Backing] = if limit.is_none() {
            &[Backing::Project, Backing::Subvolume, Backing::Directory]
        } else {
            &[Backing::Project, Backing::Subvolume, Backing::Image]
        };
        let mut reasons = Vec::new();
        for way in ways {
            match self.against(*way, limit) {
                None => return Ok(*way),
                Some(reason) => reasons.push(reason),
            }
        }
        Err(Error::Unlimitable { limit, reasons })
    }

    /// Why a room with this limit cannot be made that way; `None` if it can.
    pub(super) fn against(&self, way: Backing, limit: Limit) -> Option<String> {
        match way {
            Backing::Directory => {
                (!limit.is_none()).then(|| "a directory without quota has no limit".to_owned())
            }
            Backing::Project => self.against_projects(),
            Backing::Subvolume if self.groups.is_none() => {
                Some(format!("{} has no subvolumes", self.filesystem))
            }
            Backing::Subvolume => limit
                .inodes
                .map(|_| "btrfs quota groups do not count inodes".to_owned()),
            Backing::Image if self.mke2fs.is_none() => {
                Some("for an image file, mke2fs is missing: install e2fsprogs".to_owned())
            }
            Backing::Image => (!self.loops).then(|| {
                "for an image file, loop devices are missing: load the module loop".to_owned()
            }),
        }
    }

    fn against_projects(&self) -> Option<String> {
        let name = &self.filesystem;
        match self.projects {
            Ok(quota::Enforcement { enforced: true, .. }) => None,
            Ok(_) => Some(format!(
                "project quota of this {name} is not enforced: mount it with prjquota"
            )),
            // The kernel says the same when they are off, not there, or it is older than 5.14.
            Err(Errno::SRCH | Errno::NOSYS) if matches!(&**name, "ext4" | "xfs" | "f2fs") => {
                Some(format!(
                    "project quota of this {name} is off: mount it with prjquota (ext4 and f2fs must be made with it too; see tune2fs -O project,quota)"
                ))
            }
            Err(Errno::SRCH | Errno::NOSYS) => Some(format!("{name} has no project quota")),
            Err(errno) => Some(format!(
                "project quota of this {name} cannot be asked: {errno}"
            )),
        }
    }

    pub(super) fn report(&self) -> Report {
        let some = Limit {
            bytes: Some(1 << 30),
            inodes: None,
        };
        let ways = [Backing::Project, Backing::Subvolume, Backing::Image];
        let reasons = ways.map(|way| match self.against(way, some) {
            None => format!("{way}: possible"),
            Some(reason) => format!("{way}: {reason}"),
        });
        let mut reasons = Vec::from(reasons);
        if self.groups == Some(btrfs::Groups::Off) {
            reasons.push(
                "btrfs quota groups are off; the first room with a limit turns them on".to_owned(),
            );
        }
        Report {
            filesystem: self.filesystem.clone(),
            unlimited: self.choose(Limit::NONE).unwrap_or(Backing::Directory),
            limited: self.choose(some).ok(),
            reasons,
        }
    }
}

/// A program of e2fsprogs, where distributions put it.
pub(super) fn program(name: &str) -> Option<PathBuf> {
    let dirs = ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin"];
    let mut paths = dirs.iter().map(|dir| Path::new(dir).join(name));
    paths.find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENFORCED: quota::Enforcement = quota::Enforcement {
        counted: true,
        enforced: true,
    };

    fn facts(
        projects: std::result::Result<quota::Enforcement, Errno>,
        groups: Option<btrfs::Groups>,
        tools: bool,
    ) -> Facts {
        Facts {
            filesystem: "testfs".to_owned(),
            magic: if groups.is_some() { BTRFS } else { 0 },
            projects,
            groups,
            mke2fs: tools.then(|| PathBuf::from("/sbin/mke2fs")),
            loops: true,
        }
    }

    const BYTES: Limit = Limit {
        bytes: Some(1 << 30),
        inodes: None,
    };
    const INODES: Limit = Limit {
        bytes: Some(1 << 30),
        inodes: Some(1000),
    };

    #[test]
    fn the_cheapest_way_that_can_hold_the_limit_is_taken() {
        let counted = quota::Enforcement {
            enforced: false,
            ..ENFORCED
        };
        let cases = [
            (facts(Ok(ENFORCED), None, true), BYTES, Backing::Project),
            (
                facts(Ok(ENFORCED), None, true),
                Limit::NONE,
                Backing::Project,
            ),
            (facts(Ok(counted), None, true), BYTES, Backing::Image),
            (facts(Err(Errno::SRCH), None, true), INODES, Backing::Image),
            (
                facts(Err(Errno::SRCH), None, false),
                Limit::NONE,
                Backing::Directory,
            ),
            (
                facts(Err(Errno::NOSYS), Some(btrfs::Groups::Off), true),
                BYTES,
                Backing::Subvolume,
            ),
            (
                facts(Err(Errno::NOSYS), Some(btrfs::Groups::Right), true),
                Limit::NONE,
                Backing::Subvolume,
            ),
            (
                facts(Err(Errno::NOSYS), Some(btrfs::Groups::Right), true),
                INODES,
                Backing::Image,
            ),
        ];
        for (facts, limit, backing) in cases {
            assert_eq!(facts.choose(limit).unwrap(), backing, "{facts:?} {limit}");
        }
    }

    #[test]
    fn without_any_way_each_reason_is_told() {
        let mut facts = facts(Err(Errno::SRCH), None, false);
        facts.filesystem = "ext4".to_owned();
        let error = facts.choose(BYTES).unwrap_err();
        let text = error.to_string();
        for word in ["prjquota", "subvolumes", "e2fsprogs"] {
            assert!(text.contains(word), "{text}");
        }
    }
}
