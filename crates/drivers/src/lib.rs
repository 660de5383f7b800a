//! How a stack and a writable layer become one mounted root on this kernel.
//!
//! One module for each way. None knows where a layer's files come from, and none decides what a
//! container may do with its root.
#![forbid(unsafe_code)]

pub mod erofs;
