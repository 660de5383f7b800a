//! Container layer tars to trees, data and skeleton, and back.
//!
//! Untrusted input ends here: paths are normalised, sizes bounded, and attributes that would steer
//! overlay are dropped. What leaves this crate is a [`model::Tree`] that may be written as an index.
#![forbid(unsafe_code)]

pub mod model;
