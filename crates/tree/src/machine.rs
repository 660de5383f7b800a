//! The tar format as a machine: it is shown a tar's bytes in order, says what comes next, and builds
//! the tree. It never sees file contents, only that they passed, so that the same machine reads a tar
//! being split and a skeleton whose data is elsewhere.

use std::collections::BTreeMap;

use crate::{
    builder::{Builder, Entry, Kind},
    error::{Error, show},
    header::{BLOCK_BYTES, Block, Header, Problem, Segment, is_zero, old_sparse_continuation},
    limits::{
        DEVICE_MAJOR_MAX, DEVICE_MINOR_MAX, Limits, PATH_BYTES_MAX, XATTR_LIST_BYTES_MAX,
        XATTR_NAME_BYTES_MAX, XATTR_TOTAL_BYTES_MAX, XATTR_VALUE_BYTES_MAX,
    },
    model::{BLOCK, Content, Device, FileData, Metadata, Timestamp, Tree, Xattrs},
    pax::Attributes,
    sparse::{self, Run},
    whiteout::steers_overlay,
};

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// Bytes of the tar that stay in the skeleton, as many as there are: see [`Machine::literal`].
    Literal,
    /// So many bytes of a file, whose place in `data` this is: see [`Machine::content`].
    Content { length: u64, data_offset: u64 },
    /// So many zeros in `data` that are not in the tar: see [`Machine::zeros`].
    Zeros(u64),
}

/// Reads one tar.
#[derive(Debug)]
pub(crate) struct Machine {
    limits: Limits,
    builder: Builder,
    state: State,
    /// A block of which only a part has come.
    block: Box<Block>,
    block_filled: usize,
    /// What extended headers say of the next entry and of all entries.
    local: Attributes,
    global: Attributes,
    global_bytes: u64,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    /// The entry being read or, between entries, the last one; for messages.
    current: Vec<u8>,
    entries: u64,
    tar_offset: u64,
    /// Where the next file's contents go.
    data_end: u64,
    /// What sparse files cost so far.
    sparse_bytes: u64,
}

#[derive(Debug)]
enum State {
    /// A header, or the zeros that end the archive.
    Header { zeros_seen: bool },
    /// The payload of an extended header, and then `padding` bytes.
    Extended {
        what: Extended,
        left: u64,
        padding: u64,
        payload: Vec<u8>,
    },
    /// A block that continues an old GNU sparse map.
    OldSparse { file: File, segments: Vec<Segment> },
    /// A block of the sparse map that PAX 1.0 keeps before the contents.
    SparseMap { file: File, map: MapReader },
    /// File contents and the zeros among them.
    Content(Contents),
    /// Bytes that mean nothing.
    Skip { left: u64 },
    /// Padding after contents: the one place besides a header where a tar may just end.
    Padding { left: u64 },
    /// After the end of the archive: anything.
    Trailer,
}

#[derive(Debug, Clone, Copy)]
enum Extended {
    Local,
    Global,
    LongName,
    LongLink,
}

/// A file whose sparse map is still being read.
#[derive(Debug)]
struct File {
    name: Vec<u8>,
    metadata: Metadata,
    /// As the reader of the file sees it, and in the tar.
    size: u64,
    stored: u64,
}

#[derive(Debug)]
struct Contents {
    zeros: u64,
    left: u64,
    data_offset: u64,
    runs: std::vec::IntoIter<Run>,
    zeros_after: u64,
    padding: u64,
}

