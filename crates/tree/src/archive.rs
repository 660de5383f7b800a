//! The entries of a tar that is no layer, one after another: an archive of images, or of any files.
//!
//! Of an archive of images, only names, links and regular files are told ([`Archive::next`]). Names and targets are
//! paths below the archive's root, without `.`, `..` or empty parts; one that leaves the root is an error. Of
//! others, all is told, as it is written ([`Archive::next_entry`]).
//!
//! Whoever wants a file's bytes reads them before the next entry is asked for. Nothing is kept but the entry
//! at hand and the extended headers, whose size is bounded.

mod entry;

use std::io::{self, Read};

pub use entry::{Entry, EntryKind};

use crate::error::{Error, show};
use crate::header::{BLOCK_BYTES, Block, Header, is_zero};
use crate::pax::Attributes;

/// Bytes of one extended header, or of all global ones.
const EXTENDED_BYTES_MAX: u64 = 1 << 20;
/// Bytes of a path.
const PATH_BYTES_MAX: usize = 4096;

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where it is.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: MemberKind,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberKind {
    /// A regular file of so many bytes.
    File {
        /// In bytes.
        size: u64,
    },
    /// A hard or symbolic link.
    Link {
        /// To this path.
        target: Vec<u8>,
    },
    /// A directory.
    Directory,
    /// A device, a pipe, or what else there is.
    Other,
}

/// An archive being read.
#[derive(Debug)]
pub struct Archive<R> {
    input: R,
    /// Where the next byte is.
    offset: u64,
    /// Bytes of the current entry that were not read.
    left: u64,
    /// Bytes behind them, up to the next header.
    padding: u64,
    /// The current entry, for messages.
    current: String,
    global: Attributes,
    global_bytes: u64,
    ended: bool,
}

/// Whether these first bytes of a file are those of a tar: a header, or the zeros that end one.
pub fn begins_a_tar(start: &[u8]) -> bool {
    let block = start.first_chunk::<BLOCK_BYTES>();
    block.is_some_and(|block| is_zero(block) || Header::parse(block).is_some())
}

