//! Pulls, mounts and collections at once: in threads, and in processes that are killed.
//!
//! What must hold at every moment: a name that is there after its image was claimed leads to
//! everything the image consists of; a mounted layer keeps its files. In the end nothing is left
//! that nothing leads to.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure is the test's"
)]

mod shared;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, SystemTime};

use lapstrake_oci::DiffId;
use lapstrake_store::{HostId, ImageRecord, Object, Patience, Place, Store};
use shared::{Scene, image, layer_id, publish};

/// Images of the world, with layers in common.
const IMAGES: [(&str, &[&str]); 5] = [
    ("a", &["base", "x", "a"]),
    ("b", &["base", "x", "b"]),
    ("c", &["base", "y", "c"]),
    ("d", &["d"]),
    ("e", &["base", "d", "e"]),
];

/// A sequence of numbers that looks random and is the same for the same seed (xorshift).
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % sides
    }
}

fn record(at: usize) -> ImageRecord {
    image(IMAGES[at].0, u32::try_from(at).unwrap())
}

fn layers(at: usize) -> Vec<DiffId> {
    IMAGES[at].1.iter().map(|text| layer_id(text)).collect()
}

fn objects(at: usize) -> Vec<Object> {
    let image = record(at);
    let documents = [image.manifest, image.config].map(Object::Blob);
    let layers = layers(at).into_iter().map(Object::Layer);
    documents.into_iter().chain(layers).collect()
}

fn pull(store: &Store, at: usize) {
    publish(
        store,
        IMAGES[at].0,
        u32::try_from(at).unwrap(),
        IMAGES[at].1,
    )
    .unwrap();
}

/// Removes the names of these images, if they are there, and what only they lead to.
fn remove(store: &Store, images: &[usize], mounted: &dyn Fn() -> BTreeSet<DiffId>) {
    remove_at(SystemTime::now(), store, images, mounted);
}

fn remove_at(
    now: SystemTime,
    store: &Store,
    images: &[usize],
    mounted: &dyn Fn() -> BTreeSet<DiffId>,
) {
    let collection = store.collect();
    let inventory = collection.inventory(now).unwrap();
    let wanted: Vec<_> = images.iter().map(|at| record(*at).reference).collect();
    let names: Vec<_> = (inventory.names.iter())
        .map(|name| name.image.clone())
        .filter(|image| wanted.contains(&image.reference))
        .collect();
    let plan = collection.plan(&inventory, &names, &mounted()).unwrap();
    collection.carry_out(&plan, now).unwrap();
}

/// Whether the image is there; then all of it must be.
fn check(store: &Store, at: usize) -> bool {
    let _claim = store.claim(objects(at));
    if store
        .state()
        .image(&record(at).reference)
        .unwrap()
        .is_none()
    {
        return false;
    }
    for id in layers(at) {
        assert!(
            store.state().layer(&id).unwrap().is_some(),
            "record of {id}"
        );
        check_files(store, &id);
        assert!(store.indexes.path(&id).exists(), "index of {id}");
    }
    for digest in [record(at).manifest, record(at).config] {
        store.content.read_blob(&digest, 100).unwrap();
    }
    true
}

fn check_files(store: &Store, id: &DiffId) {
    let files = store.content.layer_files(id);
    assert_eq!(std::fs::read(files.data).unwrap(), [7; 4096]);
    assert!(files.skeleton.exists() && files.spans.exists());
}

/// Nothing is left that nothing leads to.
fn check_end(store: &Store) {
    let swept = store.sweep().unwrap();
    assert_eq!((swept.orphans, swept.lost), (vec![], vec![]));
    for at in 0..IMAGES.len() {
        check(store, at);
    }
    // By then the leases of the killed have expired.
    let later = SystemTime::now() + Duration::from_secs(3600);
    remove_at(later, store, &[0, 1, 2, 3, 4], &BTreeSet::new);
    store.empty_trash().unwrap();
    assert_eq!(files_below(&store.root().join("content/layers")), 0);
    assert_eq!(files_below(&store.root().join("content/blobs")), 0);
    assert_eq!(files_below(&store.root().join("content/trash")), 0);
    assert_eq!(files_below(&store.root().join("content/tmp")), 0);
    assert_eq!(files_below(&store.root().join("state/index")), 0);
}

