//! Container layer tars to trees, data and skeleton, and back.
//!
//! Untrusted input ends here: paths are normalised, sizes bounded, and attributes that would steer
//! overlay are dropped. What leaves this crate is a [`model::Tree`] that may be written as an index.
//!
//! A layer's tar is read once, by [`split::Splitter`]. File contents go to the `data` file; every
//! other byte goes to the [`skeleton`]; what they mean becomes the tree. [`view::TarView`] puts data
//! and skeleton together again, and [`rebuild`] makes the tree from the skeleton alone.
//!
//! The other way, [`changes`] tells what a container changed of the stack below it, and [`mod@write`] writes
//! it as a tar.
//!
//! ```
//! use lapstrake_tree::{limits::Limits, split::Splitter, view::TarView};
//! use std::io::Read;
//!
//! let tar = vec![0; 1024]; // an empty archive
//! let mut data = Vec::new();
//! let mut splitter = Splitter::new(Limits::DEFAULT);
//! splitter.feed(&tar, &mut data)?;
//! let layer = splitter.finish(&mut data)?;
//!
//! let mut again = Vec::new();
//! TarView::new(&layer.skeleton[..], &data[..])?.read_to_end(&mut again)?;
//! assert_eq!(again, tar);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod archive;
pub mod changes;
pub mod error;
pub mod limits;
pub mod model;
pub mod read_at;
pub mod rebuild;
pub mod skeleton;
pub mod split;
pub mod view;
pub mod write;

mod acl;
mod builder;
mod contents;
mod header;
mod machine;
mod metadata;
mod path;
mod pax;
mod sparse;
mod sparse_map;
mod whiteout;
