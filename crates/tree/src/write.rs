//! Writes tars: the same entries give the same bytes, and what a tree can say is in them.
//!
//! Headers are POSIX ustar. What does not fit one (long names, large numbers, fractions of a second,
//! attributes, holes) goes into a PAX extended header before it. Both GNU tar and Go's reader, which
//! Docker, containerd, skopeo and podman have in common, read all of it, but for attributes with `=` in
//! their names, which only libarchive's spelling can hold and they leave out.
//!
//! Files with large holes are written as PAX format 1.0 of GNU's sparse files; others are plain, since a
//! map costs a kilobyte and not every reader keeps the holes.
//!
//! What no tar can say is refused by the reader of this crate, not here.

mod header;
mod records;

use std::io::{self, Write};

use crate::{
    model::{Device, Metadata},
    read_at::ReadAt,
    whiteout,
};

use header::{Head, octal_fits};
use records::Records;

/// Bytes read from a file at a time.
const BUFFER_BYTES: usize = 256 << 10;
/// Files are sparse in the tar if their holes are this many bytes or more.
const HOLES_BYTES_MIN: u64 = 64 << 10;
/// A file of more runs is written plain: the map must stay small, for us and for other readers.
const RUNS_MAX: usize = 1 << 16;
/// Blocks of zeros that end a tar, in bytes.
const END_BYTES: usize = 1024;
const BLOCK_BYTES: u64 = 512;

/// A run of a file that has bytes; what is between runs reads as zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataRun {
    /// Where in the file, in bytes.
    pub offset: u64,
    /// How many bytes.
    pub length: u64,
}

/// A file's contents, to be put into a tar.
pub trait FileBytes: ReadAt {
    /// The runs of a file of that size, in ascending order, none empty, none beyond the size. All of
    /// it in one run is always right.
    fn runs(&self, size: u64) -> io::Result<Vec<DataRun>>;
}

impl FileBytes for [u8] {
    fn runs(&self, size: u64) -> io::Result<Vec<DataRun>> {
        Ok(whole(size))
    }
}

/// A file without holes, as runs.
pub fn whole(size: u64) -> Vec<DataRun> {
    let run = DataRun {
        offset: 0,
        length: size,
    };
    Vec::from_iter((size > 0).then_some(run))
}

/// What an entry is, other than a regular file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind<'a> {
    /// A directory.
    Directory,
    /// One more name for an entry before it, given by its path.
    HardLink(&'a [u8]),
    /// A symbolic link and its target.
    Symlink(&'a [u8]),
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
}

/// Writes one tar. Paths have no leading slash; the root's is empty.
pub struct TarWriter<W> {
    out: W,
    buffer: Vec<u8>,
}

impl<W> std::fmt::Debug for TarWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TarWriter").finish_non_exhaustive()
    }
}

impl<W: Write> TarWriter<W> {
    /// Begins a tar.
    pub fn new(out: W) -> Self {
        Self {
            out,
            buffer: Vec::new(),
        }
    }

    /// Adds an entry that has no contents.
    pub fn entry(&mut self, path: &[u8], metadata: &Metadata, kind: Kind<'_>) -> io::Result<()> {
        let name = match (kind, path) {
            (Kind::Directory, b"") => b"./".to_vec(),
            // Only `/` itself, which archives of files may name.
            (Kind::Directory, b"/") => b"/".to_vec(),
            (Kind::Directory, _) => [path, b"/"].concat(),
            _ => path.to_vec(),
        };
        let (flag, link, device) = match kind {
            Kind::Directory => (b'5', &b""[..], None),
            Kind::HardLink(target) => (b'1', target, None),
            Kind::Symlink(target) => (b'2', target, None),
            Kind::CharDevice(device) => (b'3', &b""[..], Some(device)),
            Kind::BlockDevice(device) => (b'4', &b""[..], Some(device)),
            Kind::Fifo => (b'6', &b""[..], None),
        };
        let mut records = Records::default();
        let mut head = Head::new(flag);
        records.name(&mut head, &name);
        records.link(&mut head, link);
        // Of a link, too: Go's readers set owner and mode anew for each name of a file, and a new owner
        // takes the file's capabilities away.
        records.metadata(&mut head, metadata);
        head.device(device.unwrap_or(Device { major: 0, minor: 0 }));
        self.header(path, &head, &records)
    }

