//! What fuzzers begin with, and what they found, as ordinary tests.

mod shared;

use lapstrake_testkit::seeds::replay;

#[test]
fn seeds_of_tar_split() {
    replay("tar_split", shared::any_tar);
}

#[test]
fn seeds_of_skeleton() {
    replay("skeleton", shared::any_skeleton);
}
