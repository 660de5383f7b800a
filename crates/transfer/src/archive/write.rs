//! Writes what was planned: as a tar on a stream, or as files in a directory.
//!
//! Layers come from the tar view as they are, with no copy of them on the way, and are checked on it: a
//! layer that is not what its name says makes an error before the archive is complete. On a stream, one
//! thread reads and writes while another compares the tar with its diff id. In a file, see [`mod@spans`].

mod spans;

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use lapstrake_oci::{Algorithm, DiffId, Digest};
use lapstrake_store::{LayerFiles, Store};
use lapstrake_tree::model::{Metadata, Timestamp, Xattrs};
use lapstrake_tree::view::TarView;
use lapstrake_tree::write::{Kind, TarWriter};

use super::plan::{Content, Entry, Plan};
use crate::error::{Error, Result};
use crate::stored::{self, not_sound};

/// Bytes read, written and hashed at a time: few enough for a cache that processors share, so many that
/// threads seldom wait for each other.
const BLOCK_BYTES: usize = 1 << 20;
/// Blocks on their way.
const BLOCKS: usize = 4;

/// What happens while images are saved, as it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SaveEvent {
    /// So many bytes of layers are to be written.
    Started {
        /// In bytes.
        bytes: u64,
    },
    /// So many more were.
    Written {
        /// In bytes.
        bytes: u64,
    },
    /// All of a layer was written, and was what its name says.
    Layer {
        /// Which.
        id: DiffId,
    },
}

/// What is written to.
pub enum Out<'a> {
    /// A stream, from start to end.
    Stream(&'a mut dyn Write),
    /// A regular file, of which several places are written at a time.
    File(&'a mut File),
}

impl std::fmt::Debug for Out<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Stream(_) => "Stream",
            Self::File(_) => "File",
        })
    }
}

impl Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stream(out) => out.write(bytes),
            Self::File(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stream(out) => out.flush(),
            Self::File(out) => out.flush(),
        }
    }
}

/// Writes an archive.
///
/// # Errors
/// If a layer can't be read or is not what its name says, or the output refuses: then what was written
/// is of no use.
pub fn write_tar(
    store: &Store,
    plan: &Plan,
    out: Out<'_>,
    tell: &(dyn Fn(SaveEvent) + Sync),
) -> Result<()> {
    tell(SaveEvent::Started {
        bytes: plan.layer_bytes(),
    });
    let mut tar = TarWriter::new(out);
    for entry in &plan.entries {
        let path = entry.path.as_bytes();
        match &entry.content {
            Content::Directory => tar
                .entry(path, &attributes(0o755), Kind::Directory)
                .map_err(Error::Output)?,
            content => tar
                .stream(path, &attributes(0o644), entry.size, |out| {
                    put(store, content, entry.size, out, tell).map_err(Wrapped::from)
                })
                .map_err(Error::from)?,
        }
    }
    let mut out = tar.finish().map_err(Error::Output)?;
    out.flush().map_err(Error::Output)
}

/// Writes the entries of an archive as files in a directory that is there and empty.
///
/// # Errors
/// As [`write_tar`].
pub fn write_directory(
    store: &Store,
    plan: &Plan,
    directory: &Path,
    tell: &(dyn Fn(SaveEvent) + Sync),
) -> Result<()> {
    tell(SaveEvent::Started {
        bytes: plan.layer_bytes(),
    });
    for Entry {
        path,
        size,
        content,
    } in &plan.entries
    {
        let path = directory.join(path);
        let unwritable = |source| Error::Unwritable {
            path: path.clone(),
            source,
        };
        if *content == Content::Directory {
            std::fs::create_dir(&path).map_err(unwritable)?;
            continue;
        }
        let mut file = File::create_new(&path).map_err(unwritable)?;
        let mut out = Out::File(&mut file);
        put(store, content, *size, &mut out, tell).map_err(|error| match error {
            Error::Output(source) => unwritable(source),
            other => other,
        })?;
    }
    Ok(())
}

/// Nothing of this host or this moment.
fn attributes(mode: u16) -> Metadata {
    Metadata {
        mode,
        uid: 0,
        gid: 0,
        mtime: Timestamp {
            seconds: 0,
            nanoseconds: 0,
        },
        xattrs: Xattrs::new(),
    }
}

fn put(
    store: &Store,
    content: &Content,
    size: u64,
    out: &mut Out<'_>,
    tell: &(dyn Fn(SaveEvent) + Sync),
) -> Result<()> {
    match content {
        Content::Directory => Ok(()),
        Content::Bytes(bytes) => out.write_all(bytes).map_err(Error::Output),
        Content::Layer(id) => {
            let layer = Layer::open(store, id, size)?;
            match out {
                Out::File(file) => layer.write_into(file, store, tell)?,
                Out::Stream(out) => layer.write(*out, tell)?,
            }
            tell(SaveEvent::Layer { id: id.clone() });
            Ok(())
        }
    }
}

