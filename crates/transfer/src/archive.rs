//! Images as files: archives as `docker save` writes them, and OCI layouts.
//!
//! ```text
//! save   plan (documents, names, sizes: a pure function) ── write (a stream, or a directory)
//! load   gather (layers are staged as they come) ── assemble (images: a pure function) ── publish
//! ```

mod assemble;
mod compress;
mod documents;
mod facts;
mod gather;
mod load;
mod plan;
mod problem;
mod write;

pub use compress::Compressor;
pub use load::{LoadEvent, LoadFrom, LoadOptions, Loaded, LoadedImage, load};
pub use plan::{Content, Entry, Form, Plan, Planned, ToSave, plan};
pub use problem::Problem;
pub use write::{Out, SaveEvent, write_directory, write_tar};

pub use crate::unpack::unpacked;
