//! What a container is: its settings, what is mounted in it, how a runtime is told, and what it uses.
//!
//! What it keeps true: what a container is follows from arguments; the host is asked in places that say so
//! ([`spec::Facts`], [`spec::HostDevices`], [`spec::user`], [`usage`]). Nothing is looked up in a store, and
//! no client's wire format is known.
#![forbid(unsafe_code)]

pub mod archive;
pub mod copy_up;
mod files;
pub mod mounts;
pub mod settings;
pub mod spec;
pub mod usage;
