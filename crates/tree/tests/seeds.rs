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

#[test]
fn seeds_of_archive() {
    replay("archive", |seed| {
        shared::any_archive(seed);
        // What a damaged copy of them makes of it.
        for at in 0..seed.len().min(4096) {
            shared::any_archive(&seed[..at]);
            for bits in [0x01, 0x80, 0xff] {
                let mut damaged = seed.to_vec();
                damaged[at] ^= bits;
                shared::any_archive(&damaged);
            }
        }
    });
}