impl Machine {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            builder: Builder::new(&limits),
            limits,
            state: State::Header { zeros_seen: false },
            block: Box::new([0; BLOCK_BYTES]),
            block_filled: 0,
            local: Attributes::default(),
            global: Attributes::default(),
            global_bytes: 0,
            long_name: None,
            long_link: None,
            current: Vec::new(),
            entries: 0,
            tar_offset: 0,
            data_end: 0,
            sparse_bytes: 0,
        }
    }

    /// How many bytes of the tar were shown.
    pub(crate) fn tar_len(&self) -> u64 {
        self.tar_offset
    }

    /// How long `data` is.
    pub(crate) fn data_len(&self) -> u64 {
        self.data_end
    }

    /// How many entries there were.
    pub(crate) fn entries(&self) -> u64 {
        self.entries
    }

    /// The entry being read or, between entries, the last one; for messages.
    fn current(&self) -> String {
        if self.entries == 0 {
            "the start".into()
        } else {
            show(&self.current)
        }
    }

    /// What comes next.
    pub(crate) fn want(&self) -> Want {
        match &self.state {
            State::Content(contents) if contents.zeros > 0 => Want::Zeros(contents.zeros),
            State::Content(contents) => Want::Content {
                length: contents.left,
                data_offset: contents.data_offset,
            },
            _ => Want::Literal,
        }
    }

    /// Zeros of [`Want::Zeros`] were written.
    pub(crate) fn zeros(&mut self, count: u64) {
        if let State::Content(contents) = &mut self.state {
            contents.zeros -= count;
        }
        self.settle();
    }

    /// Bytes of [`Want::Content`] passed.
    pub(crate) fn content(&mut self, count: u64) {
        self.tar_offset += count;
        if let State::Content(contents) = &mut self.state {
            contents.left -= count;
            contents.data_offset += count;
        }
        self.settle();
    }

    /// Leaves contents that are over.
    fn settle(&mut self) {
        let State::Content(contents) = &mut self.state else {
            return;
        };
        while contents.zeros == 0 && contents.left == 0 {
            if let Some(run) = contents.runs.next() {
                contents.zeros = run.zeros_before;
                contents.left = run.length;
                contents.data_offset = run.data_offset;
            } else if contents.zeros_after > 0 {
                contents.zeros = std::mem::take(&mut contents.zeros_after);
            } else {
                self.state = after(contents.padding, |left| State::Padding { left });
                return;
            }
        }
    }

    /// Reads bytes of [`Want::Literal`]; how many says the result, at least one if there are any.
    pub(crate) fn literal(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        let offset = self.tar_offset;
        let taken = match &mut self.state {
            State::Header { .. } | State::OldSparse { .. } | State::SparseMap { .. } => {
                return self.block_part(bytes);
            }
            State::Extended {
                left,
                padding,
                payload,
                ..
            } => {
                let taken = at_most(bytes, *left);
                payload.extend_from_slice(&bytes[..taken]);
                *left -= taken as u64;
                let skipped = at_most(&bytes[taken..], *padding);
                *padding -= skipped as u64;
                taken + skipped
            }
            State::Skip { left } | State::Padding { left } => {
                let taken = at_most(bytes, *left);
                *left -= taken as u64;
                taken
            }
            State::Trailer => bytes.len(),
            State::Content(_) => 0,
        };
        self.tar_offset = offset + taken as u64;
        match &self.state {
            State::Skip { left: 0 } | State::Padding { left: 0 } => self.state = HEADER,
            State::Extended {
                left: 0,
                padding: 0,
                ..
            } => self.extended_end()?,
            _ => {}
        }
        Ok(taken)
    }

    /// Reads a block, or a part of one.
    fn block_part(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        if self.block_filled == 0
            && let Some(block) = bytes.first_chunk::<BLOCK_BYTES>()
        {
            self.block_whole(block)?;
            return Ok(BLOCK_BYTES);
        }
        let taken = bytes.len().min(BLOCK_BYTES - self.block_filled);
        self.block[self.block_filled..][..taken].copy_from_slice(&bytes[..taken]);
        self.block_filled += taken;
        if self.block_filled == BLOCK_BYTES {
            self.block_filled = 0;
            let block = *self.block;
            self.block_whole(&block)?;
        }
        Ok(taken)
    }

    fn block_whole(&mut self, block: &Block) -> Result<(), Error> {
        match std::mem::replace(&mut self.state, HEADER) {
            State::OldSparse { file, mut segments } => {
                let (more, goes_on) =
                    old_sparse_continuation(block).map_err(|what| self.malformed(what))?;
                self.add_segments(&mut segments, more)?;
                self.old_sparse(file, segments, goes_on)?;
            }
            State::SparseMap { file, map } => self.sparse_map_block(file, map, block)?,
            State::Header { zeros_seen } => self.header(block, zeros_seen)?,
            other => self.state = other,
        }
        self.tar_offset += BLOCK_BYTES as u64;
        Ok(())
    }

    fn header(&mut self, block: &Block, zeros_seen: bool) -> Result<(), Error> {
        if is_zero(block) {
            self.state = if zeros_seen {
                State::Trailer
            } else {
                State::Header { zeros_seen: true }
            };
            return Ok(());
        }
        let header = Header::parse(block)
            .filter(|_| !zeros_seen)
            .ok_or_else(|| Error::Checksum {
                offset: self.tar_offset,
                after: self.current(),
            })?;
        let extended = match header.kind() {
            b'x' | b'X' => Extended::Local,
            b'g' => Extended::Global,
            b'L' => Extended::LongName,
            b'K' => Extended::LongLink,
            _ => return self.entry(&header),
        };
        let left = header.size().map_err(|what| self.malformed(what))?;
        let held = if matches!(extended, Extended::Global) {
            self.global_bytes
        } else {
            0
        };
        let limit = self.limits.extended_header_bytes_max;
        if left > limit.saturating_sub(held) {
            return Err(self.limit("its extended header", limit));
        }
        let padding = padding(left);
        self.state = State::Extended {
            what: extended,
            left,
            padding,
            payload: Vec::new(),
        };
        if left == 0 {
            self.extended_end()
        } else {
            Ok(())
        }
    }

    fn extended_end(&mut self) -> Result<(), Error> {
        let State::Extended {
            what, mut payload, ..
        } = std::mem::replace(&mut self.state, HEADER)
        else {
            return Ok(());
        };
        let read = match what {
            Extended::Local => {
                self.local = Attributes::default();
                self.local.read(&payload)
            }
            Extended::Global => {
                self.global_bytes += payload.len() as u64;
                self.global.read(&payload)
            }
            Extended::LongName | Extended::LongLink => {
                let end = payload
                    .iter()
                    .position(|byte| *byte == 0)
                    .unwrap_or(payload.len());
                payload.truncate(end);
                let place = match what {
                    Extended::LongLink => &mut self.long_link,
                    _ => &mut self.long_name,
                };
                *place = Some(payload).filter(|name| !name.is_empty());
                Ok(())
            }
        };
        read.map_err(|what| self.malformed(what))
    }

    fn entry(&mut self, header: &Header<'_>) -> Result<(), Error> {
        let local = std::mem::take(&mut self.local);
        let long_name = self.long_name.take();
        let long_link = self.long_link.take();
        // GNU's name wins over PAX', as it does in Docker, and PAX' over the header's.
        let name = long_name
            .or_else(|| local.sparse.name.clone())
            .or_else(|| local.path(&self.global).map(<[u8]>::to_vec))
            .unwrap_or_else(|| header.name());
        self.current.clone_from(&name);
        self.entries += 1;
        if self.entries > self.limits.entries_max {
            return Err(self.limit("the number of entries", self.limits.entries_max));
        }
        let size = match local.size(&self.global) {
            Some(size) => size,
            None => header.size().map_err(|what| self.malformed(what))?,
        };
        let target = || {
            long_link
                .or_else(|| local.link(&self.global).map(<[u8]>::to_vec))
                .unwrap_or_else(|| header.link_name().to_vec())
        };
        let kind = match header.kind() {
            b'1' => Kind::HardLink { target: target() },
            b'2' => Kind::Node(Content::Symlink(self.symlink_target(target())?.into())),
            b'3' => Kind::Node(Content::CharDevice(self.device(header)?)),
            b'4' => Kind::Node(Content::BlockDevice(self.device(header)?)),
            b'5' | b'D' => Kind::Node(Content::Directory(BTreeMap::new())),
            b'6' => Kind::Node(Content::Fifo),
            0 if name.last() == Some(&b'/') => Kind::Node(Content::Directory(BTreeMap::new())),
            // A volume's label, and a Solaris ACL: about files, but none themselves.
            b'V' | b'A' => {
                self.skip(size);
                return Ok(());
            }
            b'M' => return Err(self.malformed("it goes on from another volume of the archive")),
            // Any other kind is a file, as POSIX asks.
            _ => {
                let metadata = self.metadata(header, &local)?;
                let file = File {
                    name,
                    metadata,
                    size,
                    stored: size,
                };
                return self.file(header, &local, file);
            }
        };
        let metadata = self.metadata(header, &local)?;
        self.builder.insert(Entry {
            name,
            metadata,
            kind,
        })?;
        // GNU lists a directory's files in its contents; other kinds have none, whatever they say.
        self.skip(if header.kind() == b'D' { size } else { 0 });
        Ok(())
    }

    /// Passes over contents that stay in the skeleton.
    fn skip(&mut self, size: u64) {
        self.state = after(size.saturating_add(padding(size)), |left| State::Skip {
            left,
        });
    }

    fn symlink_target(&self, target: Vec<u8>) -> Result<Vec<u8>, Error> {
        if target.is_empty() {
            return Err(self.malformed("it is a symbolic link to nothing"));
        }
        if target.len() as u64 >= PATH_BYTES_MAX {
            return Err(self.limit("its target", PATH_BYTES_MAX - 1));
        }
        Ok(target)
    }

    fn device(&self, header: &Header<'_>) -> Result<Device, Error> {
        let (major, minor) = header.device().map_err(|what| self.malformed(what))?;
        let bounded = |number: i64, max: u64| {
            let number = u32::try_from(number)
                .ok()
                .filter(|number| u64::from(*number) <= max);
            number.ok_or_else(|| self.limit("its device number", max))
        };
        Ok(Device {
            major: bounded(major, DEVICE_MAJOR_MAX)?,
            minor: bounded(minor, DEVICE_MINOR_MAX)?,
        })
    }

    fn metadata(&self, header: &Header<'_>, local: &Attributes) -> Result<Metadata, Error> {
        let malformed = |what| self.malformed(what);
        let mode = header.mode().map_err(malformed)? & 0o7777;
        let uid = local
            .uid(&self.global)
            .map_or_else(|| header.uid(), Ok)
            .map_err(malformed)?;
        let gid = local
            .gid(&self.global)
            .map_or_else(|| header.gid(), Ok)
            .map_err(malformed)?;
        let mtime = match local.mtime(&self.global) {
            Some(mtime) => mtime,
            None => Timestamp {
                seconds: header.mtime().map_err(malformed)?,
                nanoseconds: 0,
            },
        };
        Ok(Metadata {
            mode: u16::try_from(mode).expect("masked to twelve bits"),
            uid: owner(uid)
                .ok_or("its owner is beyond 32 bits")
                .map_err(malformed)?,
            gid: owner(gid)
                .ok_or("its group is beyond 32 bits")
                .map_err(malformed)?,
            mtime,
            xattrs: self.xattrs(local)?,
        })
    }

    fn xattrs(&self, local: &Attributes) -> Result<Xattrs, Error> {
        let mut xattrs = Xattrs::new();
        for (name, value) in local.xattrs(&self.global) {
            if steers_overlay(name) || !has_namespace(name) {
                continue;
            }
            if name.contains(&0) {
                return Err(self.malformed("an attribute's name has a NUL in it"));
            }
            self.within(
                "an attribute's name",
                name.len() as u64,
                XATTR_NAME_BYTES_MAX,
            )?;
            self.within("an attribute", value.len() as u64, XATTR_VALUE_BYTES_MAX)?;
            xattrs.insert(Box::from(name), Box::from(value));
        }
        let names: usize = xattrs.keys().map(|name| name.len() + 1).sum();
        let values: usize = xattrs.values().map(|value| value.len()).sum();
        self.within(
            "the length of its attributes' names",
            names as u64,
            XATTR_LIST_BYTES_MAX,
        )?;
        let total = (names + values) as u64;
        self.within("the length of its attributes", total, XATTR_TOTAL_BYTES_MAX)?;
        Ok(xattrs)
    }

    fn file(
        &mut self,
        header: &Header<'_>,
        local: &Attributes,
        mut file: File,
    ) -> Result<(), Error> {
        if header.kind() == b'S' {
            let (segments, goes_on, size) =
                header.old_sparse().map_err(|what| self.malformed(what))?;
            file.size = size;
            return self.old_sparse(file, segments, goes_on);
        }
        let sparse = &local.sparse;
        let major = sparse.version.0.as_deref().unwrap_or_default();
        let minor = sparse.version.1.as_deref().unwrap_or_default();
        match (major, minor) {
            (b"", b"") if sparse.map.is_empty() && sparse.runs.is_none() => self.plain_file(file),
            (b"" | b"0", b"" | b"0" | b"1") => {
                let size = sparse.size.ok_or("its sparse map has no size");
                file.size = size.map_err(|what| self.malformed(what))?;
                let segments = sparse.segments().map_err(|what| self.malformed(what))?;
                self.sparse_file(file, segments)
            }
            (b"1", b"0") => {
                let size = sparse.size.ok_or("its sparse map has no size");
                file.size = size.map_err(|what| self.malformed(what))?;
                self.state = State::SparseMap {
                    file,
                    map: MapReader::default(),
                };
                Ok(())
            }
            _ => Err(self.malformed("it is sparse in a way that is not known")),
        }
    }

    fn old_sparse(
        &mut self,
        file: File,
        segments: Vec<Segment>,
        goes_on: bool,
    ) -> Result<(), Error> {
        if goes_on {
            self.state = State::OldSparse { file, segments };
            return Ok(());
        }
        self.sparse_file(file, segments)
    }

    fn add_segments(&self, to: &mut Vec<Segment>, more: Vec<Segment>) -> Result<(), Error> {
        let count = (to.len() + more.len()) as u64;
        self.within(
            "the number of its sparse runs",
            count,
            self.limits.sparse_runs_max,
        )?;
        to.extend(more);
        Ok(())
    }

    fn sparse_map_block(
        &mut self,
        mut file: File,
        mut map: MapReader,
        block: &Block,
    ) -> Result<(), Error> {
        file.stored = file
            .stored
            .checked_sub(BLOCK_BYTES as u64)
            .ok_or_else(|| self.malformed("its sparse map is longer than the entry"))?;
        let whole = map
            .block(block, self.limits.sparse_runs_max)
            .map_err(|what| self.malformed(what))?;
        if whole {
            return self.sparse_file(file, map.segments);
        }
        self.state = State::SparseMap { file, map };
        Ok(())
    }

    fn plain_file(&mut self, file: File) -> Result<(), Error> {
        let data_offset = self.data_end;
        self.data_end = self.data_room(data_offset, file.size)?;
        let contents = Contents {
            zeros: 0,
            left: file.size,
            data_offset,
            runs: Vec::new().into_iter(),
            zeros_after: self.data_end - data_offset - file.size,
            padding: padding(file.stored),
        };
        let data_offset = if file.size == 0 { 0 } else { data_offset };
        self.contents(file, FileData::Contiguous { data_offset }, contents)
    }

    fn sparse_file(&mut self, file: File, mut segments: Vec<Segment>) -> Result<(), Error> {
        let count = segments.len() as u64;
        self.within(
            "the number of its sparse runs",
            count,
            self.limits.sparse_runs_max,
        )?;
        if file.size > i64::MAX.cast_unsigned()
            || !sparse::is_valid(&segments, file.size, file.stored)
        {
            return Err(self.malformed("its sparse map does not fit its size"));
        }
        segments.retain(|segment| segment.length > 0);
        if file.size == 0 {
            return self.plain_file(file);
        }
        let (bits, cost) = sparse::chunk_bits(file.size, &segments);
        self.data_room(self.data_end, cost)?;
        let layout = sparse::layout(file.size, &segments, bits, self.data_end);
        let budget = self
            .limits
            .sparse_bytes_base
            .saturating_add(self.tar_offset);
        self.sparse_bytes = self.sparse_bytes.saturating_add(layout.overhead);
        if self.sparse_bytes > budget {
            return Err(self.limit("what its holes would take up", budget));
        }
        self.data_end = layout.data_end;
        let contents = Contents {
            zeros: 0,
            left: 0,
            data_offset: 0,
            runs: layout.runs.into_iter(),
            zeros_after: layout.zeros_after,
            padding: padding(file.stored),
        };
        self.contents(file, layout.data, contents)
    }

    fn contents(&mut self, file: File, data: FileData, contents: Contents) -> Result<(), Error> {
        let kind = Kind::Node(Content::File {
            size: file.size,
            data,
        });
        self.builder.insert(Entry {
            name: file.name,
            metadata: file.metadata,
            kind,
        })?;
        self.state = State::Content(contents);
        self.settle();
        Ok(())
    }

    /// Where `data` ends after so many bytes more, blocks filled.
    fn data_room(&self, from: u64, length: u64) -> Result<u64, Error> {
        let end = from
            .checked_add(length)
            .and_then(|end| end.checked_next_multiple_of(BLOCK));
        end.filter(|end| *end <= self.limits.data_bytes_max)
            .ok_or_else(|| {
                self.limit(
                    "the contents of the layer's files",
                    self.limits.data_bytes_max,
                )
            })
    }

    /// The tree, if the tar is whole.
    pub(crate) fn finish(self) -> Result<Tree, Error> {
        let whole = self.block_filled == 0
            && matches!(
                self.state,
                State::Header { .. } | State::Padding { .. } | State::Trailer
            );
        if !whole {
            let offset = self.tar_offset + self.block_filled as u64;
            let entry = match self.state {
                State::Header { .. } => format!("the header after {}", self.current()),
                State::Extended { .. } => format!("the extended header after {}", self.current()),
                _ => self.current(),
            };
            return Err(Error::Truncated { entry, offset });
        }
        Ok(self.builder.finish())
    }

    fn malformed(&self, what: Problem) -> Error {
        Error::Malformed {
            entry: self.current(),
            what,
        }
    }

    fn limit(&self, what: &'static str, limit: u64) -> Error {
        Error::Limit {
            entry: self.current(),
            what,
            limit,
        }
    }

    fn within(&self, what: &'static str, value: u64, max: u64) -> Result<(), Error> {
        if value > max {
            Err(self.limit(what, max))
        } else {
            Ok(())
        }
    }
}

