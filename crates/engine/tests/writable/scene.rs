//! A store with an image in it, and roots that are unmounted in the end.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lapstrake_drivers::erofs::{Erofs, PageCache};
use lapstrake_drivers::vfs::Xattrs;
use lapstrake_drivers::{Overlay2, Vfs};
use lapstrake_engine::{Access, CommitOptions, Committed, Engine, Opening, Reference};
use lapstrake_snapshot::{CopyUp, Driver, RunDir};
use lapstrake_testkit::registry::{self, Layer, Registry};
use lapstrake_testkit::tar::Tar;

use crate::shared;

pub(crate) struct Scene {
    // Dropped in this order: the engine lets go of the store before its directory goes.
    pub(crate) engine: Engine,
    pub(crate) image: Reference,
    pub(crate) dir: tempfile::TempDir,
    mounted: RefCell<Vec<PathBuf>>,
}

/// Makes a driver for the store in a directory.
pub(crate) type Maker = fn(&Path) -> Arc<dyn Driver>;

/// The default driver.
pub(crate) fn erofs(_dir: &Path) -> Arc<dyn Driver> {
    Arc::new(Erofs {
        cache: PageCache::Buffered,
        copy_up: CopyUp::AttributesFirst,
    })
}

/// The same, but writable layers are ordinary trees.
pub(crate) fn erofs_whole(_dir: &Path) -> Arc<dyn Driver> {
    Arc::new(Erofs {
        cache: PageCache::Buffered,
        copy_up: CopyUp::Whole,
    })
}

pub(crate) fn overlay2(dir: &Path) -> Arc<dyn Driver> {
    let driver = Overlay2::open(&dir.join("overlay2"), &run_dir(dir), CopyUp::Whole);
    Arc::new(driver.unwrap())
}

pub(crate) fn vfs(dir: &Path) -> Arc<dyn Driver> {
    let driver = Vfs::open(&dir.join("vfs"), &run_dir(dir), Xattrs::Needed);
    Arc::new(driver.unwrap())
}

fn run_dir(dir: &Path) -> RunDir {
    fs::create_dir_all(dir.join("run")).unwrap();
    RunDir::at(dir.join("run/roots")).unwrap()
}

/// Few files of many kinds, in two layers, the upper of which hides some of the lower one's.
fn layers() -> [Layer; 2] {
    let mut below = Tar::default();
    below
        .directory("a", 0o755)
        .file("a/f", 0o644, b"below")
        .file("a/gone", 0o644, b"gone")
        .directory("a/b", 0o700)
        .file("a/b/f", 0o644, &[7; 10_000])
        .hard_link("a/b/g", "a/b/f")
        .hard_link("g", "a/f")
        .directory("b", 0o755)
        .file("b/f", 0o4755, b"#!")
        .symlink("b/g", "../a/f")
        .directory("c", 0o1777)
        .directory("c/c", 0o755)
        .file("c/c/f", 0o644, b"")
        .fifo("c/p", 0o644)
        .device("d", b'3', 1, 3);
    let mut above = Tar::default();
    above
        .directory("a", 0o750)
        .file("a/.wh.gone", 0, b"")
        .file("a/g", 0o644, b"above")
        .directory("b", 0o711)
        .file("b/.wh..wh..opq", 0, b"")
        .file("b/f", 0o644, b"above");
    [Layer::plain(below.finish()), Layer::plain(above.finish())]
}

impl Scene {
    /// A scene, if this process may mount.
    pub(crate) fn new(test: &str, driver: Maker) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED {test}: needs root");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let engine = open(dir.path(), driver, "boot");
        let registry = Registry::start(registry::Access::Open);
        let image = registry.add_image("app", "1", &layers()).reference;
        shared::pull(&engine, &image);
        Some(Self {
            engine,
            image,
            dir,
            mounted: RefCell::new(Vec::new()),
        })
    }

    pub(crate) fn mount(&self, image: &Reference, access: &Access) -> PathBuf {
        let number = self.mounted.borrow().len();
        let target = self.dir.path().join(format!("root-{number}"));
        self.engine.mount(image, &target, access).unwrap();
        self.mounted.borrow_mut().push(target.clone());
        target
    }

    /// What the store is after a crash that `happened` tells of.
    pub(crate) fn after(mut self, driver: Maker, happened: impl FnOnce(&Path)) -> Self {
        let other = tempfile::tempdir().unwrap();
        // A store has one owner at a time: let go of this one first.
        drop(std::mem::replace(
            &mut self.engine,
            open(other.path(), driver, "boot"),
        ));
        happened(&self.dir.path().join("root/state"));
        self.engine = open(self.dir.path(), driver, "another boot");
        self
    }

    /// Mounts an image to be changed under this name.
    pub(crate) fn change(&self, image: &Reference, name: &str) -> PathBuf {
        self.mount(image, &Access::Writable(name.to_owned()))
    }

    pub(crate) fn commit(&self, name: &str, to: &str) -> (Reference, Committed) {
        let reference: Reference = to.parse().unwrap();
        let options = CommitOptions {
            execution: None,
            created_by: None,
            changes: Vec::new(),
            author: None,
            message: None,
            now: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        };
        let committed = self.engine.commit(name, &reference, &options).unwrap();
        (reference, committed)
    }
}

/// Opens the store as after a start with this boot id: after another one there may be something to sweep.
pub(crate) fn open(dir: &Path, driver: Maker, boot_id: &str) -> Engine {
    let surroundings = shared::surroundings(dir, boot_id);
    Engine::open_with(&surroundings, Opening::Own(None), driver(dir)).unwrap()
}

pub(crate) fn options(changes: &[&str]) -> CommitOptions {
    CommitOptions {
        execution: None,
        created_by: None,
        changes: changes.iter().map(|text| (*text).to_owned()).collect(),
        author: Some("me".to_owned()),
        message: Some("done".to_owned()),
        now: SystemTime::UNIX_EPOCH,
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // Roots that a test unmounted itself are not there any more.
        for target in self.mounted.borrow().iter().rev() {
            drop(self.engine.unmount(target));
        }
    }
}
