//! What the prover records when the disk answers, and when it fails.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure is the test's"
)]

mod shared;

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use lapstrake_store::{
    Collected, Commit, Disk, HostId, ImageRecord, LayerState, Object, Place, RealDisk, Store,
};
use lapstrake_sys::publish::{Published, StagedFile};
use shared::{Scene, layer_id};

/// A disk on which syncs of `data` fail, or take their time, when it is told so.
#[derive(Debug, Default)]
struct FailingDisk {
    fails: AtomicBool,
    slow: AtomicBool,
}

impl Disk for FailingDisk {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.make_dir(path)
    }
    fn create(&self, path: &Path) -> io::Result<File> {
        RealDisk.create(path)
    }
    fn publish(&self, staged: StagedFile, name: &Path) -> io::Result<Published> {
        RealDisk.publish(staged, name)
    }
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<Published> {
        RealDisk.rename_new(from, to)
    }
    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.replace(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_file(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_dir(path)
    }
    fn sync_file(&self, file: &File) -> io::Result<()> {
        // As the kernel does: it tells once.
        if self.fails.swap(false, Ordering::Relaxed) {
            return Err(io::Error::from_raw_os_error(5));
        }
        if self.slow.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(100));
        }
        RealDisk.sync_file(file)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_dir(path)
    }
    fn committed(&self, path: &Path, commit: Commit) -> io::Result<()> {
        RealDisk.committed(path, commit)
    }
}

fn open(disk: &Arc<FailingDisk>, root: &Path, boot_id: &str) -> Store {
    let host = HostId::from_hostname("h");
    let place = Place {
        root,
        host: &host,
        boot_id,
    };
    Store::open_on(Arc::clone(disk) as _, place, None).unwrap()
}

fn state(store: &Store, text: &str) -> LayerState {
    store.state().layer(&layer_id(text)).unwrap().unwrap().state
}

#[test]
fn a_layer_is_proved_once_it_is_on_disk() {
    let scene = Scene::new();
    let store = scene.open();
    let image = scene.publish(&store, "one", 1, &["a", "b"]);
    assert_eq!(state(&store, "a"), LayerState::Present);
    let layers = ["a", "b", "a", "never there"].map(layer_id).to_vec();
    let blobs = vec![image.manifest, image.config];
    store.prove(layers, blobs).unwrap().wait().unwrap();
    for text in ["a", "b"] {
        assert_eq!(state(&store, text), LayerState::Proved);
    }
}

#[test]
fn a_failed_sync_makes_the_layer_doubtful_and_a_second_one_does_not_help() {
    let scene = Scene::new();
    let disk = Arc::new(FailingDisk::default());
    let store = open(&disk, scene.root(), "boot");
    scene.publish(&store, "one", 1, &["a", "b"]);
    disk.fails.store(true, Ordering::Relaxed);
    let both = || ["a", "b"].map(layer_id).to_vec();
    let error = store.prove(both(), vec![]).unwrap().wait().unwrap_err();
    assert!(error.to_string().contains("cannot sync"), "{error}");
    assert_eq!(state(&store, "a"), LayerState::Doubtful);
    assert_eq!(state(&store, "b"), LayerState::Proved);
    store.prove(both(), vec![]).unwrap().wait().unwrap();
    assert_eq!(state(&store, "a"), LayerState::Doubtful);
}

fn remove(store: &Store, image: ImageRecord) -> Collected {
    let (collection, now) = (store.collect(), SystemTime::now());
    let inventory = collection.inventory(now).unwrap();
    let plan = collection
        .plan(&inventory, &[image], &BTreeSet::new())
        .unwrap();
    collection.carry_out(&plan, now).unwrap()
}

#[test]
fn what_is_proved_without_being_asked_for_is_removed_all_the_same() {
    let scene = Scene::new();
    let disk = Arc::new(FailingDisk::default());
    let image = {
        let store = open(&disk, scene.root(), "boot");
        scene.publish(&store, "one", 1, &["a", "b"])
    };
    disk.slow.store(true, Ordering::Relaxed);
    let store = open(&disk, scene.root(), "boot");
    // By now the prover works on what was left.
    std::thread::sleep(Duration::from_millis(50));
    let collected = remove(&store, image);
    assert_eq!(collected.spared, 0);
    assert!(!store.content.has_layer(&layer_id("a")));
}

#[test]
fn what_is_being_proved_is_not_removed() {
    let scene = Scene::new();
    let store = scene.open();
    let image = scene.publish(&store, "one", 1, &["a"]);
    let proof = store.prove(vec![layer_id("a")], vec![]).unwrap();
    let collected = remove(&store, image);
    // Whether the prover was faster than the collection or not.
    let removed = collected.objects.contains(&Object::Layer(layer_id("a")));
    let recorded = store.state().layer(&layer_id("a")).unwrap().is_some();
    assert_eq!(recorded, !removed);
    assert_eq!(recorded, store.content.has_layer(&layer_id("a")));
    proof.wait().unwrap();
}

#[test]
fn what_an_owner_left_present_is_proved_by_the_next_under_the_same_kernel_only() {
    let scene = Scene::new();
    let disk = Arc::default();
    let published = |boot| {
        let store = open(&disk, scene.root(), boot);
        scene.publish(&store, "one", 1, &["a"]);
    };
    published("one");
    let store = open(&disk, scene.root(), "one");
    // A job behind it in the queue is done after it.
    store.prove(vec![], vec![]).unwrap().wait().unwrap();
    assert_eq!(state(&store, "a"), LayerState::Proved);
    store.state().forget_layer(&layer_id("a")).unwrap();
    drop((store.claim([Object::Layer(layer_id("a"))]), store));
    published("two");
    let store = open(&disk, scene.root(), "three");
    store.prove(vec![], vec![]).unwrap().wait().unwrap();
    assert_eq!(state(&store, "a"), LayerState::Doubtful);
}
