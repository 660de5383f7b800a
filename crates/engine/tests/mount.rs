//! Mounting images from a store whose files something happened to.
#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene fails")]

mod shared;

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use lapstrake_engine::{Access, Engine, Opening, Reference};
use lapstrake_testkit::registry::{self, Layer, Registry};
use lapstrake_testkit::tar;

/// A store with an image of two layers, on a run directory of its own.
struct Scene {
    dir: tempfile::TempDir,
    engine: Engine,
    image: Reference,
}

impl Scene {
    fn new(test: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED {test}: needs root");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let surroundings = shared::surroundings(dir.path(), "boot");
        let engine = Engine::open(&surroundings, Opening::Own(None)).unwrap();
        let registry = Registry::start(registry::Access::Open);
        let layers = [("below", "1"), ("above", "2")]
            .map(|(name, contents)| Layer::plain(tar::of_file(name, contents.as_bytes())));
        let image = registry.add_image("app", "1", &layers).reference;
        shared::pull(&engine, &image);
        Some(Self { dir, engine, image })
    }

    fn target(&self) -> PathBuf {
        self.dir.path().join("target")
    }

    /// Mounts the image, and says what is in it.
    fn seen(&self) -> Vec<(String, String)> {
        let target = self.target();
        self.engine
            .mount(&self.image, &target, &Access::ReadOnly)
            .unwrap();
        let entries = fs::read_dir(&target).unwrap();
        let mut seen: Vec<_> = entries
            .map(|entry| {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                (name, fs::read_to_string(&path).unwrap())
            })
            .collect();
        seen.sort();
        self.engine.unmount(&target).unwrap();
        seen
    }

    fn indexes(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.dir.path().join("root/state/index")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // Only of use after a failure; then it is the failure that matters.
        drop(self.engine.unmount(&self.target()));
    }
}

fn check(test: &str, damage: fn(&Path)) {
    let Some(scene) = Scene::new(test) else {
        return;
    };
    let expected = [("above", "2"), ("below", "1")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(scene.seen(), expected);
    let indexes = scene.indexes();
    assert_eq!(indexes.len(), 2);
    for index in &indexes {
        damage(index);
        assert_eq!(scene.seen(), expected);
    }
}

fn open(path: &Path) -> fs::File {
    fs::File::options().write(true).open(path).unwrap()
}

#[test]
fn privileged_an_index_that_is_gone_is_made_again() {
    check("gone", |index| fs::remove_file(index).unwrap());
}

#[test]
fn privileged_an_index_that_was_cut_is_made_again() {
    check("cut", |index| open(index).set_len(4096).unwrap());
}

#[test]
fn privileged_an_index_with_another_byte_is_made_again() {
    check("byte", |index| {
        // In the superblock, where the kernel would not notice.
        open(index).write_all_at(&[0x55], 1024 + 64).unwrap();
    });
}
