//! The record of one root in the run directory.

use std::ffi::OsStr;
use std::fmt;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use lapstrake_oci::{DiffId, Digest};
use lapstrake_sys::file::{self, FilesystemKind};
use lapstrake_sys::mount::{self, Mounted};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// What tells one root from all others that live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RootKey {
    /// The minor number of an overlay's device.
    Overlay(u32),
    /// The number of a mount, for a file system that has several.
    Mount(u64),
    /// A name that whoever mounts the root by itself gave it.
    Held(Box<str>),
}

impl RootKey {
    /// The key of an overlay, by its root directory; `None` if that is none.
    pub(crate) fn of_overlay(root: impl AsFd) -> Result<Option<Self>, Errno> {
        if file::filesystem(&root)? != FilesystemKind::Overlay {
            return Ok(None);
        }
        let device = rustix::fs::fstat(&root)?.st_dev;
        Ok(Some(Self::Overlay(rustix::fs::minor(device))))
    }

    /// The key of a mount, by its root directory.
    pub(crate) fn of_mount(root: impl AsFd) -> Result<Self, Errno> {
        mount::id(root.as_fd()).map(Self::Mount)
    }

    /// The key of a root that others mount: letters, digits, `-`, `_` and `.`, at most 128.
    pub(crate) fn held(name: &str) -> Option<Self> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let is_name = (1..=128).contains(&name.len()) && name.bytes().all(fits);
        is_name.then(|| Self::Held(name.into()))
    }

    /// The key as the name of a record.
    pub(crate) fn parse(name: &OsStr) -> Option<Self> {
        let name = name.to_str()?;
        if let Some(held) = name.strip_prefix("held-") {
            return Self::held(held);
        }
        match name.strip_prefix("bind-") {
            Some(id) => id.parse().ok().map(Self::Mount),
            None => name.parse().ok().map(Self::Overlay),
        }
    }

    /// Whether the root is in the table of mounts. `inode_at` looks up the root of a mount.
    ///
    /// Another mount or overlay may have the number of one that is gone, also one in another store; its
    /// root is another directory.
    pub(crate) fn lives(
        &self,
        record: &Record,
        table: &[Mounted],
        inode_at: impl Fn(&Mounted) -> Option<Inode>,
    ) -> bool {
        let may_be = |mounted| inode_at(mounted).is_none_or(|inode| inode == record.inode);
        table.iter().any(|mounted| match self {
            Self::Overlay(minor) => {
                mounted.filesystem == "overlay"
                    && mounted.device.1 == *minor
                    // Of a part of it, mounted elsewhere, the root is another one.
                    && (*mounted.root != *Path::new("/") || may_be(mounted))
            }
            Self::Mount(id) => mounted.id == *id && may_be(mounted),
            // Until it is released.
            Self::Held(_) => true,
        })
    }
}

/// Which directory it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Inode {
    device: u64,
    number: u64,
}

impl Inode {
    pub(crate) fn of(root: impl AsFd) -> Result<Self, Errno> {
        let stat = rustix::fs::fstat(root)?;
        Ok(Self {
            device: stat.st_dev,
            number: stat.st_ino,
        })
    }

    /// The root of a mount; `None` if that can't be seen, since something lies over it.
    pub(crate) fn at(mounted: &Mounted) -> Option<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = rustix::fs::open(&*mounted.target, flags, Mode::empty()).ok()?;
        (mount::id(root.as_fd()) == Ok(mounted.id)).then_some(())?;
        Self::of(&root).ok()
    }
}

impl fmt::Display for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overlay(minor) => write!(f, "{minor}"),
            Self::Mount(id) => write!(f, "bind-{id}"),
            Self::Held(name) => write!(f, "held-{name}"),
        }
    }
}

/// What is written about a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Inode of the mount namespace in which it was mounted.
    pub(crate) namespace: u64,
    /// With which driver.
    pub(crate) driver: String,
    /// Names of the mount points that it uses.
    pub(crate) mounts: Vec<String>,
    /// Layers that it uses.
    pub(crate) layers: Vec<DiffId>,
    /// Its root directory.
    pub(crate) inode: Inode,
    /// The writable layer's place; empty for a root that is read-only.
    pub(crate) place: PathBuf,
    /// Where it was mounted.
    pub(crate) target: PathBuf,
}

