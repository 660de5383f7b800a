//! What is told of a file without its contents.

use std::os::fd::OwnedFd;

use rustix::fs::{FileType, Stat};

use super::error::{Error, Result, refused};
use super::view::View;
use super::walk::{Last, Missing, Name, Walker, shown};
use crate::mounts::clean_path;

/// What is told of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathStat {
    /// The last name of the path that was asked for.
    pub name: String,
    /// Bytes.
    pub size: i64,
    /// Kind and permission bits, as Go's `FileMode` has them.
    pub mode: u32,
    /// Seconds since 1970, and nanoseconds after that second.
    pub modified: (i64, u32),
    /// For links, the path that they lead to in the end, as far as that can be told.
    pub link_target: String,
}

/// A path of a client's, as Docker takes it: cleaned as text, but a `/` or `/.` at its end stays, for it says that
/// a directory is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) path: Vec<u8>,
}

impl Asked {
    pub(super) fn new(path: &str) -> Self {
        let mut cleaned = clean_path(&format!("/{path}"))
            .into_os_string()
            .into_encoded_bytes();
        let is_dot = path.is_empty() || path == "." || path.ends_with("/.");
        if (is_dot || path.ends_with('/')) && cleaned.last() != Some(&b'/') {
            cleaned.push(b'/');
        }
        if is_dot {
            cleaned.push(b'.');
        }
        Self { path: cleaned }
    }

    /// Its last name: `.` or `/` if it has none.
    pub(super) fn base(&self) -> &[u8] {
        let path = self.path.strip_suffix(b"/").unwrap_or(&self.path);
        match path.rsplit(|byte| *byte == b'/').next() {
            Some(b"") | None => b"/",
            Some(name) => name,
        }
    }
}

impl View {
    /// Looks at a path. A link at its end is not followed.
    ///
    /// # Errors
    /// If there is nothing.
    pub fn stat(&self, path: &str) -> Result<PathStat> {
        let asked = Asked::new(path);
        let mut walker = Walker::at_root(self);
        match walker.go(&asked.path, Last::Keep, Missing::Refuse)? {
            None => {
                let stat = rustix::fs::fstat(walker.dir());
                let stat = stat.map_err(refused("look at", walker.path()))?;
                Ok(told(&asked, &stat, String::new()))
            }
            Some(leaf) => {
                let path = walker.path_of(&leaf.name);
                let file = leaf.file.ok_or_else(|| Error::NotFound(shown(&path)))?;
                self.stat_of(&asked, &file, &path)
            }
        }
    }

    pub(super) fn stat_of(&self, asked: &Asked, file: &OwnedFd, path: &[Name]) -> Result<PathStat> {
        let stat = rustix::fs::fstat(file).map_err(refused("look at", path))?;
        let target = if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            shown(&Walker::at_root(self).resolved(&asked.path)?)
        } else {
            String::new()
        };
        Ok(told(asked, &stat, target))
    }
}

pub(super) fn told(asked: &Asked, stat: &Stat, link_target: String) -> PathStat {
    PathStat {
        name: String::from_utf8_lossy(asked.base()).into_owned(),
        size: stat.st_size,
        mode: go_mode(stat.st_mode),
        modified: (
            stat.st_mtime,
            u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        ),
        link_target,
    }
}

/// A mode in the bits of Go's `FileMode`.
fn go_mode(mode: u32) -> u32 {
    let kind = match FileType::from_raw_mode(mode) {
        FileType::Directory => 1 << 31,
        FileType::Symlink => 1 << 27,
        FileType::BlockDevice => 1 << 26,
        FileType::CharacterDevice => 1 << 26 | 1 << 21,
        FileType::Fifo => 1 << 25,
        FileType::Socket => 1 << 24,
        FileType::RegularFile | FileType::Unknown => 0,
    };
    let bit = |unix: u32, go: u32| if mode & unix == 0 { 0 } else { 1 << go };
    kind | mode & 0o777 | bit(0o4000, 23) | bit(0o2000, 22) | bit(0o1000, 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_but_for_what_says_that_a_directory_is_meant() {
        for (path, cleaned, base) in [
            ("/etc/hostname", "/etc/hostname", "hostname"),
            ("etc//x/../hostname", "/etc/hostname", "hostname"),
            ("/etc/", "/etc/", "etc"),
            ("/etc/.", "/etc/.", "."),
            ("/", "/", "/"),
            ("", "/.", "."),
            (".", "/.", "."),
            ("/.", "/.", "."),
            ("../../x", "/x", "x"),
        ] {
            let asked = Asked::new(path);
            assert_eq!(asked.path, cleaned.as_bytes(), "{path:?}");
            assert_eq!(asked.base(), base.as_bytes(), "{path:?}");
        }
    }

    #[test]
    fn modes_are_gos() {
        for (unix, go) in [
            (0o100_644, 0o644),
            (0o040_755, 2_147_484_141),
            (0o120_777, 1 << 27 | 0o777),
            (0o104_755, 1 << 23 | 0o755),
            (0o041_777, 1 << 31 | 1 << 20 | 0o777),
            (0o020_666, 1 << 26 | 1 << 21 | 0o666),
        ] {
            assert_eq!(go_mode(unix), go, "{unix:o}");
        }
    }
}
