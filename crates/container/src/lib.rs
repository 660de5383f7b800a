//! What a container is: its settings, what is mounted in it, and how a runtime is told.
//!
//! What it keeps true: everything here follows from its arguments. Nothing is looked up in a store, and no
//! client's wire format is known.
#![forbid(unsafe_code)]

pub mod archive;
pub mod copy_up;
mod files;
pub mod mounts;
pub mod settings;
pub mod spec;
