//! Containers that a real runtime makes of our configurations, seen from inside.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "scratch files of tests"
)]

mod kernels;
mod mounts;
mod process;
mod programs;
mod resources;
mod running;
mod scene;
mod security;

use lapstrake_container::settings::Settings;
use scene::Scene;

/// Runs a shell line in a container with changed settings: what it wrote is this.
#[track_caller]
fn check(line: &str, change: impl FnOnce(&mut Settings), wanted: &str) {
    let Some(scene) = Scene::new() else {
        return;
    };
    let mut settings = scene.settings(line);
    change(&mut settings);
    assert_eq!(scene.run(&settings).trim_end(), wanted);
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}
