//! Pulls that are interrupted, killed, or run beside each other, as processes.
#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene fails")]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use lapstrake_testkit::registry::{Access, Added, Layer, Registry};
use lapstrake_testkit::tar;
use rustix::process::{Pid, Signal, kill_process};

struct Scene {
    registry: Registry,
    image: Added,
    dir: tempfile::TempDir,
}

impl Scene {
    /// Two small layers and a large one.
    fn new() -> Self {
        let registry = Registry::start(Access::Open);
        let large: Vec<u8> = (0..10_000_000_u32).flat_map(u32::to_le_bytes).collect();
        let layers = [&b"one"[..], b"two", &large];
        let layers = layers.map(|bytes| Layer::plain(tar::of_file("file", bytes)));
        let image = registry.add_image("app", "1", &layers);
        Self {
            registry,
            image,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn root(&self) -> &Path {
        self.dir.path()
    }

    fn begin(&self) -> Child {
        Command::new(env!("CARGO_BIN_EXE_lapstrake"))
            .arg("--root")
            .arg(self.root().join("root"))
            .arg("--run-dir")
            .arg(self.root().join("run"))
            .args(["--json", "pull", &self.image.reference.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Waits until so much of the large layer is in its stage.
    fn wait_for(&self, bytes: u64) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let tmp = self.root().join("root/content/tmp");
        while largest(&tmp) < bytes {
            assert!(Instant::now() < deadline, "nothing is staged");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The length of the largest file below a directory.
fn largest(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let length = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => largest(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_gone) => 0,
    };
    entries.map(length).max().unwrap_or(0)
}

fn fetched(output: &Output) -> u64 {
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    last["fetched_bytes"].as_u64().unwrap()
}

fn send(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

#[test]
fn ctrl_c_ends_a_pull_soon_and_says_what_is_kept() {
    let scene = Scene::new();
    scene.registry.slow_down(Duration::ZERO, 4_000_000);
    let child = scene.begin();
    scene.wait_for(1_000_000);
    send(&child, Signal::INT);
    let begun = Instant::now();
    let output = child.wait_with_output().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("what was fetched is kept"), "{told}");
    scene.registry.slow_down(Duration::ZERO, u64::MAX);
    fetched(&scene.begin().wait_with_output().unwrap());
}

#[test]
fn a_pull_that_was_killed_is_gone_on_with() {
    let scene = Scene::new();
    scene.registry.slow_down(Duration::ZERO, 20_000_000);
    let mut child = scene.begin();
    scene.wait_for(25_000_000);
    child.kill().unwrap();
    child.wait().unwrap();
    scene.registry.slow_down(Duration::ZERO, u64::MAX);
    let bytes = fetched(&scene.begin().wait_with_output().unwrap());
    let layers: u64 = scene.image.layers.iter().map(|layer| layer.size).sum();
    assert!(
        bytes > 0 && bytes <= layers - (16 << 20),
        "{bytes} of {layers}"
    );
}

#[test]
fn what_a_killed_pull_left_is_counted_and_pruned() {
    let scene = Scene::new();
    scene.registry.slow_down(Duration::ZERO, 20_000_000);
    let mut child = scene.begin();
    scene.wait_for(25_000_000);
    child.kill().unwrap();
    child.wait().unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_lapstrake"))
            .arg("--root")
            .arg(scene.root().join("root"))
            .arg("--run-dir")
            .arg(scene.root().join("run"))
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let tree = run(&["--json", "df", "--tree"]);
    let prunable = tree.lines().find_map(|line| {
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        object["prunable"].as_u64()
    });
    assert!(prunable.unwrap() > 16 << 20, "{tree}");
    run(&["prune"]);
    assert_eq!(largest(&scene.root().join("root/content/tmp")), 0);
}

#[test]
fn all_tags_of_a_repository() {
    let scene = Scene::new();
    for tag in ["2", "3"] {
        let layer = Layer::plain(tar::of_file("file", tag.as_bytes()));
        scene.registry.add_image("app", tag, &[layer]);
    }
    let name = format!("{}/app", scene.registry.host());
    let run = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_lapstrake"))
            .arg("--root")
            .arg(scene.root().join("root"))
            .args(arguments)
            .output()
            .unwrap()
    };
    let output = run(&["pull", "--all-tags", &name]);
    assert!(output.status.success(), "{output:?}");
    let images = String::from_utf8(run(&["--json", "images"]).stdout).unwrap();
    for tag in ["1", "2", "3"] {
        assert!(images.contains(&format!("{name}:{tag}")), "{images}");
    }
    let wrong = run(&["pull", "--all-tags", &format!("{name}:1")]);
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
}

#[test]
fn the_second_of_two_processes_fetches_nothing() {
    let scene = Scene::new();
    scene.registry.slow_down(Duration::ZERO, 20_000_000);
    let pulls = [scene.begin(), scene.begin()];
    let mut bytes = pulls.map(|pull| fetched(&pull.wait_with_output().unwrap()));
    bytes.sort_unstable();
    let layers: u64 = scene.image.layers.iter().map(|layer| layer.size).sum();
    assert_eq!(bytes, [0, layers]);
}