const VERSION: &str = "lapstrake root 4";
const END: &[u8] = b"end";

impl Record {
    /// Lines of a word and its value, an end mark; then, as they are, with NULs between, the paths.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut text = format!(
            "{VERSION}\nnamespace {}\ndriver {}\ninode {} {}\n",
            self.namespace, self.driver, self.inode.device, self.inode.number
        );
        for name in &self.mounts {
            text += &format!("mount {name}\n");
        }
        for layer in &self.layers {
            text += &format!("layer {layer}\n");
        }
        let mut bytes = text.into_bytes();
        bytes.extend(b"paths\0");
        for path in [&self.place, &self.target] {
            bytes.extend(path.as_os_str().as_bytes());
            bytes.push(0);
        }
        bytes.extend(END);
        bytes
    }

    /// `None` for a record that was not finished, or is not one.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = bytes.split(|b| *b == 0);
        let text = std::str::from_utf8(parts.next()?).ok()?;
        let mut path = || {
            Some(PathBuf::from(std::ffi::OsString::from_vec(
                parts.next()?.to_vec(),
            )))
        };
        let (place, target) = (path()?, path()?);
        if parts.next()? != END || parts.next().is_some() {
            return None;
        }
        let mut lines = text.lines();
        if lines.next()? != VERSION {
            return None;
        }
        let mut record = Self {
            namespace: lines.next()?.strip_prefix("namespace ")?.parse().ok()?,
            driver: lines.next()?.strip_prefix("driver ")?.to_owned(),
            inode: {
                let (device, number) = lines.next()?.strip_prefix("inode ")?.split_once(' ')?;
                Inode {
                    device: device.parse().ok()?,
                    number: number.parse().ok()?,
                }
            },
            mounts: Vec::new(),
            layers: Vec::new(),
            place,
            target,
        };
        for line in lines {
            match line.split_once(' ') {
                Some(("mount", name)) => record.mounts.push(name.to_owned()),
                Some(("layer", id)) => record.layers.push(DiffId(id.parse::<Digest>().ok()?)),
                None if line == "paths" => return Some(record),
                _ => return None,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use lapstrake_oci::Algorithm;

    use super::*;

    fn record(target: &str) -> Record {
        Record {
            namespace: 7,
            driver: "erofs".to_owned(),
            mounts: vec!["aa".to_owned(), "bb".to_owned()],
            layers: vec![DiffId(Algorithm::Sha256.digest(b"a"))],
            inode: Inode {
                device: 8,
                number: 9,
            },
            place: "/place".into(),
            target: target.into(),
        }
    }

    #[test]
    fn a_record_comes_back() {
        let record = record("/a\npaths\nb");
        assert_eq!(Record::decode(&record.encode()), Some(record));
    }

    #[test]
    fn keys_come_back() {
        let held = RootKey::held("default.container-1").expect("a name");
        for key in [RootKey::Overlay(7), RootKey::Mount(8), held] {
            assert_eq!(RootKey::parse(OsStr::new(&key.to_string())), Some(key));
        }
        for bad in ["", "a/b", "..\0", &"x".repeat(129)] {
            assert_eq!(RootKey::held(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_unfinished_record_is_none() {
        let text = record("/target").encode();
        for length in 0..text.len() {
            assert_eq!(Record::decode(&text[..length]), None, "{length}");
        }
    }

    #[test]
    fn a_mount_of_the_same_number_from_elsewhere_is_another_root() {
        let mounted = Mounted {
            id: 5,
            device: (8, 1),
            root: Path::new("/dir").into(),
            target: Path::new("/t").into(),
            filesystem: "ext4".to_owned(),
            source: Path::new("/dev/vda").into(),
        };
        let record = record("/t");
        let lives = |id, inode| {
            let table = std::slice::from_ref(&mounted);
            RootKey::Mount(id).lives(&record, table, |_| inode)
        };
        let other = Inode {
            device: 8,
            number: 10,
        };
        assert!(lives(5, Some(record.inode)));
        assert!(lives(5, None), "it can't be seen");
        assert!(!lives(5, Some(other)));
        assert!(!lives(6, Some(record.inode)));
    }
}
