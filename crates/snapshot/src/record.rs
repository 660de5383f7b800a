//! The record of one root in the run directory.

use std::ffi::OsStr;
use std::fmt;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use lapstrake_oci::{DiffId, Digest};
use lapstrake_sys::file::{self, FilesystemKind};
use lapstrake_sys::mount::{self, Mounted};
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

    /// Whether the root is in the table of mounts.
    pub(crate) fn lives(&self, record: &Record, table: &[Mounted]) -> bool {
        table.iter().any(|mounted| match self {
            Self::Overlay(minor) => mounted.filesystem == "overlay" && mounted.device.1 == *minor,
            Self::Mount(id) => mounted.id == *id && same_end(&mounted.root, &record.source),
            // Until it is released.
            Self::Held(_) => true,
        })
    }
}

/// Whether a root's path within its file system can be that of `source`: its last two names are the
/// same, as far as it has so many.
fn same_end(within: &Path, source: &Path) -> bool {
    let names = |path: &Path| -> Vec<_> {
        let names = path.iter().skip(1).map(OsStr::to_owned);
        names
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .take(2)
            .collect()
    };
    names(source).starts_with(&names(within))
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
    /// What is bound there; empty for an overlay.
    pub(crate) source: PathBuf,
    /// The writable layer's place; empty for a root that is read-only.
    pub(crate) place: PathBuf,
    /// Where it was mounted.
    pub(crate) target: PathBuf,
}

const VERSION: &str = "lapstrake root 3";
const END: &[u8] = b"end";

impl Record {
    /// Lines of a word and its value, an end mark; then, as they are, with NULs between, the paths.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut text = format!(
            "{VERSION}\nnamespace {}\ndriver {}\n",
            self.namespace, self.driver
        );
        for name in &self.mounts {
            text += &format!("mount {name}\n");
        }
        for layer in &self.layers {
            text += &format!("layer {layer}\n");
        }
        let mut bytes = text.into_bytes();
        bytes.extend(b"paths\0");
        for path in [&self.source, &self.place, &self.target] {
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
        let (source, place, target) = (path()?, path()?, path()?);
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
            mounts: Vec::new(),
            layers: Vec::new(),
            source,
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
    use super::*;
    use lapstrake_oci::Algorithm;

    fn record(target: &str) -> Record {
        Record {
            namespace: 7,
            driver: "erofs".to_owned(),
            mounts: vec!["aa".to_owned(), "bb".to_owned()],
            layers: vec![DiffId(Algorithm::Sha256.digest(b"a"))],
            source: PathBuf::new(),
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
        let mounted = |root: &str| Mounted {
            id: 5,
            device: (8, 1),
            root: Path::new(root).into(),
            target: Path::new("/t").into(),
            filesystem: "ext4".to_owned(),
        };
        let record = Record {
            source: "/var/lib/store/dir/abc".into(),
            ..record("/t")
        };
        let lives = |root: &str| RootKey::Mount(5).lives(&record, &[mounted(root)]);
        assert!(lives("/lib/store/dir/abc"));
        assert!(lives("/dir/abc"));
        assert!(lives("/abc"));
        assert!(!lives("/dir/abd"));
        assert!(!lives("/lib/store/cir/abc"));
        assert!(!RootKey::Mount(6).lives(&record, &[mounted("/dir/abc")]));
    }
}
