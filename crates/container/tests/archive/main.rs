//! Files in and out of a container's root, by friends and by others.
#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene fails")]
#![expect(clippy::disallowed_methods, reason = "files of a test need not last")]

mod attack;
mod get;
mod put;
mod scene;
