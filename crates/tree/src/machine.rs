//! The tar format as a machine: it is shown a tar's bytes in order, says what comes next, and builds
//! the tree. It never sees file contents, only that they passed, so that the same machine reads a tar
//! being split and a skeleton whose data is elsewhere.

use std::collections::BTreeMap;

use crate::{
    builder::{Builder, Entry, Kind},
    contents::{Contents, Want},
    error::{Error, Refusal, show},
    header::{BLOCK_BYTES, Block, Header, Problem, Segment, is_zero, old_sparse_continuation},
    limits::Limits,
    metadata,
    model::{BLOCK, Content, Device, FileData, Metadata, Tree},
    pax::Attributes,
    sparse,
    sparse_map::MapReader,
};

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
    attributes_dropped: u64,
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
            attributes_dropped: 0,
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

    /// How many attributes were left out of the tree.
    pub(crate) fn attributes_dropped(&self) -> u64 {
        self.attributes_dropped
    }

    /// What comes next.
    pub(crate) fn want(&self) -> Want {
        match &self.state {
            State::Content(contents) => contents.want(),
            _ => Want::Literal,
        }
    }

    /// Zeros of [`Want::Zeros`] were written.
    pub(crate) fn zeros(&mut self, count: u64) {
        if let State::Content(contents) = &mut self.state {
            contents.zeros(count);
        }
        self.leave_contents();
    }

    /// Bytes of [`Want::Content`] passed.
    pub(crate) fn content(&mut self, count: u64) {
        self.tar_offset += count;
        if let State::Content(contents) = &mut self.state {
            contents.content(count);
        }
        self.leave_contents();
    }

    /// Goes on after contents that are over.
    fn leave_contents(&mut self) {
        if let State::Content(contents) = &self.state
            && contents.is_over()
        {
            self.state = after(contents.padding, |left| State::Padding { left });
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
            b'2' => Kind::Node(Content::Symlink(
                metadata::symlink_target(target())
                    .map_err(|why| self.refuse(why))?
                    .into(),
            )),
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

    fn device(&self, header: &Header<'_>) -> Result<Device, Error> {
        metadata::device(header).map_err(|why| self.refuse(why))
    }

    fn metadata(&mut self, header: &Header<'_>, local: &Attributes) -> Result<Metadata, Error> {
        let mut dropped = 0;
        let metadata = metadata::metadata(header, local, &self.global, &mut dropped);
        self.attributes_dropped += dropped;
        metadata.map_err(|why| self.refuse(why))
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
        let zeros_after = self.data_end - data_offset - file.size;
        let contents = Contents::whole(data_offset, file.size, zeros_after, padding(file.stored));
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
        let contents = Contents::of_layout(layout.runs, layout.zeros_after, padding(file.stored));
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
        self.leave_contents();
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

    fn refuse(&self, why: Refusal) -> Error {
        why.of(self.current())
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
