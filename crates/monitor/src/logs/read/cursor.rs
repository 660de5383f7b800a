//! A place in one file of a log.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::path::Path;

use crate::error::{Error, Result};
use crate::logs::entry::Entry;
use crate::logs::read::opened::{Content, Opened};
use crate::logs::{Format, json, local};
use crate::time::Timestamp;

#[derive(Debug)]
pub(super) struct Cursor {
    opened: Opened,
    format: Format,
    /// What was read of an entry that is not complete.
    begun: Vec<u8>,
    /// How many bytes of the file were read.
    position: u64,
    /// Entries still to pass over.
    pass: u64,
    /// Nothing is added to the file any more.
    complete: bool,
    /// Inside a line that is too long to be an entry.
    too_long: bool,
    /// Nothing more can be found in the file.
    broken: bool,
}

pub(super) enum Next {
    Entry(Entry),
    /// Something that is no entry.
    Garbage,
    /// All that is there was read.
    End,
}

impl Cursor {
    pub(super) fn new(opened: Opened, format: Format) -> Self {
        Self {
            opened,
            format,
            begun: Vec::new(),
            position: 0,
            pass: 0,
            complete: false,
            too_long: false,
            broken: false,
        }
    }

    pub(super) fn inode(&self) -> Option<u64> {
        self.opened.inode
    }

    pub(super) fn last_time(&self) -> Option<Timestamp> {
        self.opened.last_time
    }

    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    pub(super) fn set_complete(&mut self) {
        self.complete = true;
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// The file, if it can be read from anywhere.
    pub(super) fn plain(&self) -> Option<&File> {
        match &self.opened.content {
            Content::Plain(reader) => Some(reader.get_ref()),
            Content::Compressed(_) => None,
        }
    }

    /// Goes to an offset of a plain file where an entry starts.
    pub(super) fn seek(&mut self, offset: u64) -> io::Result<()> {
        if let Content::Plain(reader) = &mut self.opened.content {
            reader.seek(SeekFrom::Start(offset))?;
            self.position = offset;
            self.begun.clear();
        }
        Ok(())
    }

    /// Goes back to the start, and passes over so many entries.
    pub(super) fn restart(self, pass: u64) -> io::Result<Self> {
        let mut cursor = Self::new(self.opened.rewind()?, self.format);
        cursor.pass = pass;
        Ok(cursor)
    }

    /// The next entry. `path` is for messages.
    pub(super) fn next(&mut self, path: &Path) -> Result<Next> {
        loop {
            let next = match self.format {
                Format::JsonFile => self.next_line(),
                Format::Local => self.next_message(),
            };
            match next {
                Ok(Next::Entry(_)) if self.pass > 0 => self.pass -= 1,
                Ok(Next::End) if self.was_cut() => {
                    self.seek(0)
                        .map_err(|source| Error::io("read", path, source))?;
                }
                Ok(next) => return Ok(next),
                // A compressed file that is damaged or torn.
                Err(_) if self.plain().is_none() => {
                    self.broken = true;
                    return Ok(Next::Garbage);
                }
                Err(source) => return Err(Error::io("read", path, source)),
            }
        }
    }

    /// Leaves the file: what is left may be an entry whose line feed did not make it to the disk.
    pub(super) fn leave(&mut self) -> Option<Entry> {
        let left = std::mem::take(&mut self.begun);
        match self.format {
            Format::JsonFile if self.pass == 0 => json::decode(&left),
            Format::JsonFile | Format::Local => None,
        }
    }

    /// Whether somebody emptied the file behind us.
    fn was_cut(&self) -> bool {
        let metadata = self.plain().and_then(|file| file.metadata().ok());
        metadata.is_some_and(|metadata| metadata.len() < self.position)
    }

    fn next_line(&mut self) -> io::Result<Next> {
        loop {
            if self.broken {
                return Ok(Next::End);
            }
            let content = self.opened.content.reader();
            let there = content.fill_buf()?;
            if there.is_empty() {
                return Ok(Next::End);
            }
            let end = there.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(there.len(), |end| end + 1);
            if !self.too_long {
                self.begun
                    .extend_from_slice(there.get(..taken).unwrap_or(there));
            }
            content.consume(taken);
            self.position += taken as u64;
            if self.begun.len() > json::LINE_LIMIT {
                self.begun = Vec::new();
                self.too_long = true;
            }
            if end.is_some() {
                let entry = json::decode(&self.begun);
                self.begun.clear();
                self.too_long = false;
                return Ok(entry.map_or(Next::Garbage, Next::Entry));
            }
        }
    }

    fn next_message(&mut self) -> io::Result<Next> {
        loop {
            if self.broken {
                return Ok(Next::End);
            }
            let length = local::length(&self.begun);
            let whole = match length {
                None => local::LENGTH,
                Some(length @ 1..=local::ENTRY_LIMIT) => {
                    2 * local::LENGTH + usize::try_from(length).unwrap_or(usize::MAX)
                }
                // Where the next entry starts can't be known.
                Some(_) => {
                    self.broken = true;
                    return Ok(Next::Garbage);
                }
            };
            if length.is_some() && self.begun.len() == whole {
                let end = whole - local::LENGTH;
                let trailer = self.begun.get(end..).and_then(local::length);
                if trailer != length {
                    self.broken = true;
                    return Ok(Next::Garbage);
                }
                let message = self.begun.get(local::LENGTH..end).unwrap_or_default();
                let entry = local::decode(message);
                self.begun.clear();
                return Ok(entry.map_or(Next::Garbage, Next::Entry));
            }
            let content = self.opened.content.reader();
            let there = content.fill_buf()?;
            if there.is_empty() {
                return Ok(Next::End);
            }
            let taken = there.len().min(whole - self.begun.len());
            self.begun
                .extend_from_slice(there.get(..taken).unwrap_or(there));
            content.consume(taken);
            self.position += taken as u64;
        }
    }
}
