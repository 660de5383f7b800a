//! Volumes: made, attached, counted and removed; found again after a crash.
#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene fails")]
#![expect(clippy::disallowed_methods, reason = "files of a test need not last")]

mod fill;
mod image;
mod life;
mod machine;
mod mounted;
mod scene;
#[path = "../shared/mod.rs"]
mod shared;
