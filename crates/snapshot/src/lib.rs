//! Stacks and writable layers, and the seam behind which a driver mounts them.
//!
//! A [`Driver`] says what is to be mounted, as [`Mounts`]: data and open files. [`RunDir::mount`]
//! does it, for every driver alike, keeps the record of which root uses which layers, and finds
//! again what an earlier process mounted.
//!
//! It knows no Docker and no HTTP, and no layer's format: that is the drivers'.
#![forbid(unsafe_code)]

pub mod room;

mod driver;
mod layer;
mod mounts;
mod open;
mod overlay;
mod place;
mod rendered;
mod run_dir;
mod stack;

mod error;
mod file_tree;
mod one_page;
mod perform;
mod record;

pub use driver::{CopyUp, Driver, WritableTree};
pub use error::{Class, Error, Result, io, std_io};
pub use file_tree::{DiskFile, FileTree};
pub use layer::{Layer, StoredFile};
pub use mounts::{Lower, Mounts, Overlay, Root, Shared, Upper, Value};
pub use open::{OpenDir, OpenFile};
pub use overlay::OverlayApi;
pub use place::Place;
pub use rendered::Rendered;
pub use run_dir::{Kept, LiveRoot, Mounted, Quiet, RunDir};
pub use stack::{MAX_LAYERS, distinct};
