//! Blobs that are made from layers in the store.
//!
//! A [`Recipe`] says how the exact bytes of a blob come from the tar of its layer. What is read of the tar
//! is hashed on the way: a layer that is not what its name says makes an error before its end is sent.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::thread::available_parallelism;

use lapstrake_oci::{Compression, Descriptor, DiffId};
use lapstrake_store::{LayerState, Store};
use lapstrake_tree::view::TarView;

use super::recognise;
use super::watch::Seen;
use crate::check::settle_layer;
use crate::encode::{Encoder, Encoding, Ends};
use crate::error::Result;
use crate::stored::{self, not_sound};

/// Threads that compress a layer, at most: each has two members in memory.
const MOST_ENCODERS: usize = 8;

/// How a blob is made of its layer's tar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recipe {
    /// It is the tar.
    Tar,
    /// It was compressed so by this program.
    Encoded(Encoding),
}

impl Recipe {
    /// What is known of how a blob is made; `None` if nothing is.
    pub(super) fn of(store: &Store, layer: &DiffId, blob: &Descriptor) -> Option<Self> {
        if blob.digest == layer.0 {
            return Some(Self::Tar);
        }
        let files = store.find_layer(layer)?;
        recognise::encoding_of(&files, blob).map(Self::Encoded)
    }

    /// How long the blob will be, if that is known.
    pub(super) fn length(self, tar_len: u64) -> Option<u64> {
        match self {
            Self::Tar => Some(tar_len),
            Self::Encoded(encoding) if encoding.compression() == Compression::None => Some(tar_len),
            Self::Encoded(_) => None,
        }
    }
}

/// A layer of which a blob is made, as often as it is needed.
#[derive(Debug, Clone)]
pub(super) struct Making {
    tar: Arc<TarView<File, File>>,
    tar_len: u64,
    seen: Seen,
    recipe: Recipe,
    ends: Ends,
}

impl Making {
    /// Opens a layer. One of which it is not sure that it can be used is read first.
    pub(super) fn of(store: &Store, id: &DiffId, recipe: Recipe) -> Result<Self> {
        let record = store.state().layer(id)?;
        if record.is_some_and(|record| record.state == LayerState::Doubtful) {
            settle_layer(store, id)?;
        }
        let (_files, tar) = stored::open(store, id)?;
        let tar_len = tar.summary().tar_len;
        let layer = id.clone();
        let seen = Seen::new(&id.0, tar_len, move |got| {
            not_sound(&layer, &format!("its tar has digest {got}"))
        });
        Ok(Self {
            tar: Arc::new(tar),
            tar_len,
            seen,
            recipe,
            ends: Ends::default(),
        })
    }

    /// How long the blob will be, if that is known.
    pub(super) fn length(&self) -> Option<u64> {
        self.recipe.length(self.tar_len)
    }

    /// How long the blob is, once all of it was read.
    pub(super) fn made_bytes(&self) -> u64 {
        self.length().unwrap_or_else(|| self.ends.last())
    }

    /// The blob from a byte on.
    pub(super) fn open(&self, from: u64) -> io::Result<Made> {
        let tar = |at| {
            Ok(Tar {
                making: self.clone(),
                at,
            })
        };
        Ok(match self.recipe {
            Recipe::Tar => Made::Tar(tar(from)?),
            Recipe::Encoded(encoding) => {
                let threads = available_parallelism().map_or(1, usize::from);
                let threads = threads.min(MOST_ENCODERS);
                let encoder = Encoder::open(encoding, threads, &self.ends, from, tar)?;
                Made::Encoded(Box::new(encoder))
            }
        })
    }
}

/// A blob being made.
#[derive(Debug)]
pub(super) enum Made {
    Tar(Tar),
    Encoded(Box<Encoder<Tar>>),
}

impl Read for Made {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tar(tar) => tar.read(buffer),
            Self::Encoded(encoder) => encoder.read(buffer),
        }
    }
}

/// A tar being read.
#[derive(Debug)]
pub(super) struct Tar {
    making: Making,
    at: u64,
}

impl Read for Tar {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.making.tar.read_at(self.at, buffer)?;
        if buffer.is_empty() {
            return Ok(0);
        }
        self.making.seen.see(self.at, &buffer[..read])?;
        self.at += read as u64;
        Ok(read)
    }
}
