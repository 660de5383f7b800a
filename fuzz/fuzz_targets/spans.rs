//! Anything as a span table: never a panic, and what is accepted is written again as it was.
#![no_main]

#[path = "../../crates/fill/tests/shared/any.rs"]
mod any;

libfuzzer_sys::fuzz_target!(|input: &[u8]| any::any_spans(input));
