//! Damage below a mounted root.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use lapstrake_engine::{Access, Engine, Error, Verdict};

use crate::scene::Scene;

/// Unmounts even if the test fails.
struct Mounted<'a>(&'a Scene, &'a Path);

impl Mounted<'_> {
    fn end(&self) {
        self.0.engine().unmount(self.1).unwrap();
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        drop(self.0.engine().unmount(self.1));
    }
}

fn mount(engine: &Engine, scene: &Scene, target: &Path) -> Result<(), Error> {
    let mounted = engine.mount(scene.image(), target, &Access::ReadOnly);
    mounted.map(drop)
}

/// Writes wrong bytes into the file, on disk.
fn harm(data: &Path) {
    let file = File::options().write(true).open(data).unwrap();
    file.write_all_at(&[0x5a; 5000], 70_000).unwrap();
    file.sync_all().unwrap();
}

#[test]
fn privileged_a_mounted_layer_is_repaired_in_place() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED privileged_a_mounted_layer_is_repaired_in_place: needs root");
        return;
    }
    let scene = Scene::on_disk();
    let target = scene.root().join("mounted");
    let (data, big) = (scene.big_data(), target.join("dir/big"));
    mount(&scene.engine(), &scene, &target).unwrap();
    let mounted = Mounted(&scene, &target);
    harm(&data);
    assert!(fs::read(&big).unwrap() != Scene::big(), "the harm is seen");

    let found = scene.check().unwrap();
    assert!(found.damaged[0].mounted, "{found:#?}");
    let repaired = scene.repair(true);
    assert_eq!(repaired.verdict(), Verdict::Repaired, "{repaired:#?}");
    assert!(fs::read(&big).unwrap() == Scene::big(), "{repaired:#?}");

    // Without a source it can't be mounted again once it is not.
    harm(&data);
    let left = scene.repair(false);
    assert_eq!(left.verdict(), Verdict::Damaged, "{left:#?}");
    mounted.end();
    let refused = mount(&scene.engine(), &scene, &target).unwrap_err();
    assert!(matches!(refused, Error::NoLayer { .. }), "{refused}");

    let repaired = scene.repair(true);
    assert_eq!(repaired.verdict(), Verdict::Repaired, "{repaired:#?}");
    mount(&scene.engine(), &scene, &target).unwrap();
    assert!(fs::read(&big).unwrap() == Scene::big());
    mounted.end();
}
