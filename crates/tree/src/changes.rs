//! What a writable layer changed of the stack below it: as a list, and as a layer.
//!
//! The same walk serves both forms of a writable layer. Over overlay's `upper` only what is in it is
//! looked at, and its marks (whiteouts, opaque and redirected directories, files without contents) are
//! read as the kernel reads them. A whole copy is compared with the stack name by name.
//!
//! ```text
//! upper, lower ── merged ── walk ── links ── decide ── entries ── layer (a tar)
//!                 what is   what     which    which      one for each name,
//!                 there     differs  names    marks      parents first
//!                                    go together
//! ```
//!
//! What it keeps true: the layer over the stack is what the merged root was. Names, kinds, contents, modes,
//! owners, times and attributes are; names of one file stay names of one file, also where some of them
//! are below. A file that was copied up but not changed is left out where that changes nothing. Parents
//! of a change are always entries, for a directory that a layer does not describe is root's and 0755.
//!
//! Left out of layers: sockets, which no tar holds ([`Changes::skipped`]), and overlay's own attributes.
//! What a tar cannot say in any way ([`Error::Unrepresentable`]) stops the layer, not the list.

mod decide;
mod flat;
mod layer;
mod links;
mod merged;
mod view;
mod walk;

use std::io;

use crate::{error::show, model::Metadata};

pub use flat::{Flat, write_root};
pub use layer::write_layer;
pub use view::{FileId, FileKind, Found, View};

/// A writable layer.
#[derive(Debug, Clone, Copy)]
pub enum Writable<'a, V> {
    /// Overlay's upper directory.
    Upper(&'a V),
    /// A copy of the whole root.
    Whole(&'a V),
}

impl<'a, V> Writable<'a, V> {
    /// Its files.
    pub fn view(&self) -> &'a V {
        match self {
            Self::Upper(view) | Self::Whole(view) => view,
        }
    }
}

/// What happened to a name, as `docker diff` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeKind {
    /// It is another file, has other attributes, or something below it changed.
    Modified,
    /// It was not there.
    Added,
    /// It is gone, with all that was below it.
    Deleted,
}

/// One changed name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Its path, without a leading slash.
    pub path: Box<[u8]>,
    /// What happened.
    pub kind: ChangeKind,
}

/// Where a file's bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// In the writable layer, at this path.
    Upper(Box<[u8]>),
    /// In the stack, at this path: the file was moved or its attributes changed, but not its contents.
    Lower(Box<[u8]>),
}

/// What a layer has under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The name is hidden.
    Whiteout,
    /// A directory; an opaque one hides all that the stack has in it.
    Directory {
        /// Its attributes.
        metadata: Metadata,
        /// Whether it is opaque.
        opaque: bool,
    },
    /// A regular file.
    File {
        /// Its attributes.
        metadata: Metadata,
        /// In bytes.
        size: u64,
        /// Where its bytes are.
        bytes: Place,
    },
    /// A symbolic link, device or pipe.
    Other {
        /// Its attributes.
        metadata: Metadata,
        /// What it is.
        kind: FileKind,
    },
    /// One more name for an entry that comes earlier.
    HardLink {
        /// That entry's path.
        target: Box<[u8]>,
        /// The attributes of the file.
        metadata: Metadata,
    },
}

/// An entry of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path, without a leading slash; the root's is empty.
    pub path: Box<[u8]>,
    /// What is there.
    pub what: What,
}

/// All that changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// The layer, parents before what is in them. Nothing if nothing changed.
    pub entries: Vec<Entry>,
    /// The names that changed, as `docker diff` lists them.
    pub list: Vec<Change>,
    /// Sockets, by path.
    pub skipped: Vec<Box<[u8]>>,
}

/// Why changes cannot be told, or not be made a layer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what, below the root.
        path: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A file became shorter while it was read.
    #[error("{path} changed while it was read: stop the container, or pause it, and try again")]
    Unsteady {
        /// The file.
        path: String,
    },
    /// Overlay's marks speak of what is not there.
    #[error("the writable layer's {path} is damaged: {what}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        what: &'static str,
    },
    /// Something that layers have no word for.
    #[error("no layer can hold {path}: {why}; remove or rename it")]
    Unrepresentable {
        /// The file.
        path: String,
        /// Why not.
        why: &'static str,
    },
    /// The tar could not be written.
    #[error("cannot write the layer: {0}")]
    Output(#[source] io::Error),
}

fn io_error(action: &'static str, path: &[u8]) -> impl FnOnce(io::Error) -> Error {
    let path = show(path);
    move |source| Error::Io {
        action,
        path,
        source,
    }
}

/// Compares a writable layer with the stack below it. `lower` shows the stack as it would be without
/// the writable layer.
///
/// # Errors
/// If either can't be read, or overlay's marks don't fit the stack.
pub fn changes<U: View, L: View>(writable: &Writable<'_, U>, lower: &L) -> Result<Changes, Error> {
    let merged = merged::Merged::new(writable, lower);
    let mut nodes = walk::walk(&merged, walk::Extent::WhatMayDiffer)?;
    if links::reach_beyond(&nodes) {
        nodes = walk::walk(&merged, walk::Extent::Everything)?;
    }
    links::bring_together(&mut nodes);
    Ok(decide::decide(nodes))
}

/// A path below the root from its parent's and a name.
fn join(parent: &[u8], name: &[u8]) -> Box<[u8]> {
    if parent.is_empty() {
        name.into()
    } else {
        [parent, b"/", name].concat().into()
    }
}
