//! How a stack and a writable layer become one mounted root on this kernel.
//!
//! One module for each way. None knows where a layer's files come from, and none decides what a
//! container may do with its root.
#![forbid(unsafe_code)]

pub mod choose;
pub mod erofs;
pub mod options;
mod overlay2;
pub mod vfs;

mod copy_tree;
mod home;
mod open;
mod unpack;

pub use open::open;
pub use overlay2::Overlay2;
pub use vfs::Vfs;

use lapstrake_snapshot::CopyUp;

/// Docker's line about `metacopy`.
fn metacopy_status(copy_up: CopyUp) -> (String, String) {
    let on = copy_up == CopyUp::AttributesFirst;
    ("Using metacopy".to_owned(), on.to_string())
}
