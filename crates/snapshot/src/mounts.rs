//! What is to be mounted for one root, as data and open files.
//!
//! Nothing here does anything: [`RunDir::mount`](crate::RunDir::mount) does, and
//! [`RunDir::hold`](crate::RunDir::hold) says it in words, for consumers that mount by themselves.

use std::path::PathBuf;
use std::sync::Arc;

use lapstrake_oci::DiffId;
use lapstrake_sys::loopdev::Reads;

use crate::{CopyUp, OpenDir, OpenFile, OverlayApi};

/// A root: the layers' mounts, and what is made of them.
#[derive(Debug)]
pub struct Mounts {
    /// The layers that are in use while the root is.
    pub layers: Vec<DiffId>,
    /// File systems that several roots share: each is mounted once per run directory.
    pub shared: Vec<Shared>,
    /// The root.
    pub root: Root,
}

/// A read-only file system of one layer.
#[derive(Debug)]
pub struct Shared {
    /// Of which layer; whoever mounts it first, it is the same.
    pub layer: DiffId,
    /// Its type.
    pub filesystem: &'static str,
    /// Its options, in order. `source` is one of them.
    pub options: Vec<(&'static str, Value)>,
}

/// The value of a mount option.
#[derive(Debug)]
pub enum Value {
    /// None: the name says it.
    Flag,
    /// An open file, given by a path to its descriptor.
    File(Arc<OpenFile>),
    /// An open file, as a loop device that reads so.
    Block(Arc<OpenFile>, Reads),
}

/// What the root is made of.
#[derive(Debug)]
pub enum Root {
    /// Layers on each other.
    Overlay(Overlay),
    /// A directory as it is.
    Bind {
        /// The directory.
        source: OpenDir,
        /// Whether it may be written to.
        read_only: bool,
    },
}

/// An overlay.
#[derive(Debug)]
pub struct Overlay {
    /// The layers, top first. Without any it is an empty root.
    pub lowers: Vec<Lower>,
    /// Where changes go; without it the root is read-only.
    pub upper: Option<Upper>,
    /// How this kernel is told of the directories.
    pub api: OverlayApi,
}

/// A lower directory.
#[derive(Debug)]
pub enum Lower {
    /// The root of a file system, by its position in [`Mounts::shared`]. Each at most once.
    Shared(usize),
    /// A directory.
    Directory(OpenDir),
}

/// The directories of a writable layer, on one file system.
#[derive(Debug)]
pub struct Upper {
    /// Where changes are kept.
    pub upper: OpenDir,
    /// Overlay's scratch directory.
    pub work: OpenDir,
    /// How a lower file is changed for the first time.
    pub copy_up: CopyUp,
    /// A file that says that `upper` has not yet the attributes of the root below it. The mount
    /// gives it those and removes the file.
    pub new: Option<PathBuf>,
}
