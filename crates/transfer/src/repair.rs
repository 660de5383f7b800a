//! Repair: bytes that are damaged are made again, where there is something to make them from.
//!
//! ```text
//! layer ── zeros between files, bytes beyond the end      needs no source
//!       ── spans that are wrong, into `data`, in place    a range of the blob
//!       ── skeleton, span table, or all of it             the whole blob
//!       ── else: moved aside, and forgotten
//! index, record ── made again from the skeleton
//! blob  ── fetched again by its digest, else moved aside
//! ```
//!
//! What it keeps true: only bytes whose digest was checked are written, and a layer is read back after
//! it was repaired; a file that a mount may read is never cut short. What no source has is never
//! served again.

mod blob;
mod fetch;
mod install;
mod layer;
mod refill;

pub use blob::repair_blob;
pub use fetch::Fetcher;
pub use layer::{Mended, repair_layer};
