//! Images as files: archives as `docker save` writes them, and OCI layouts.
//!
//! ```text
//! save   plan (documents, names, sizes: a pure function) ── write (a stream, or a directory)
//! ```

mod compress;
mod documents;
mod plan;
mod write;

pub use compress::Compressor;
pub use plan::{Content, Entry, Form, Plan, Planned, ToSave, plan};
pub use write::{SaveEvent, write_directory, write_tar};
