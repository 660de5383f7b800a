//! Writes a layer's EROFS index and reads it back.
//!
//! An index is an EROFS image with 4 KiB blocks that holds every inode, directory, symbolic link and
//! attribute of a layer, and not one byte of its files: those are ranges of one extra device, the
//! layer's `data` file. The kernel mounts it with `device=` naming that file; `docs/format-index.md`
//! says what each byte is.
//!
//! What holds for every index written here:
//! - the same tree, UUID and data length give the same bytes, on every machine;
//! - it mounts on Linux 5.16 and later, and says nothing that a kernel of that age ignores;
//! - nothing in it came from outside unchecked: a tree that EROFS cannot say is an [`Error`].
//!
//! Reading back serves tests and `check`. It never panics and never allocates more than a small
//! multiple of what it was given, whatever the bytes.
#![forbid(unsafe_code)]

mod error;

mod layout;
mod write;

mod read;

mod directory;
mod disk;
mod sparse;
mod xattr;

pub use error::{Class, Error};
pub use read::{Index, read_index};
pub use write::{DroppedAttribute, IndexOptions, Written, write_index};
