//! Entries with all that a tar says of them, for whoever makes the files.

use std::io::Read;

use super::{Archive, Said, parsed};
use crate::error::{Error, Refusal, show};
use crate::header::{BLOCK_BYTES, Block, Header, Segment, old_sparse_continuation};
use crate::limits::{Limits, PATH_BYTES_MAX};
use crate::metadata;
use crate::model::{Device, Metadata};
use crate::sparse;
use crate::sparse_map::MapReader;
use crate::write::{DataRun, whole};

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name, as it is written: it may be absolute, and have any parts.
    pub name: Vec<u8>,
    /// Owner, mode, time and attributes. Those that would steer overlay are left out.
    pub metadata: Metadata,
    /// What it is.
    pub kind: EntryKind,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File {
        /// Bytes, with holes.
        size: u64,
        /// Where the bytes go that [`Archive::body`] has, in this order; zeros are between them.
        runs: Vec<DataRun>,
    },
    /// One more name for an entry, given by its name.
    HardLink(Vec<u8>),
    /// A symbolic link and its target.
    Symlink(Vec<u8>),
    /// A directory.
    Directory,
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
}

impl<R: Read> Archive<R> {
    /// As [`Archive::next`], with all that is said of an entry.
    ///
    /// # Errors
    /// If the archive is damaged or cut, says what no file can be, or can't be read.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        loop {
            let mut said = Said::default();
            let Some(block) = self.header(&mut said)? else {
                return Ok(None);
            };
            if let Some(entry) = self.entry(&block, &said)? {
                return Ok(Some(entry));
            }
        }
    }

    /// Reads an entry; nothing for what is about files, but none itself.
    fn entry(&mut self, block: &Block, said: &Said) -> Result<Option<Entry>, Error> {
        let header = parsed(block);
        let attributes = &said.attributes;
        // GNU's name wins over PAX', as it does in Docker, and PAX' over the header's.
        let name = said.name.clone();
        let name = name.or_else(|| attributes.sparse.name.clone());
        let name = name.or_else(|| attributes.path(&self.global).map(<[u8]>::to_vec));
        let name = name.unwrap_or_else(|| header.name());
        self.current = show(&name);
        let refused = |why: Refusal| why.of(show(&name));
        let malformed = |what: &'static str| refused(what.into());
        if name.len() as u64 > PATH_BYTES_MAX {
            return Err(refused(Refusal::Limit {
                what: "its name",
                limit: PATH_BYTES_MAX,
            }));
        }
        let size = match attributes.size(&self.global) {
            Some(size) => size,
            None => header.size().map_err(malformed)?,
        };
        let target = || {
            let target = said.link.clone();
            let target = target.or_else(|| attributes.link(&self.global).map(<[u8]>::to_vec));
            target.unwrap_or_else(|| header.link_name().to_vec())
        };
        let mut dropped = 0;
        let metadata = metadata::metadata(&header, attributes, &self.global, &mut dropped);
        let metadata = metadata.map_err(refused)?;
        let device = || metadata::device(&header).map_err(refused);
        let kind = match header.kind() {
            b'1' => EntryKind::HardLink(target()),
            b'2' => EntryKind::Symlink(metadata::symlink_target(target()).map_err(refused)?),
            b'3' => EntryKind::CharDevice(device()?),
            b'4' => EntryKind::BlockDevice(device()?),
            b'5' | b'D' => EntryKind::Directory,
            b'6' => EntryKind::Fifo,
            0 if name.last() == Some(&b'/') => EntryKind::Directory,
            b'V' | b'A' => {
                self.expect(size).map_err(malformed)?;
                return Ok(None);
            }
            b'M' => return Err(malformed("it goes on from another volume of the archive")),
            // Any other kind is a file, as POSIX asks.
            _ => self.file(&header, said, size)?,
        };
        if !matches!(kind, EntryKind::File { .. }) {
            // GNU lists a directory's files in its contents; other kinds have none, whatever they say.
            let listed = if header.kind() == b'D' { size } else { 0 };
            self.expect(listed).map_err(malformed)?;
        }
        Ok(Some(Entry {
            name,
            metadata,
            kind,
        }))
    }

    /// A regular file, whose sparse map is read.
    fn file(&mut self, header: &Header<'_>, said: &Said, stored: u64) -> Result<EntryKind, Error> {
        let entry = self.current.clone();
        let malformed = |what| Error::Malformed {
            entry: entry.clone(),
            what,
        };
        self.expect(stored).map_err(malformed)?;
        if header.kind() == b'S' {
            let (mut segments, mut goes_on, size) = header.old_sparse().map_err(malformed)?;
            while goes_on {
                // These blocks are not among the entry's bytes.
                let mut block = [0; BLOCK_BYTES];
                if !self.block(&mut block)? {
                    return Err(self.truncated());
                }
                let (more, again) = old_sparse_continuation(&block).map_err(malformed)?;
                segments.extend(more);
                goes_on = again;
                self.bound_runs(segments.len())?;
            }
            return self.sparse(size, &segments);
        }
        let said = &said.attributes.sparse;
        let major = said.version.0.as_deref().unwrap_or_default();
        let minor = said.version.1.as_deref().unwrap_or_default();
        let size = || {
            said.size
                .ok_or_else(|| malformed("its sparse map has no size"))
        };
        match (major, minor) {
            (b"", b"") if said.map.is_empty() && said.runs.is_none() => Ok(EntryKind::File {
                size: stored,
                runs: whole(stored),
            }),
            (b"" | b"0", b"" | b"0" | b"1") => {
                let segments = said.segments().map_err(malformed)?;
                self.bound_runs(segments.len())?;
                self.sparse(size()?, &segments)
            }
            (b"1", b"0") => {
                let mut map = MapReader::default();
                loop {
                    let mut block = [0; BLOCK_BYTES];
                    if self.left < BLOCK_BYTES as u64 {
                        return Err(malformed("its sparse map is longer than the entry"));
                    }
                    let read = self.body().read_exact(&mut block);
                    read.map_err(|source| self.unreadable(source))?;
                    let runs_max = Limits::DEFAULT.sparse_runs_max;
                    if map.block(&block, runs_max).map_err(malformed)? {
                        break;
                    }
                }
                self.sparse(size()?, &map.segments)
            }
            _ => Err(malformed("it is sparse in a way that is not known")),
        }
    }

    fn bound_runs(&self, count: usize) -> Result<(), Error> {
        let limit = Limits::DEFAULT.sparse_runs_max;
        if count as u64 > limit {
            return Err(Error::Limit {
                entry: self.current.clone(),
                what: "the number of its sparse runs",
                limit,
            });
        }
        Ok(())
    }

    fn sparse(&self, size: u64, segments: &[Segment]) -> Result<EntryKind, Error> {
        if size > i64::MAX.cast_unsigned() || !sparse::is_valid(segments, size, self.left) {
            return Err(Error::Malformed {
                entry: self.current.clone(),
                what: "its sparse map does not fit its size",
            });
        }
        let kept = segments.iter().filter(|segment| segment.length > 0);
        let runs = kept.map(|segment| DataRun {
            offset: segment.offset,
            length: segment.length,
        });
        Ok(EntryKind::File {
            size,
            runs: runs.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Timestamp, Xattrs};
    use crate::read_at::ReadAt;
    use crate::write::{FileBytes, Kind, TarWriter};
    use lapstrake_testkit::tar::Tar;

    fn metadata(mode: u16) -> Metadata {
        Metadata {
            mode,
            uid: 7,
            gid: 3_000_000,
            mtime: Timestamp {
                seconds: 1_700_000_000,
                nanoseconds: 5,
            },
            xattrs: Xattrs::from([(b"user.a"[..].into(), b"b"[..].into())]),
        }
    }

    /// A file of a megabyte with bytes at its ends.
    struct Holey;

    impl ReadAt for Holey {
        fn read_exact_at(&self, _offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
            buffer.fill(b'x');
            Ok(())
        }
    }

    impl FileBytes for Holey {
        fn runs(&self, size: u64) -> std::io::Result<Vec<DataRun>> {
            let run = |offset| DataRun {
                offset,
                length: 4096,
            };
            Ok(vec![run(0), run(size - 4096)])
        }
    }

    fn all(tar: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, Error> {
        let mut archive = Archive::new(tar);
        let mut all = Vec::new();
        while let Some(entry) = archive.next_entry()? {
            let mut bytes = Vec::new();
            let read = archive.body().read_to_end(&mut bytes);
            read.map_err(|source| archive.unreadable(source))?;
            all.push((entry, bytes));
        }
        Ok(all)
    }

    #[test]
    fn what_is_written_is_read() {
        let long = "l/".repeat(80) + "end";
        let mut tar = TarWriter::new(Vec::new());
        let device = Device { major: 1, minor: 3 };
        tar.entry(b"d", &metadata(0o755), Kind::Directory).unwrap();
        tar.file(long.as_bytes(), &metadata(0o640), 3, &b"abc"[..])
            .unwrap();
        tar.file(b"holey", &metadata(0o644), 1 << 20, &Holey)
            .unwrap();
        tar.entry(b"hard", &metadata(0o640), Kind::HardLink(b"d/x"))
            .unwrap();
        tar.entry(b"soft", &metadata(0o777), Kind::Symlink(b"../up"))
            .unwrap();
        tar.entry(b"null", &metadata(0o666), Kind::CharDevice(device))
            .unwrap();
        tar.entry(b"pipe", &metadata(0o600), Kind::Fifo).unwrap();
        let tar = tar.finish().unwrap();
        let entry = |name: &str, mode, kind| Entry {
            name: name.as_bytes().to_vec(),
            metadata: metadata(mode),
            kind,
        };
        let run = |offset| DataRun {
            offset,
            length: 4096,
        };
        let expected = [
            (entry("d/", 0o755, EntryKind::Directory), 0),
            (
                entry(
                    &long,
                    0o640,
                    EntryKind::File {
                        size: 3,
                        runs: whole(3),
                    },
                ),
                3,
            ),
            (
                entry(
                    "holey",
                    0o644,
                    EntryKind::File {
                        size: 1 << 20,
                        runs: vec![run(0), run((1 << 20) - 4096)],
                    },
                ),
                8192,
            ),
            (
                entry("hard", 0o640, EntryKind::HardLink(b"d/x".to_vec())),
                0,
            ),
            (
                entry("soft", 0o777, EntryKind::Symlink(b"../up".to_vec())),
                0,
            ),
            (entry("null", 0o666, EntryKind::CharDevice(device)), 0),
            (entry("pipe", 0o600, EntryKind::Fifo), 0),
        ];
        let read = all(&tar).unwrap();
        let read: Vec<_> = read
            .into_iter()
            .map(|(entry, bytes)| (entry, bytes.len()))
            .collect();
        assert_eq!(read, expected);
    }

    #[test]
    fn names_come_as_they_are_written_and_sizes_are_bounded() {
        let tar = Tar::default()
            .file("../x", 0o644, b"1")
            .file("/y", 0o644, b"")
            .finish();
        let names: Vec<_> = all(&tar)
            .unwrap()
            .into_iter()
            .map(|(entry, _)| entry.name)
            .collect();
        assert_eq!(names, [b"../x".to_vec(), b"/y".to_vec()]);
        let long = vec![b'x'; 5000];
        let huge = vec![b'x'; 2 << 20];
        for (tar, words) in [
            (
                Tar::default()
                    .extended(&[("path", &long)])
                    .file("a", 0o644, b"")
                    .finish(),
                "its name exceeds the limit",
            ),
            (
                Tar::default()
                    .extended(&[("comment", &huge)])
                    .file("a", 0o644, b"")
                    .finish(),
                "exceeds the limit",
            ),
            (
                Tar::default()
                    .extended(&[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0")])
                    .file("a", 0o644, b"")
                    .finish(),
                "sparse map",
            ),
            (
                Tar::default()
                    .extended(&[
                        ("GNU.sparse.size", b"100"),
                        ("GNU.sparse.numblocks", b"1"),
                        ("GNU.sparse.map", b"90,20"),
                    ])
                    .file("a", 0o644, &[0; 20])
                    .finish(),
                "its sparse map does not fit its size",
            ),
        ] {
            let error = all(&tar).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