/// What comes before an entry and belongs to it.
#[derive(Default)]
struct Said {
    attributes: Attributes,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl<R: Read> Archive<R> {
    /// Reads from the first byte.
    pub fn new(input: R) -> Self {
        Self {
            input,
            offset: 0,
            left: 0,
            padding: 0,
            current: "the start".to_owned(),
            global: Attributes::default(),
            global_bytes: 0,
            ended: false,
        }
    }

    /// The next entry; none at the end. What was not read of the one before is passed over.
    ///
    /// # Errors
    /// If the archive is damaged or cut, a name leaves it, or it can't be read.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator would go on after an error"
    )]
    pub fn next(&mut self) -> Result<Option<Member>, Error> {
        let mut said = Said::default();
        match self.header(&mut said)? {
            Some(block) => self.member(&parsed(&block), &said).map(Some),
            None => Ok(None),
        }
    }

    /// The next entry's header, with what was said before it; none at the end.
    fn header(&mut self, said: &mut Said) -> Result<Option<Block>, Error> {
        loop {
            self.pass_over()?;
            let mut block = [0; BLOCK_BYTES];
            if self.ended || !self.block(&mut block)? {
                self.ended = true;
                return Ok(None);
            }
            if is_zero(&block) {
                self.ended = true;
                self.drain()?;
                return Ok(None);
            }
            let offset = self.offset - BLOCK_BYTES as u64;
            let header = Header::parse(&block).ok_or_else(|| Error::Checksum {
                offset,
                after: self.current.clone(),
            })?;
            let malformed = |what| Error::Malformed {
                entry: show(&header.name()),
                what,
            };
            let size = header.size().map_err(malformed)?;
            match header.kind() {
                b'x' | b'X' => {
                    let payload = self.extended(&header, size)?;
                    said.attributes.read(&payload).map_err(malformed)?;
                }
                b'g' => {
                    self.global_bytes = self.global_bytes.saturating_add(size);
                    let payload = self.extended(&header, self.global_bytes.max(size))?;
                    self.global.read(&payload).map_err(malformed)?;
                }
                b'L' => said.name = Some(self.long(&header, size)?),
                b'K' => said.link = Some(self.long(&header, size)?),
                _ => return Ok(Some(block)),
            }
        }
    }

    /// The bytes of the current entry that were not read yet.
    pub fn body(&mut self) -> Body<'_, R> {
        Body(self)
    }

    fn member(&mut self, header: &Header<'_>, said: &Said) -> Result<Member, Error> {
        let name = said.attributes.path(&self.global).map(<[u8]>::to_vec);
        let name = name.or_else(|| said.name.clone());
        let name = name.unwrap_or_else(|| header.name());
        self.current = show(&name);
        let malformed = |what| Error::Malformed {
            entry: show(&name),
            what,
        };
        let size = match said.attributes.size(&self.global) {
            Some(size) => size,
            None => header.size().map_err(malformed)?,
        };
        let path = below_root(&[], &name)?;
        let link = said.attributes.link(&self.global);
        let link = link.or(said.link.as_deref());
        let link = link.unwrap_or(header.link_name());
        let sparse = &said.attributes.sparse;
        let is_sparse = sparse.size.is_some() || sparse.version.0.is_some();
        let (kind, size) = match header.kind() {
            b'0' | 0 | b'7' if is_sparse => {
                return Err(malformed("sparse files are not read in archives of images"));
            }
            b'0' | 0 if name.ends_with(b"/") => (MemberKind::Directory, 0),
            b'0' | 0 | b'7' => (MemberKind::File { size }, size),
            b'S' => return Err(malformed("sparse files are not read in archives of images")),
            b'1' => {
                let target = below_root(&[], link)?;
                (MemberKind::Link { target }, 0)
            }
            b'2' => {
                let parent = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                let parent = if link.starts_with(b"/") {
                    &[]
                } else {
                    &path[..parent]
                };
                let target = below_root(parent, link)?;
                (MemberKind::Link { target }, 0)
            }
            b'5' => (MemberKind::Directory, 0),
            b'3' | b'4' | b'6' => (MemberKind::Other, 0),
            _ => (MemberKind::Other, size),
        };
        self.expect(size).map_err(malformed)?;
        Ok(Member { path, kind })
    }

    /// Says that so many bytes of an entry follow.
    fn expect(&mut self, size: u64) -> Result<(), &'static str> {
        let block = BLOCK_BYTES as u64;
        size.checked_next_multiple_of(block)
            .ok_or("its size is no number")?;
        self.left = size;
        self.padding = size.next_multiple_of(block) - size;
        Ok(())
    }

    /// The payload of an extended header; `total` is what is bounded.
    fn extended(&mut self, header: &Header<'_>, total: u64) -> Result<Vec<u8>, Error> {
        if total > EXTENDED_BYTES_MAX {
            return Err(Error::Limit {
                entry: show(&header.name()),
                what: "an extended header",
                limit: EXTENDED_BYTES_MAX,
            });
        }
        let malformed = |what| Error::Malformed {
            entry: show(&header.name()),
            what,
        };
        let size = header.size().map_err(malformed)?;
        self.current = show(&header.name());
        self.expect(size).map_err(malformed)?;
        let mut payload = Vec::new();
        self.body()
            .read_to_end(&mut payload)
            .map_err(|source| self.unreadable(source))?;
        Ok(payload)
    }

    /// A long name of GNU's.
    fn long(&mut self, header: &Header<'_>, size: u64) -> Result<Vec<u8>, Error> {
        let mut name = self.extended(header, size)?;
        let end = name.iter().position(|byte| *byte == 0);
        name.truncate(end.unwrap_or(name.len()));
        Ok(name)
    }

    /// Reads one block; false if there are no more bytes.
    fn block(&mut self, block: &mut Block) -> Result<bool, Error> {
        let mut filled = 0;
        while filled < block.len() {
            match self.input.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(self.truncated()),
                Ok(count) => {
                    filled += count;
                    self.offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.unreadable(source)),
            }
        }
        Ok(true)
    }

    fn pass_over(&mut self) -> Result<(), Error> {
        let unread = self.left + self.padding;
        let passed = io::copy(&mut self.input.by_ref().take(unread), &mut io::sink());
        let passed = passed.map_err(|source| self.unreadable(source))?;
        self.offset += passed;
        if passed < unread {
            return Err(self.truncated());
        }
        (self.left, self.padding) = (0, 0);
        Ok(())
    }

    /// Reads what is behind the end: whoever writes it should not find the pipe closed, and a
    /// compressed stream is whole only if its end is.
    fn drain(&mut self) -> Result<(), Error> {
        io::copy(&mut self.input, &mut io::sink())
            .map(drop)
            .map_err(|source| self.unreadable(source))
    }

    fn truncated(&self) -> Error {
        Error::Truncated {
            entry: self.current.clone(),
            offset: self.offset,
        }
    }

    fn unreadable(&self, source: io::Error) -> Error {
        if source.kind() == io::ErrorKind::UnexpectedEof {
            return self.truncated();
        }
        Error::Io {
            action: "read the archive",
            source,
        }
    }
}

/// The header of a block that was parsed before.
fn parsed(block: &Block) -> Header<'_> {
    Header::parse(block).expect("its checksum was right")
}

/// The rest of an entry's bytes.
#[derive(Debug)]
pub struct Body<'a, R>(&'a mut Archive<R>);

