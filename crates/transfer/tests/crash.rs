//! Power cuts after every step of a pull.
//!
//! Whatever the file system lost: what was acknowledged is there, nothing wrong is served, the same pull
//! then makes everything right, and nothing is left over.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure is the test's"
)]

mod crashes;

use crashes::{World, layer};

#[test]
fn a_first_pull() {
    let world = World::new();
    let image = world.image("app", &[layer("small", 100), layer("large", 40_000)]);
    world.survives("a first pull", |run| run.pull(&image));
}

#[test]
fn a_pull_beside_what_is_there() {
    let world = World::new();
    let shared = layer("shared", 9_000);
    let first = world.image("one", &[shared.clone(), layer("a", 5_000)]);
    let second = world.image("two", &[shared, layer("b", 5_000), layer("none", 0)]);
    world.survives("a pull beside what is there", |run| {
        run.pull(&first);
        run.pull(&second);
        run.pull(&first);
    });
}
