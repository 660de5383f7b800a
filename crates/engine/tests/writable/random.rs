//! Thousands of things happen in roots: the image that is committed shows the same root.

use lapstrake_engine::Access;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::scene::{Maker, Scene, erofs, erofs_whole, overlay2, vfs};
use crate::steps::steps;
use crate::tree::seen;

/// Roots one on another, each changed and committed.
const ROUNDS: usize = 4;
const STEPS: usize = 150;

/// Changes images again and again, and compares each root with the image that was committed of it.
/// What is different, and the steps that lead there, is told by their seed.
fn check(test: &str, seeds: std::ops::Range<u8>, driver: Maker) {
    let (mut taken, mut all) = (0, 0);
    for seed in seeds {
        let Some(scene) = Scene::new(test, driver) else {
            return;
        };
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let mut image = scene.image.clone();
        for round in 0..ROUNDS {
            let name = format!("layer-{round}");
            let root = scene.change(&image, &name);
            let steps = steps(STEPS).new_tree(&mut runner).unwrap().current();
            for step in &steps {
                all += 1;
                taken += usize::from(step.take(&root));
            }
            let before = seen(&root);
            scene.engine.unmount(&root).unwrap();
            let (committed, _) = scene.commit(&name, &format!("committed:{round}"));
            let fresh = scene.mount(&committed, &Access::ReadOnly);
            let after = seen(&fresh);
            for path in before.keys().chain(after.keys()) {
                assert_eq!(
                    after.get(path),
                    before.get(path),
                    "/{path} after round {round} of seed {seed}: {steps:#?}"
                );
            }
            scene.engine.unmount(&fresh).unwrap();
            image = committed;
        }
    }
    eprintln!("{test}: {taken} of {all} steps could be taken");
    assert!(taken > all / 2, "too few steps made sense");
}

/// How many seeds to try: `LAPSTRAKE_SEEDS`, for a long run, or few enough for an ordinary one.
fn seeds() -> u8 {
    std::env::var("LAPSTRAKE_SEEDS").map_or(6, |count| count.parse().unwrap())
}

#[test]
fn privileged_committed_roots_are_what_containers_left() {
    check("whole", 0..seeds(), erofs_whole);
}

#[test]
fn privileged_committed_roots_are_what_containers_left_by_reference() {
    check("by reference", 0..seeds(), erofs);
}

#[test]
fn privileged_committed_roots_are_what_containers_left_on_overlay2() {
    check("overlay2", 0..seeds().div_ceil(3), overlay2);
}

#[test]
fn privileged_committed_roots_are_what_containers_left_on_vfs() {
    check("vfs", 0..seeds().div_ceil(3), vfs);
}
