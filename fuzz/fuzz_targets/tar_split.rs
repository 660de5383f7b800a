//! Anything as a tar: never a panic, and what is accepted comes back byte for byte.
#![no_main]

#[path = "../../crates/tree/tests/shared/mod.rs"]
mod shared;

libfuzzer_sys::fuzz_target!(|input: &[u8]| shared::any_tar(input));