    /// Adds a regular file, reading its contents once. An error of kind `UnexpectedEof` if they are
    /// shorter than `size`.
    pub fn file(
        &mut self,
        path: &[u8],
        metadata: &Metadata,
        size: u64,
        bytes: &(impl FileBytes + ?Sized),
    ) -> io::Result<()> {
        let runs = bytes.runs(size)?;
        let stored: u64 = runs.iter().map(|run| run.length).sum();
        if size - stored < HOLES_BYTES_MIN || runs.len() > RUNS_MAX {
            self.plain_header(path, metadata, size)?;
            self.contents(&whole(size), size, bytes)
        } else {
            let mut records = Records::default();
            let mut head = Head::new(b'0');
            let map = sparse_map(&runs, size);
            let stored = stored + map.len() as u64;
            head.name(&made_up(b"GNUSparseFile.0/", path));
            records.sparse(path, size);
            records.size(&mut head, stored);
            records.metadata(&mut head, metadata);
            self.header(path, &head, &records)?;
            self.out.write_all(&map)?;
            self.contents(&runs, stored, bytes)
        }
    }

    /// Adds a regular file whose contents `put` writes: exactly `size` bytes.
    ///
    /// # Errors
    /// Whatever `put` says, or the output.
    pub fn stream<E: From<io::Error>>(
        &mut self,
        path: &[u8],
        metadata: &Metadata,
        size: u64,
        put: impl FnOnce(&mut W) -> Result<(), E>,
    ) -> Result<(), E> {
        self.plain_header(path, metadata, size)?;
        put(&mut self.out)?;
        Ok(self.pad(size)?)
    }

    /// Hides a name of the layers below: the last one of `path`.
    pub fn whiteout(&mut self, path: &[u8]) -> io::Result<()> {
        self.mark(&whiteout::name_that_hides(path))
    }

    /// Hides everything that the layers below have in this directory.
    pub fn opaque(&mut self, directory: &[u8]) -> io::Result<()> {
        self.mark(&whiteout::name_that_hides_all_of(directory))
    }

    /// Ends the tar.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; END_BYTES])?;
        Ok(self.out)
    }

    fn mark(&mut self, name: &[u8]) -> io::Result<()> {
        let mut records = Records::default();
        let mut head = Head::new(b'0');
        records.name(&mut head, name);
        head.plain();
        self.header(name, &head, &records)
    }

    /// The header of a regular file without holes.
    fn plain_header(&mut self, path: &[u8], metadata: &Metadata, size: u64) -> io::Result<()> {
        let mut records = Records::default();
        let mut head = Head::new(b'0');
        records.name(&mut head, path);
        records.size(&mut head, size);
        records.metadata(&mut head, metadata);
        self.header(path, &head, &records)
    }

    fn header(&mut self, path: &[u8], head: &Head, records: &Records) -> io::Result<()> {
        let payload = records.payload();
        if !payload.is_empty() {
            let mut before = Head::new(b'x');
            before.name(&made_up(b"PaxHeaders/", path));
            before.plain();
            let length = payload.len() as u64;
            if !octal_fits(length, header::SIZE) {
                return Err(io::Error::from(io::ErrorKind::FileTooLarge));
            }
            before.size(length);
            self.out.write_all(&before.done())?;
            self.out.write_all(payload)?;
            self.pad(length)?;
        }
        self.out.write_all(&head.done())
    }

    fn contents(
        &mut self,
        runs: &[DataRun],
        stored: u64,
        bytes: &(impl FileBytes + ?Sized),
    ) -> io::Result<()> {
        self.buffer.resize(BUFFER_BYTES, 0);
        for run in runs {
            let (mut at, mut left) = (run.offset, run.length);
            while left > 0 {
                let step =
                    usize::try_from(left).map_or(BUFFER_BYTES, |left| left.min(BUFFER_BYTES));
                bytes.read_exact_at(at, &mut self.buffer[..step])?;
                self.out.write_all(&self.buffer[..step])?;
                at += step as u64;
                left -= step as u64;
            }
        }
        self.pad(stored)
    }

    /// Fills the last block of so many bytes.
    fn pad(&mut self, length: u64) -> io::Result<()> {
        let padding = length.next_multiple_of(BLOCK_BYTES) - length;
        let zeros = [0; 512];
        let padding = usize::try_from(padding).expect("less than a block");
        self.out.write_all(&zeros[..padding])
    }
}

/// A name for headers whose real name is elsewhere: GNU's way, for readers that do not look there.
fn made_up(prefix: &[u8], path: &[u8]) -> Vec<u8> {
    let last = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let mut name = [prefix, last].concat();
    name.truncate(header::NAME);
    name
}

/// The map before a sparse file's contents. It ends at the file's end, as GNU tar wants it.
fn sparse_map(runs: &[DataRun], size: u64) -> Vec<u8> {
    let end = DataRun {
        offset: size,
        length: 0,
    };
    let last_end = runs.last().map_or(0, |run| run.offset + run.length);
    let end = (last_end < size).then_some(end);
    let mut map = format!("{}\n", runs.len() + usize::from(end.is_some())).into_bytes();
    for run in runs.iter().chain(&end) {
        map.extend_from_slice(format!("{}\n{}\n", run.offset, run.length).as_bytes());
    }
    map.resize(map.len().next_multiple_of(512), 0);
    map
}