impl<R: Read> Read for Body<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.0.left).unwrap_or(usize::MAX);
        let room = room.min(out.len());
        if room == 0 {
            return Ok(0);
        }
        let count = self.0.input.read(&mut out[..room])?;
        if count == 0 {
            let error = self.0.truncated();
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, error));
        }
        self.0.left -= count as u64;
        self.0.offset += count as u64;
        Ok(count)
    }
}

/// A path seen from a directory, without `.`, `..` and empty parts.
fn below_root(directory: &[u8], path: &[u8]) -> Result<Vec<u8>, Error> {
    if path.len() > PATH_BYTES_MAX {
        return Err(Error::Limit {
            entry: show(path),
            what: "a path",
            limit: PATH_BYTES_MAX as u64,
        });
    }
    let mut parts: Vec<&[u8]> = Vec::new();
    let all = directory.split(|byte| *byte == b'/');
    for part in all.chain(path.split(|byte| *byte == b'/')) {
        match part {
            b"" | b"." => {}
            b".." => {
                parts
                    .pop()
                    .ok_or_else(|| Error::Breakout { path: show(path) })?;
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Class;
    use lapstrake_testkit::tar::Tar;

    fn list(tar: &[u8]) -> Result<Vec<(String, String)>, Error> {
        let mut archive = Archive::new(tar);
        let mut all = Vec::new();
        while let Some(Member { path, kind }) = archive.next()? {
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
            let what = match kind {
                MemberKind::File { .. } => {
                    let mut bytes = Vec::new();
                    archive
                        .body()
                        .read_to_end(&mut bytes)
                        .map_err(|source| archive.unreadable(source))?;
                    text(bytes)
                }
                MemberKind::Link { target } => format!("-> {}", text(target)),
                MemberKind::Directory => "/".to_owned(),
                MemberKind::Other => "?".to_owned(),
            };
            all.push((text(path), what));
        }
        Ok(all)
    }

    fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
        all.iter()
            .map(|(path, what)| ((*path).to_owned(), (*what).to_owned()))
            .collect()
    }

    #[test]
    fn entries_come_in_order_with_normal_paths() {
        let long = "l/".repeat(80) + "end";
        let tar = Tar::default()
            .directory("./a/", 0o755)
            .file("./a//x", 0o644, b"one")
            .symlink("a/y", "../b/./z")
            .hard_link("h", "a/x")
            .fifo("pipe", 0o644)
            .extended(&[("path", long.as_bytes())])
            .file("short", 0o644, b"two")
            .finish();
        let long = long.as_str();
        assert_eq!(
            list(&tar).unwrap(),
            pairs(&[
                ("a", "/"),
                ("a/x", "one"),
                ("a/y", "-> b/z"),
                ("h", "-> a/x"),
                ("pipe", "?"),
                (long, "two")
            ])
        );
    }

    #[test]
    fn what_was_not_read_is_passed_over() {
        let tar = Tar::default()
            .file("a", 0o644, &[7; 1000])
            .file("b", 0o644, b"b")
            .finish();
        let mut archive = Archive::new(&tar[..]);
        archive.next().unwrap();
        let mut one = [0];
        archive.body().read_exact(&mut one).unwrap();
        assert_eq!(archive.next().unwrap().unwrap().path, b"b");
        assert_eq!(archive.next().unwrap(), None);
        assert_eq!(archive.next().unwrap(), None);
    }

    #[test]
    fn what_leaves_the_archive_or_is_cut_is_refused() {
        let file = |path| Tar::default().file(path, 0o644, b"x").finish();
        let cases = [
            (file("../x"), "leaves the root"),
            (file("a/../../x"), "leaves the root"),
            (
                Tar::default().symlink("a/b", "../../x").finish(),
                "leaves the root",
            ),
            (
                Tar::default().hard_link("a", "../x").finish(),
                "leaves the root",
            ),
            (file("a")[..700].to_vec(), "ends at byte"),
            (file("a")[..100].to_vec(), "ends at byte"),
            (b"no tar".repeat(200), "no valid tar header"),
            (
                Tar::default()
                    .extended(&[("comment", &[b'x'; 2 << 20])])
                    .file("a", 0o644, b"")
                    .finish(),
                "exceeds the limit",
            ),
            (
                Tar::default()
                    .extended(&[("GNU.sparse.major", b"1")])
                    .file("a", 0o644, b"")
                    .finish(),
                "sparse",
            ),
        ];
        for (tar, words) in cases {
            let error = list(&tar).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!(error.class(), Class::Input, "{error}");
        }
        assert_eq!(list(b"").unwrap(), []);
    }

    #[test]
    fn tars_are_told_from_other_files() {
        assert!(begins_a_tar(&Tar::default().file("a", 0o644, b"").finish()));
        assert!(begins_a_tar(&[0; 1024]));
        assert!(!begins_a_tar(&[b' '; 1024]));
        assert!(!begins_a_tar(b"{}"));
    }
}
