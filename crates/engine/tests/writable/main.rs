//! Writable layers: what is done in one, listed, committed, and seen in the image that comes of it.
#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene fails")]
#![expect(clippy::disallowed_methods, reason = "files of a test need not last")]

mod export;
mod life;
mod limit;
mod random;
mod readers;
mod scene;
#[path = "../shared/mod.rs"]
mod shared;
mod steps;
mod tree;