fn files_below(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .map(|path| if path.is_dir() { files_below(&path) } else { 1 })
        .sum()
}

/// How many roots use a layer, as a run directory would know.
#[derive(Default)]
struct Mounts(Mutex<BTreeMap<DiffId, usize>>);

impl Mounts {
    fn in_use(&self) -> BTreeSet<DiffId> {
        self.0.lock().unwrap().keys().cloned().collect()
    }

    fn change(&self, ids: &[DiffId], by: isize) {
        let mut table = self.0.lock().unwrap();
        for id in ids {
            let count = table.entry(id.clone()).or_default();
            *count = count.checked_add_signed(by).unwrap();
            if *count == 0 {
                table.remove(id);
            }
        }
    }
}

#[test]
fn threads_pull_mount_and_prune_at_once() {
    const ROUNDS: usize = 150;
    let scene = Scene::in_memory();
    let store = scene.open();
    let mounts = Mounts::default();
    thread::scope(|scope| {
        let (store, mounts) = (&store, &mounts);
        for seed in 1..=2 {
            scope.spawn(move || {
                let mut dice = Dice(seed);
                for _round in 0..ROUNDS {
                    let at = dice.throw(IMAGES.len());
                    pull(store, at);
                    check(store, at);
                }
            });
        }
        for seed in 11..=12 {
            scope.spawn(move || {
                let mut dice = Dice(seed);
                for _round in 0..ROUNDS * 4 {
                    let at = dice.throw(IMAGES.len());
                    let claim = store.claim(objects(at));
                    if !check(store, at) {
                        thread::yield_now();
                        continue;
                    }
                    mounts.change(&layers(at), 1);
                    drop(claim);
                    thread::sleep(Duration::from_micros(300));
                    layers(at).iter().for_each(|id| check_files(store, id));
                    mounts.change(&layers(at), -1);
                }
            });
        }
        scope.spawn(move || {
            let mut dice = Dice(21);
            for _round in 0..ROUNDS * 2 {
                let images = [dice.throw(IMAGES.len()), dice.throw(IMAGES.len())];
                remove(store, &images, &|| mounts.in_use());
                if dice.throw(5) == 0 {
                    store.empty_trash().unwrap();
                }
            }
        });
    });
    check_end(&store);
}

/// Says to a child where the store is.
const CHILD: &str = "LAPSTRAKE_TEST_CHILD";

/// Not a test of its own: what the children of the next one do.
#[test]
fn child() {
    let Ok(told) = std::env::var(CHILD) else {
        return;
    };
    let (seed, root) = told.split_once(' ').unwrap();
    let mut dice = Dice(seed.parse().unwrap());
    for _round in 0..15 {
        let store = open_patiently(Path::new(root));
        for _step in 0..4 {
            match dice.throw(3) {
                0 => remove(&store, &[dice.throw(IMAGES.len())], &BTreeSet::new),
                _ => pull(&store, dice.throw(IMAGES.len())),
            }
            check(&store, dice.throw(IMAGES.len()));
        }
    }
}

fn open_patiently(root: &Path) -> Store {
    let host = HostId::from_hostname("h");
    let place = Place {
        root,
        host: &host,
        boot_id: "boot",
    };
    let patience = Patience {
        at_most: Duration::from_secs(60),
        tell: &mut |_refusal| {},
    };
    Store::open_at(place, Some(patience)).unwrap()
}

fn start(root: &Path, seed: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, format!("{seed} {}", root.display()))
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn processes_pull_and_prune_in_turn_and_are_killed() {
    let scene = Scene::in_memory();
    let mut dice = Dice(31);
    let mut children: Vec<_> = (1..=3).map(|seed| start(scene.root(), seed)).collect();
    for seed in 4..24 {
        thread::sleep(Duration::from_millis(5 + dice.throw(40) as u64));
        let at = dice.throw(children.len());
        let mut child = std::mem::replace(&mut children[at], start(scene.root(), seed));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let store = scene.open();
    // What the last killed process left is found by the first sweep; what is then left is a leak.
    let _found = store.sweep().unwrap();
    check_end(&store);
}
