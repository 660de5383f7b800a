//! A file or directory of a container, as a tar.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use lapstrake_tree::model::Device;
use lapstrake_tree::read_at::ReadAt;
use lapstrake_tree::write::{DataRun, FileBytes, Kind, TarWriter, whole};
use rustix::fs::{Dir, FileType, Mode, OFlags, SeekFrom, Stat};
use rustix::io::Errno;

use super::error::{Error, Result, refused};
use super::stat::{Asked, PathStat, told};
use super::view::View;
use super::walk::{Last, Missing, Name, Walker, shown};
use crate::files::{self, Keep};

/// A file or directory that was found.
#[derive(Debug)]
pub struct Resource<'v> {
    /// What it is.
    pub stat: PathStat,
    found: Found<'v>,
    /// Its name in the tar.
    base: Vec<u8>,
}

#[derive(Debug)]
enum Found<'v> {
    Directory(Walker<'v>),
    Other(Walker<'v>, Name, Arc<OwnedFd>),
}

impl View {
    /// Finds what is at a path, to read it. A link at its end is not followed.
    ///
    /// # Errors
    /// If there is nothing.
    pub fn get(&self, path: &str) -> Result<Resource<'_>> {
        let asked = Asked::new(path);
        let mut walker = Walker::at_root(self);
        let base = match asked.base() {
            // Names below the root begin with a slash, as Docker's do: its client expects it.
            b"/" => Vec::new(),
            name => name.to_vec(),
        };
        match walker.go(&asked.path, Last::Keep, Missing::Refuse)? {
            None => {
                let stat = rustix::fs::fstat(walker.dir());
                let stat = stat.map_err(refused("look at", walker.path()))?;
                Ok(Resource {
                    stat: told(&asked, &stat, String::new()),
                    found: Found::Directory(walker),
                    base,
                })
            }
            Some(leaf) => {
                let path = walker.path_of(&leaf.name);
                let file = leaf.file.ok_or_else(|| Error::NotFound(shown(&path)))?;
                Ok(Resource {
                    stat: self.stat_of(&asked, &file, &path)?,
                    found: Found::Other(walker, leaf.name, file),
                    base,
                })
            }
        }
    }
}

impl Resource<'_> {
    /// Writes it as a tar, with all that is below it. Sockets are left out. A file that shrinks meanwhile ends in
    /// zeros.
    ///
    /// # Errors
    /// If something can't be read, or `out` refuses.
    pub fn write(self, out: impl Write) -> Result<()> {
        let mut writer = Writer {
            tar: TarWriter::new(out),
            linked: HashMap::new(),
        };
        match self.found {
            Found::Directory(walker) => writer.directory(walker, self.base)?,
            Found::Other(walker, name, file) => {
                let path = walker.path_of(&name);
                writer.entry(&path, &self.base, &file)?;
            }
        }
        let mut out = writer.tar.finish().map_err(|error| output(&[], error))?;
        out.flush().map_err(|error| output(&[], error))
    }
}

struct Writer<W> {
    tar: TarWriter<W>,
    /// The names in the tar of files that have several, by device and inode.
    linked: HashMap<(u64, u64), Vec<u8>>,
}

impl<W: Write> Writer<W> {
    /// Writes a directory and all below it.
    fn directory(&mut self, mut walker: Walker<'_>, base: Vec<u8>) -> Result<()> {
        let mut name = base;
        let mut left = vec![(self.enter(&walker, &name)?.into_iter(), name.len())];
        while let Some((names, length)) = left.last_mut() {
            let Some(child) = names.next() else {
                left.pop();
                if let Some((_, length)) = left.last() {
                    name.truncate(*length);
                    walker.leave();
                }
                continue;
            };
            name.truncate(*length);
            // What was removed meanwhile is not there.
            let Some(file) = walker.child(&child)? else {
                continue;
            };
            name.push(b'/');
            name.extend_from_slice(&child);
            if self.entry(&walker.path_of(&child), &name, &file)? == FileType::Directory {
                walker.enter(child, file)?;
                left.push((list(&walker)?.into_iter(), name.len()));
            }
        }
        Ok(())
    }

    /// Writes the entry of the directory where the walker is, and lists it.
    fn enter(&mut self, walker: &Walker<'_>, name: &[u8]) -> Result<Vec<Name>> {
        let stat = rustix::fs::fstat(walker.dir());
        let stat = stat.map_err(refused("look at", walker.path()))?;
        let metadata = files::metadata(walker.dir(), &stat, Keep::Portable);
        let metadata = metadata.map_err(refused("read the attributes of", walker.path()))?;
        let name = if name.is_empty() { b"/" } else { name };
        let written = self.tar.entry(name, &metadata, Kind::Directory);
        written.map_err(|error| output(walker.path(), error))?;
        list(walker)
    }

