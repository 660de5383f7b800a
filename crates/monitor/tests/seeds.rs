//! What fuzzers begin with, and what they found, as ordinary tests.

mod shared;

use lapstrake_testkit::seeds::replay;

#[test]
fn seeds_of_log() {
    replay("log", |seed| {
        shared::any_log(seed);
        for at in (0..seed.len().min(512)).step_by(3) {
            shared::any_log(&seed[..at]);
            for bits in [0x01, 0x80] {
                let mut damaged = seed.to_vec();
                damaged[at] ^= bits;
                shared::any_log(&damaged);
            }
        }
    });
}
