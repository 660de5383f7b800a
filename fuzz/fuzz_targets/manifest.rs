//! Anything as a manifest, an index or a config: never a panic, and never two kinds at once.
#![no_main]

#[path = "../../crates/oci/tests/shared/mod.rs"]
mod shared;

libfuzzer_sys::fuzz_target!(|input: &[u8]| shared::any_document(input));
