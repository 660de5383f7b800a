//! Anything as a container's log: reading it ends, without a panic and without more than it holds.
#![no_main]

#[path = "../../crates/monitor/tests/shared/mod.rs"]
mod shared;

libfuzzer_sys::fuzz_target!(|input: &[u8]| shared::any_log(input));
