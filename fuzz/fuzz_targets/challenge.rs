//! Anything as what a registry says in headers and small bodies: never a panic.
#![no_main]

#[path = "../../crates/distribution/tests/shared/mod.rs"]
mod shared;

libfuzzer_sys::fuzz_target!(|input: &[u8]| shared::any_text(input));
