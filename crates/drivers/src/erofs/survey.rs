//! The files of a stack, open and measured.
//!
//! Invariant: a [`Survey`] exists only if every file is a regular one of the recorded length, and
//! every index has the recorded digest. Files are mounted through the descriptors held here, so
//! nothing can be put in their place between check and mount.

use std::os::fd::AsFd;
use std::sync::Arc;

use lapstrake_oci::DiffId;
use lapstrake_snapshot::{Error, Layer, OpenFile, Result, Shared, StoredFile, Value, io};
use lapstrake_sys::{file, parallel};

use super::plan::Backing;

/// How much of an index is read ahead while the layer's data file is opened.
const PREFETCH: u64 = 1 << 20;
/// How much of an index is hashed at once.
const PIECE: usize = 256 << 10;

/// The open files of one layer.
#[derive(Debug)]
pub(super) struct OpenLayer {
    index: OpenFile,
    data: Option<OpenFile>,
}

impl OpenLayer {
    pub(super) fn files(&self) -> impl Iterator<Item = &OpenFile> {
        std::iter::once(&self.index).chain(&self.data)
    }

    /// The layer's mount.
    pub(super) fn shared(self, layer: DiffId, backing: Backing) -> Shared {
        let value = |file| match backing {
            Backing::File { .. } => Value::File(Arc::new(file)),
            Backing::Loop(reads) => Value::Block(Arc::new(file), reads),
        };
        let mut options = vec![("source", value(self.index))];
        options.extend(self.data.map(|data| ("device", value(data))));
        // Or the kernel opens loop devices for writing, which they refuse.
        options.push(("ro", Value::Flag));
        if backing == (Backing::File { directio: true }) {
            options.push(("directio", Value::Flag));
        }
        Shared {
            layer,
            filesystem: "erofs",
            options,
        }
    }
}

/// The open files of a stack, in its order.
#[derive(Debug)]
pub struct Survey {
    layers: Vec<OpenLayer>,
}

impl Survey {
    /// Opens every file, checks its length, and reads the indexes against their digests.
    pub fn of(layers: &[&Layer]) -> Result<Self> {
        let layers = parallel::map(layers, |layer| {
            let index = open_index(&layer.index)?;
            file::prefetch(index.as_fd(), PREFETCH).map_err(io("read ahead", index.path()))?;
            let data = layer.data.as_ref().map(OpenFile::open).transpose()?;
            check_index(&index, &layer.index_blake3)?;
            Ok(OpenLayer { index, data })
        })?;
        Ok(Self { layers })
    }

    pub(super) fn layers(&self) -> &[OpenLayer] {
        &self.layers
    }

    pub(super) fn into_layers(self) -> Vec<OpenLayer> {
        self.layers
    }
}

fn open_index(index: &StoredFile) -> Result<OpenFile> {
    let damaged = |why: String| Error::Index {
        path: index.path.clone(),
        why,
    };
    OpenFile::open(index).map_err(|error| match error {
        Error::WrongSize {
            recorded, found, ..
        } => damaged(format!(
            "has {found} bytes where the record says {recorded}"
        )),
        Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            damaged("is not there".to_owned())
        }
        other => other,
    })
}

fn check_index(index: &OpenFile, recorded: &str) -> Result<()> {
    let mut hasher = blake3::Hasher::new();
    let mut piece = vec![0; PIECE.min(usize::try_from(index.length()).unwrap_or(PIECE))];
    let mut at = 0;
    while at < index.length() {
        match rustix::io::pread(index, &mut piece, at) {
            Ok(0) => break,
            Ok(read) => {
                hasher.update(&piece[..read]);
                at += read as u64;
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(io("read", index.path())(errno)),
        }
    }
    if hasher.finalize().to_hex().as_str() == recorded {
        return Ok(());
    }
    Err(Error::Index {
        path: index.path().to_owned(),
        why: "is not what was recorded of it".to_owned(),
    })
}
