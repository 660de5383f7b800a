//! Rooms: the contract that every kind keeps, and rooms in trouble.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod contract;
mod kernels;
mod support;
mod trouble;
