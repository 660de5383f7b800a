//! Anything as an archive of images: never a panic, and no path leaves it.
#![no_main]

#[path = "../../crates/tree/tests/shared/mod.rs"]
mod shared;

libfuzzer_sys::fuzz_target!(|input: &[u8]| shared::any_archive(input));
