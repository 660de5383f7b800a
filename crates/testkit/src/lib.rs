//! What tests of several crates share.
//!
//! It panics where a test would: what cannot be set up is a failed test. Nothing here belongs in a
//! program, and no crate but those of tests depends on it.
#![forbid(unsafe_code)]

pub mod contract;
pub mod disk;
pub mod inventory;
pub mod proxy;
pub mod registry;
pub mod scene;
pub mod seeds;
pub mod tar;