    /// Writes one entry, and says what it is.
    fn entry(&mut self, path: &[Name], name: &[u8], file: &OwnedFd) -> Result<FileType> {
        let stat = rustix::fs::fstat(file).map_err(refused("look at", path))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if matches!(kind, FileType::Socket | FileType::Unknown) {
            return Ok(kind);
        }
        let metadata = files::metadata(file.as_fd(), &stat, Keep::Portable);
        let metadata = metadata.map_err(refused("read the attributes of", path))?;
        let first = self.first_name(kind, &stat, name);
        let written = if let Some(first) = first {
            self.tar.entry(name, &metadata, Kind::HardLink(&first))
        } else {
            let device = || Device {
                major: rustix::fs::major(stat.st_rdev),
                minor: rustix::fs::minor(stat.st_rdev),
            };
            match kind {
                FileType::RegularFile => {
                    let opened = files::reopen(file.as_fd(), OFlags::RDONLY);
                    let opened = opened.map_err(refused("open", path))?;
                    let size = u64::try_from(stat.st_size).unwrap_or(0);
                    self.tar.file(name, &metadata, size, &Contents(opened))
                }
                FileType::Symlink => {
                    let target = rustix::fs::readlinkat(file, "", Vec::new());
                    let target = target.map_err(refused("read", path))?;
                    self.tar
                        .entry(name, &metadata, Kind::Symlink(target.as_bytes()))
                }
                FileType::Directory => self.tar.entry(name, &metadata, Kind::Directory),
                FileType::CharacterDevice => {
                    self.tar.entry(name, &metadata, Kind::CharDevice(device()))
                }
                FileType::BlockDevice => {
                    self.tar.entry(name, &metadata, Kind::BlockDevice(device()))
                }
                _ => self.tar.entry(name, &metadata, Kind::Fifo),
            }
        };
        written.map_err(|error| output(path, error))?;
        Ok(kind)
    }

    /// The name in the tar that a file has already.
    fn first_name(&mut self, kind: FileType, stat: &Stat, name: &[u8]) -> Option<Vec<u8>> {
        if stat.st_nlink < 2 || kind == FileType::Directory {
            return None;
        }
        match self.linked.entry((stat.st_dev, stat.st_ino)) {
            std::collections::hash_map::Entry::Occupied(first) => Some(first.get().clone()),
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(name.to_vec());
                None
            }
        }
    }
}

/// Names in the directory where the walker is, sorted; those of mounts count.
fn list(walker: &Walker<'_>) -> Result<Vec<Name>> {
    let path = walker.path();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let read = || {
        let dir = rustix::fs::openat(walker.dir(), ".", flags, Mode::empty())?;
        let mut names: Vec<Name> = Vec::new();
        for entry in Dir::read_from(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                names.push(name.into());
            }
        }
        Ok(names)
    };
    let mut names: Vec<Name> = read().map_err(refused("list", path))?;
    names.extend(walker.view().mounts_in(path).cloned());
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// Contents of a file that may change while it is read.
struct Contents(File);

impl ReadAt for Contents {
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self
                .0
                .read_at(&mut buffer[filled..], offset + filled as u64)
            {
                Ok(0) => {
                    // It was cut short: its size is in the tar already.
                    buffer[filled..].fill(0);
                    break;
                }
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl FileBytes for Contents {
    fn runs(&self, size: u64) -> io::Result<Vec<DataRun>> {
        let mut runs = Vec::new();
        let mut at = 0;
        while at < size {
            let start = match rustix::fs::seek(&self.0, SeekFrom::Data(at)) {
                Ok(start) => start,
                Err(Errno::NXIO) => break,
                Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(whole(size)),
                Err(errno) => return Err(errno.into()),
            };
            if start >= size {
                break;
            }
            let end = match rustix::fs::seek(&self.0, SeekFrom::Hole(start)) {
                Ok(end) => end.min(size),
                Err(Errno::NXIO) => size,
                Err(errno) => return Err(errno.into()),
            };
            if end <= start {
                return Ok(whole(size));
            }
            runs.push(DataRun {
                offset: start,
                length: end - start,
            });
            at = end;
        }
        Ok(runs)
    }
}

fn output(path: &[Name], source: io::Error) -> Error {
    Error::Io {
        action: "write an archive of",
        path: shown(path),
        source,
    }
}
