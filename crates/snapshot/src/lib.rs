//! Stacks and writable layers, and the seam behind which a driver mounts them.
//!
//! It knows no Docker and no HTTP.
#![forbid(unsafe_code)]

mod file_tree;

pub use file_tree::{DiskFile, FileTree};
