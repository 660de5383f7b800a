//! Changes as a layer's tar.

use std::io::{self, Write};

use crate::{
    error::show,
    model::Device,
    whiteout,
    write::{Kind, TarWriter},
};

use super::{Changes, Entry, Error, FileKind, Place, View, What, io_error};

/// Writes the layer that changes are, reading each changed file once. `upper` and `lower` are those that
/// the changes were found with.
///
/// # Errors
/// If a file can't be read or changed meanwhile, the output refuses, or no layer can hold a change.
pub fn write_layer<U: View, L: View, W: Write>(
    changes: &Changes,
    upper: &U,
    lower: &L,
    out: W,
) -> Result<W, Error> {
    let mut tar = TarWriter::new(Output(out));
    for entry in &changes.entries {
        representable(entry)?;
        write_entry(entry, upper, lower, &mut tar)?;
    }
    finish(tar)
}

/// Ends a tar.
pub(super) fn finish<W: Write>(tar: TarWriter<Output<W>>) -> Result<W, Error> {
    let out = tar.finish().map_err(|error| from_writer(error, b""))?;
    Ok(out.0)
}

/// Writes one entry, reading its file once.
pub(super) fn write_entry<U: View, L: View, W: Write>(
    entry: &Entry,
    upper: &U,
    lower: &L,
    tar: &mut TarWriter<Output<W>>,
) -> Result<(), Error> {
    match put(entry, upper, lower, tar) {
        Err(Error::Io { path, source, .. }) if is_unsteady(&source) => {
            Err(Error::Unsteady { path })
        }
        done => done,
    }
}

/// Whether a file is gone or shorter than it was a moment ago.
fn is_unsteady(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound
    )
}

fn put<U: View, L: View, W: Write>(
    entry: &Entry,
    upper: &U,
    lower: &L,
    tar: &mut TarWriter<Output<W>>,
) -> Result<(), Error> {
    let path = &entry.path;
    let written = match &entry.what {
        What::Whiteout => tar.whiteout(path),
        What::Directory { metadata, opaque } => {
            let written = tar.entry(path, metadata, Kind::Directory);
            written.and_then(|()| if *opaque { tar.opaque(path) } else { Ok(()) })
        }
        What::HardLink { target, metadata } => tar.entry(path, metadata, Kind::HardLink(target)),
        What::Other { metadata, kind } => match kind {
            FileKind::Symlink(target) => tar.entry(path, metadata, Kind::Symlink(target)),
            FileKind::CharDevice(device) => tar.entry(path, metadata, Kind::CharDevice(*device)),
            FileKind::BlockDevice(device) => tar.entry(path, metadata, Kind::BlockDevice(*device)),
            FileKind::Fifo => tar.entry(path, metadata, Kind::Fifo),
            FileKind::Directory | FileKind::File { .. } | FileKind::Socket => Ok(()),
        },
        What::File {
            metadata,
            size,
            bytes,
        } => match bytes {
            Place::Upper(place) => {
                let file = upper.open(place).map_err(io_error("open", place))?;
                tar.file(path, metadata, *size, &file)
            }
            Place::Lower(place) => {
                let file = lower.open(place).map_err(io_error("open", place))?;
                tar.file(path, metadata, *size, &file)
            }
        },
    };
    written.map_err(|error| from_writer(error, path))
}

/// Whether a layer has a word for it.
fn representable(entry: &Entry) -> Result<(), Error> {
    let refuse = |why| {
        Err(Error::Unrepresentable {
            path: show(&entry.path),
            why,
        })
    };
    if whiteout::is_reserved(&entry.path) {
        return refuse("layers give its name another meaning");
    }
    match &entry.what {
        What::Other {
            kind: FileKind::CharDevice(Device { major: 0, minor: 0 }),
            ..
        } => refuse("in a layer, character device 0:0 takes a name away"),
        _ => Ok(()),
    }
}

/// Marks errors of the output, to tell them from those of the files that are read.
pub(super) struct Output<W>(pub(super) W);

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct OutputError(io::Error);

impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.0.write(bytes);
        written.map_err(|error| io::Error::new(error.kind(), OutputError(error)))
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.0.flush();
        flushed.map_err(|error| io::Error::new(error.kind(), OutputError(error)))
    }
}

fn from_writer(error: io::Error, path: &[u8]) -> Error {
    match error.downcast::<OutputError>() {
        Ok(OutputError(error)) => Error::Output(error),
        Err(error) => io_error("read", path)(error),
    }
}