const HEADER: State = State::Header { zeros_seen: false };

/// The state that passes over `length` bytes, or what follows it when there are none.
fn after(length: u64, state: fn(u64) -> State) -> State {
    if length == 0 { HEADER } else { state(length) }
}

/// What fills the last block of so many bytes.
fn padding(length: u64) -> u64 {
    let block = BLOCK_BYTES as u64;
    (block - length % block) % block
}

fn at_most(bytes: &[u8], left: u64) -> usize {
    usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()))
}

/// Ids are 32 bits. Writers that took them for signed ones stored -2 for 4294967294; -1 is nobody's.
fn owner(id: i64) -> Option<u32> {
    let id = if (i64::from(i32::MIN)..0).contains(&id) {
        id + (1 << 32)
    } else {
        id
    };
    u32::try_from(id).ok().filter(|id| *id != u32::MAX)
}

/// Linux knows no other attributes, so no file could have them: GNU tar drops them with a warning.
fn has_namespace(attribute: &[u8]) -> bool {
    let namespaces: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
    let acls: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];
    namespaces
        .iter()
        .any(|prefix| attribute.len() > prefix.len() && attribute.starts_with(prefix))
        || acls.contains(&attribute)
}

/// Reads the sparse map of PAX 1.0: decimal numbers, one a line; how many runs, then the runs.
#[derive(Debug, Default)]
struct MapReader {
    /// The number whose line has not ended.
    number: Option<u64>,
    /// How many runs there will be, once known.
    runs: Option<u64>,
    /// An offset that waits for its length.
    offset: Option<u64>,
    segments: Vec<Segment>,
}

impl MapReader {
    /// Reads a block; whether the map is whole with it.
    fn block(&mut self, block: &Block, runs_max: u64) -> Result<bool, Problem> {
        for byte in block {
            match byte {
                b'0'..=b'9' => {
                    let digit = u64::from(byte - b'0');
                    let number = self.number.unwrap_or(0).checked_mul(10);
                    let number = number.and_then(|number| number.checked_add(digit));
                    self.number = Some(number.ok_or("its sparse map has too large a number")?);
                }
                b'\n' => {
                    let number = self
                        .number
                        .take()
                        .ok_or("its sparse map has an empty line")?;
                    self.line(number, runs_max)?;
                }
                _ => return Err("its sparse map has something that is no number"),
            }
            if self.runs == Some(self.segments.len() as u64) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn line(&mut self, number: u64, runs_max: u64) -> Result<(), Problem> {
        if self.runs.is_none() {
            if number > runs_max {
                return Err("its sparse map has too many runs");
            }
            self.runs = Some(number);
        } else if let Some(offset) = self.offset.take() {
            self.segments.push(Segment {
                offset,
                length: number,
            });
        } else {
            self.offset = Some(number);
        }
        Ok(())
    }
}
