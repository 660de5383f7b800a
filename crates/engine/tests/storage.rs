//! One store through several storage drivers.
#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene fails")]

mod shared;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lapstrake_engine::{
    Access, DriverName, Engine, Error, IfUsed, Opening, Reference, StorageOptions, StorageRequest,
};
use lapstrake_testkit::registry::{self, Layer, Registry};
use lapstrake_testkit::scene::listing;
use lapstrake_testkit::tar;

struct Scene {
    dir: tempfile::TempDir,
    image: Reference,
}

impl Scene {
    fn new(test: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED {test}: needs root");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::start(registry::Access::Open);
        let layers = [("below", "1"), ("above", "2")]
            .map(|(name, contents)| Layer::plain(tar::of_file(name, contents.as_bytes())));
        let image = registry.add_image("app", "1", &layers).reference;
        let scene = Self { dir, image };
        shared::pull(&scene.open(None), &scene.image);
        Some(scene)
    }

    fn open(&self, driver: Option<DriverName>) -> Engine {
        let surroundings = shared::surroundings(self.dir.path(), "boot");
        let engine = Engine::open(&surroundings, Opening::Own(None)).unwrap();
        engine.with_storage(StorageRequest {
            driver,
            options: StorageOptions::DEFAULT,
        })
    }

    fn drivers(&self, below: &str) -> PathBuf {
        self.dir.path().join("root/state/drivers").join(below)
    }

    /// Mounts a writable layer, lets `work` at it, and unmounts it.
    fn with<T>(&self, engine: &Engine, name: &str, work: impl FnOnce(&Path) -> T) -> T {
        let target = self.dir.path().join("target");
        let access = Access::Writable(name.to_owned());
        engine.mount(&self.image, &target, &access).unwrap();
        let done = work(&target);
        engine.unmount(&target).unwrap();
        done
    }
}

fn create(path: &Path, contents: &str) {
    let mut file = fs::File::create(path).unwrap();
    file.write_all(contents.as_bytes()).unwrap();
}

#[test]
fn privileged_a_store_goes_on_with_any_driver() {
    let Some(scene) = Scene::new("any_driver") else {
        return;
    };
    for driver in DriverName::ALL {
        let engine = scene.open(Some(driver));
        let name = format!("made-by-{driver}");
        scene.with(&engine, &name, |root| create(&root.join("own"), &name));
        assert_eq!(engine.storage().unwrap().choice.driver, driver);
    }
    // Each driver mounts what every other one made, by one that can read it, and shows its changes.
    for driver in DriverName::ALL {
        let engine = scene.open(Some(driver));
        for maker in DriverName::ALL {
            let name = format!("made-by-{maker}");
            let seen = scene.with(&engine, &name, listing);
            let own = format!("own={name}");
            assert_eq!(seen, ["above=2", "below=1", &own], "{driver} {maker}");
            let changes = engine.changes(&name).unwrap().list;
            assert_eq!(changes.len(), 1, "{driver} {maker}: {changes:?}");
        }
    }
    let info = scene.open(None).storage().unwrap();
    assert_eq!(info.choice.driver, DriverName::Erofs);
    let notes = info.choice.notes.join("\n");
    assert!(notes.contains("overlay2 has unpacked 2 layers"), "{notes}");
    assert!(notes.contains("vfs has unpacked 1"), "{notes}");
}

#[test]
fn privileged_what_other_drivers_unpacked_goes_with_the_image() {
    let Some(scene) = Scene::new("unpacked") else {
        return;
    };
    for driver in [DriverName::Overlay2, DriverName::Vfs] {
        let engine = scene.open(Some(driver));
        scene.with(&engine, "layer", listing);
        engine.remove_writable("layer").unwrap();
        engine.settle().unwrap();
    }
    let count = |below: &str| fs::read_dir(scene.drivers(below)).unwrap().count();
    assert_eq!((count("overlay2/l"), count("vfs/dir")), (2, 1));
    let engine = scene.open(None);
    let name = scene.image.familiar().parse().unwrap();
    let now = SystemTime::now();
    engine.remove_images(&[name], IfUsed::Refuse, now).unwrap();
    assert_eq!((count("overlay2/l"), count("vfs/dir")), (0, 0));
    assert_eq!((count("overlay2/staging"), count("vfs/chains")), (0, 0));
}

#[test]
fn privileged_a_driver_that_cannot_work_is_refused_and_none_takes_its_place() {
    let Some(scene) = Scene::new("refused") else {
        return;
    };
    // The state on an overlay, as in a container without a volume.
    let state = scene.dir.path().join("root/state");
    let (upper, work) = (scene.dir.path().join("u"), scene.dir.path().join("w"));
    for dir in [&upper, &work] {
        fs::create_dir(dir).unwrap();
    }
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        state.display(),
        upper.display(),
        work.display()
    );
    lapstrake_testkit::scene::run(
        "mount",
        &[
            "-t",
            "overlay",
            "-o",
            &options,
            "overlay",
            state.to_str().unwrap(),
        ],
    );
    let target = scene.dir.path().join("target");
    let mount = |driver| {
        let engine = scene.open(driver);
        let mounted = engine.mount(&scene.image, &target, &Access::ReadOnly);
        mounted.map(|_| {
            let seen = listing(&target);
            engine.unmount(&target).unwrap();
            seen
        })
    };
    let refused = mount(Some(DriverName::Overlay2));
    let seen = mount(None);
    lapstrake_testkit::scene::run("umount", &["-l", state.to_str().unwrap()]);
    assert!(matches!(refused, Err(Error::Driver(_))), "{refused:?}");
    assert_eq!(seen.unwrap(), ["above=2", "below=1"], "vfs works there");
}
