//! The project's own commands, as functions: images, a registry that serves them, checks and
//! benchmarks. Tests and benchmarks use the same functions as the command line.
#![forbid(unsafe_code)]

pub mod bench;
pub mod check;
pub mod command;
pub mod demo;
pub mod error;
pub mod files;
pub mod hashing;
pub mod images;
pub mod judge;
pub mod registry;

pub use error::{Error, Result};
