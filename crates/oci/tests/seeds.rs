//! What fuzzers begin with, and what they found, as ordinary tests.

mod shared;

use lapstrake_testkit::seeds::replay;

#[test]
fn seeds_of_reference() {
    replay("reference", shared::any_reference);
}

#[test]
fn seeds_of_manifest() {
    replay("manifest", shared::any_document);
}
