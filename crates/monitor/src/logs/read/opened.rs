//! A file of a log, open to be read, plain or compressed.
//!
//! It stays the same file when it is renamed; a compressed one tells in its header which it was.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use flate2::read::GzDecoder;

use crate::error::{Error, Result};
use crate::logs::files::{About, compressed_name, name};
use crate::time::Timestamp;

/// Which file the log is written to now; `None` if there is none.
pub(super) fn inode(path: &Path) -> Result<Option<u64>> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("look at", path, error)),
    }
}

/// A file of a log, to read.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) content: Content,
    /// Which file it is or was: the same even after it has been renamed and compressed.
    pub(super) inode: Option<u64>,
    /// For a compressed file: no entry is later.
    pub(super) last_time: Option<Timestamp>,
}

#[derive(Debug)]
pub(super) enum Content {
    Plain(BufReader<File>),
    Compressed(Box<BufReader<GzDecoder<BufReader<File>>>>),
}

impl Content {
    pub(super) fn reader(&mut self) -> &mut dyn BufRead {
        match self {
            Self::Plain(reader) => reader,
            Self::Compressed(reader) => reader,
        }
    }
}

/// Small, for a log that is followed holds them for long.
const BUFFER: usize = 16 << 10;

impl Opened {
    /// Opens a log's file, plain or compressed; `None` if there is none of that number.
    pub(super) fn open(path: &Path, index: u32) -> Result<Option<Self>> {
        let plain = name(path, index);
        match File::open(&plain) {
            Ok(file) => {
                let inode = file
                    .metadata()
                    .map_err(|source| Error::io("look at", &plain, source))?
                    .ino();
                return Ok(Some(Self {
                    content: Content::Plain(BufReader::with_capacity(BUFFER, file)),
                    inode: Some(inode),
                    last_time: None,
                }));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && index > 0 => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("open", &plain, error)),
        }
        let compressed = compressed_name(path, index);
        match File::open(&compressed) {
            Ok(file) => Ok(Some(Self::compressed(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("open", &compressed, error)),
        }
    }

    /// Back to the start.
    pub(super) fn rewind(self) -> io::Result<Self> {
        match self.content {
            Content::Plain(mut reader) => {
                reader.rewind()?;
                Ok(Self {
                    content: Content::Plain(reader),
                    ..self
                })
            }
            Content::Compressed(reader) => {
                let mut file = reader.into_inner().into_inner().into_inner();
                file.rewind()?;
                Ok(Self::compressed(file))
            }
        }
    }

    fn compressed(file: File) -> Self {
        let decoder = GzDecoder::new(BufReader::with_capacity(BUFFER, file));
        let mut content = Box::new(BufReader::with_capacity(BUFFER, decoder));
        // The header is known when the first bytes are; a broken one is met again when it is read.
        drop(content.fill_buf());
        let extra = content.get_ref().header().and_then(flate2::GzHeader::extra);
        let about = extra.and_then(|extra| serde_json::from_slice::<About>(extra).ok());
        Self {
            content: Content::Compressed(content),
            inode: about.and_then(|about| about.inode),
            last_time: about.map(|about| about.last_time),
        }
    }
}
