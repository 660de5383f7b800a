//! Anything as a skeleton: never a panic.
#![no_main]

#[path = "../../crates/tree/tests/shared/mod.rs"]
mod shared;

libfuzzer_sys::fuzz_target!(|input: &[u8]| shared::any_skeleton(input));
