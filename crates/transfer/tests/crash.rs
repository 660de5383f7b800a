//! Power cuts after every step of what changes a store.
//!
//! Whatever the file system lost: what was acknowledged is so, nothing wrong is served, a pull then makes
//! everything right, and when all images are removed nothing is left.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure is the test's"
)]

mod crashes;

use crashes::{Known, World, layer};

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

#[test]
fn a_removal_beside_what_stays() {
    let world = World::new();
    let shared = layer("shared", 9_000);
    let first = world.image("one", &[shared.clone(), layer("a", 5_000)]);
    let second = world.image("two", &[shared, layer("b", 5_000)]);
    world.survives("a removal beside what stays", |run| {
        run.pull(&first);
        run.pull(&second);
        run.remove(&Known::pulled(&first));
        run.pull(&first);
    });
}

#[test]
fn a_commit_and_its_removal() {
    let world = World::new();
    world.survives("a commit and its removal", |run| {
        let made = run.commit("made", &[7; 10_000]);
        run.commit("same", &[7; 10_000]);
        run.remove(&made);
        run.commit("made", &[7; 10_000]);
    });
}

#[test]
fn a_recovery_that_is_cut() {
    let world = World::new();
    let image = world.image("app", &[layer("small", 100), layer("large", 9_000)]);
    world.survives_twice("a recovery that is cut", |run| {
        run.pull(&image);
        run.commit("made", &[7; 5_000]);
    });
}