/// A layer that is read to be saved.
struct Layer<'a> {
    id: &'a DiffId,
    files: LayerFiles,
    view: TarView<File, File>,
    size: u64,
}

impl<'a> Layer<'a> {
    fn open(store: &Store, id: &'a DiffId, size: u64) -> Result<Self> {
        let (files, view) = stored::open(store, id)?;
        let layer = Self {
            id,
            files,
            view,
            size,
        };
        let has = layer.view.summary().tar_len;
        if has != size {
            let why = format!("its tar has {has} bytes, not {size}");
            return Err(not_sound(id, &why));
        }
        Ok(layer)
    }

    /// Writes it span by span if it can be checked so, and otherwise from start to end.
    fn write_into(
        &self,
        file: &mut File,
        store: &Store,
        tell: &(dyn Fn(SaveEvent) + Sync),
    ) -> Result<()> {
        let start = file.stream_position().map_err(Error::Output)?;
        let is_sound = spans::write(self, store, file, start, tell)?;
        let end = if is_sound { self.size } else { 0 };
        file.seek(SeekFrom::Start(start + end))
            .map_err(Error::Output)?;
        if is_sound {
            Ok(())
        } else {
            // The diff id decides.
            self.write(file, tell)
        }
    }

    fn write(&self, out: &mut dyn Write, tell: &dyn Fn(SaveEvent)) -> Result<()> {
        let algorithm = self.id.0.algorithm();
        let (to_hash, blocks) = sync_channel(BLOCKS);
        // Room for all, so that giving one back never waits.
        let (back, empty) = sync_channel(BLOCKS);
        let got = thread::scope(|scope| {
            let hashing = thread::Builder::new()
                .name("hash".to_owned())
                .spawn_scoped(scope, move || hash(algorithm, &blocks, &back))
                .map_err(Error::NoThread)?;
            self.copy(out, &to_hash, &empty, tell)?;
            drop(to_hash);
            hashing.join().map_err(|_panic| Error::Panicked("hash"))
        })?;
        if got != self.id.0 {
            return Err(not_sound(self.id, &format!("its tar has digest {got}")));
        }
        Ok(())
    }

    /// Reads and writes block by block; each is hashed while the next one is read.
    fn copy(
        &self,
        out: &mut dyn Write,
        to_hash: &SyncSender<Vec<u8>>,
        empty: &Receiver<Vec<u8>>,
        tell: &dyn Fn(SaveEvent),
    ) -> Result<()> {
        let (mut at, mut made) = (0, 0);
        while at < self.size {
            let mut block = if made < BLOCKS {
                made += 1;
                Vec::with_capacity(BLOCK_BYTES)
            } else {
                empty.recv().map_err(|_gone| Error::Panicked("hash"))?
            };
            let step = usize::try_from(self.size - at).unwrap_or(BLOCK_BYTES);
            block.resize(step.min(BLOCK_BYTES), 0);
            self.read(at, &mut block)?;
            out.write_all(&block).map_err(Error::Output)?;
            let bytes = block.len() as u64;
            at += bytes;
            tell(SaveEvent::Written { bytes });
            to_hash
                .send(block)
                .map_err(|_gone| Error::Panicked("hash"))?;
        }
        Ok(())
    }

    /// Reads that part of the tar.
    fn read(&self, at: u64, block: &mut [u8]) -> Result<()> {
        let filled = self.view.read_at(at, block);
        if filled.map_err(|error| self.unreadable(error))? < block.len() {
            return Err(not_sound(self.id, &"its tar ends early"));
        }
        Ok(())
    }

    fn unreadable(&self, source: io::Error) -> Error {
        match source.kind() {
            io::ErrorKind::InvalidData => not_sound(self.id, &source),
            io::ErrorKind::UnexpectedEof => not_sound(self.id, &"its data ends early"),
            _ => Error::Unreadable {
                path: self.files.data.clone(),
                source,
            },
        }
    }
}

fn hash(algorithm: Algorithm, blocks: &Receiver<Vec<u8>>, back: &SyncSender<Vec<u8>>) -> Digest {
    let mut hasher = algorithm.hasher();
    while let Ok(block) = blocks.recv() {
        hasher.update(&block);
        // The reader may be done.
        drop(back.send(block));
    }
    hasher.finish()
}

/// An error on its way through a tar writer, whose own are the output's.
struct Wrapped(Error);

impl From<io::Error> for Wrapped {
    fn from(error: io::Error) -> Self {
        Self(Error::Output(error))
    }
}

impl From<Error> for Wrapped {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl From<Wrapped> for Error {
    fn from(Wrapped(error): Wrapped) -> Self {
        error
    }
}
