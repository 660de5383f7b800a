//! Containers that a real runtime makes of our configurations, seen from inside.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "scratch files of tests"
)]

mod scene;

use lapstrake_container::settings::Settings;
use scene::Scene;

/// Runs a shell line in a container with changed settings, and tells what it wrote.
fn run(line: &str, change: impl FnOnce(&mut Settings)) -> Option<String> {
    let scene = Scene::new()?;
    let mut settings = scene.settings(line);
    change(&mut settings);
    Some(scene.run(&settings))
}

/// What a line wrote is one of these lines.
#[track_caller]
fn check(line: &str, change: impl FnOnce(&mut Settings), wanted: &str) {
    if let Some(said) = run(line, change) {
        assert_eq!(said.trim_end(), wanted);
    }
}

#[test]
fn privileged_an_ordinary_container_runs() {
    check("echo hello; exit 0", |_| {}, "hello");
}
