//! Anything as a reference: never a panic, and each written form reads back.
#![no_main]

#[path = "../../crates/oci/tests/shared/mod.rs"]
mod shared;

libfuzzer_sys::fuzz_target!(|input: &[u8]| shared::any_reference(input));
