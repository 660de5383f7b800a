//! Collections, sweeps and leases on a store on disk.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure is the test's"
)]

mod shared;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime};

use lapstrake_store::{Collected, FileUse, Object, Store};
use shared::{Scene, blob_of, image, layer_id};

/// Collects where nothing is claimed meanwhile: what was planned is freed, to the byte.
fn collect(store: &Store, names: &[&str], mounted: &[&str]) -> Collected {
    let (planned, collected) = plan_and_carry_out(store, names, mounted);
    assert_eq!(collected.bytes, planned);
    collected
}

/// The bytes that the plan speaks of, and what came of it.
fn plan_and_carry_out(store: &Store, names: &[&str], mounted: &[&str]) -> (u64, Collected) {
    let collection = store.collect();
    let now = SystemTime::now();
    let inventory = collection.inventory(now).unwrap();
    let names: Vec<_> = names
        .iter()
        .map(|name| {
            store
                .state()
                .image(&image(name, 0).reference)
                .unwrap()
                .unwrap()
        })
        .collect();
    let mounted: BTreeSet<_> = mounted.iter().map(|text| layer_id(text)).collect();
    let plan = collection.plan(&inventory, &names, &mounted).unwrap();
    let collected = collection.carry_out(&plan, now).unwrap();
    (plan.bytes, collected)
}

/// Bytes that all files below take.
fn disk_usage(dir: &std::path::Path) -> u64 {
    fn walk(dir: &std::path::Path, found: &mut Vec<FileUse>) {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            found.push(FileUse {
                inode: (metadata.dev(), metadata.ino()),
                links: 1,
                bytes: metadata.blocks() * 512,
            });
            if metadata.is_dir() {
                walk(&entry.path(), found);
            }
        }
    }
    let mut found = Vec::new();
    walk(dir, &mut found);
    lapstrake_store::freed(&found)
}

#[test]
fn an_image_goes_with_its_layers_and_indexes_and_exactly_what_was_said_is_freed() {
    let scene = Scene::new();
    let store = scene.open();
    scene.publish(&store, "one", 1, &["base", "top1"]);
    scene.publish(&store, "two", 2, &["base", "top2"]);
    let before =
        disk_usage(&scene.root().join("content")) + disk_usage(&scene.root().join("state/index"));
    let collected = collect(&store, &["one"], &[]);
    assert_eq!(collected.objects.len(), 3);
    assert!(!store.content.has_layer(&layer_id("top1")));
    assert!(!store.indexes.path(&layer_id("top1")).exists());
    assert!(store.content.has_layer(&layer_id("base")));
    assert_eq!(store.state().layer(&layer_id("top1")).unwrap(), None);
    store.empty_trash().unwrap();
    let after =
        disk_usage(&scene.root().join("content")) + disk_usage(&scene.root().join("state/index"));
    assert_eq!(before - after, collected.bytes);
    assert_eq!(collect(&store, &[], &[]), Collected::default());
    assert_eq!(collect(&store, &["two"], &[]).objects.len(), 4);
}

#[test]
fn what_is_mounted_leased_or_claimed_stays() {
    let scene = Scene::new();
    let store = scene.open();
    scene.publish(&store, "one", 1, &["mounted", "leased", "claimed", "free"]);
    let layer = |text| Object::Layer(layer_id(text));
    let soon = SystemTime::now() + Duration::from_secs(60);
    let lease = store.lease(&[layer("leased")], soon).unwrap();
    let claim = store.claim([layer("claimed")]);
    // Less than planned: the plan doesn't know of claims.
    let (_planned, collected) = plan_and_carry_out(&store, &["one"], &["mounted"]);
    let gone: BTreeSet<_> = collected.objects.into_iter().collect();
    assert!(gone.contains(&layer("free")));
    for text in ["mounted", "leased", "claimed"] {
        assert!(store.content.has_layer(&layer_id(text)), "{text}");
    }
    drop((lease, claim));
    assert_eq!(collect(&store, &[], &[]).objects.len(), 3);
}

#[test]
fn what_is_claimed_after_the_plan_is_spared() {
    let scene = Scene::new();
    let store = scene.open();
    let one = scene.publish(&store, "one", 1, &["a", "b"]);
    let collection = store.collect();
    let inventory = collection.inventory(SystemTime::now()).unwrap();
    let plan = collection
        .plan(&inventory, std::slice::from_ref(&one), &BTreeSet::new())
        .unwrap();
    assert_eq!(plan.victims.len(), 4);
    drop(store.claim([Object::Layer(layer_id("a"))]));
    let collected = collection.carry_out(&plan, SystemTime::now()).unwrap();
    assert_eq!((collected.objects.len(), collected.spared), (3, 1));
    assert!(store.content.has_layer(&layer_id("a")));
}

#[test]
fn an_image_that_is_pulled_again_meanwhile_keeps_its_name() {
    let scene = Scene::new();
    let store = scene.open();
    let one = scene.publish(&store, "one", 1, &["a"]);
    let collection = store.collect();
    let inventory = collection.inventory(SystemTime::now()).unwrap();
    let plan = collection
        .plan(&inventory, std::slice::from_ref(&one), &BTreeSet::new())
        .unwrap();
    scene.publish(&store, "one", 1, &["a"]);
    let collected = collection.carry_out(&plan, SystemTime::now()).unwrap();
    assert_eq!(collected.names, []);
    assert_eq!(collected.objects, []);
    assert_eq!(store.state().images().unwrap(), [one]);
}

#[test]
fn what_a_crash_left_is_swept_and_nothing_else() {
    let scene = Scene::new();
    let store = scene.open();
    let one = scene.publish(&store, "one", 1, &["a"]);
    // A publication and a removal that were cut short, and a record whose content is gone.
    scene.publish_layer(&store, "orphan");
    store.state().forget_layer(&layer_id("orphan")).unwrap();
    scene.publish_layer(&store, "lost");
    let lost = store.content.layer_files(&layer_id("lost")).data;
    fs::remove_dir_all(lost.parent().unwrap()).unwrap();
    fs::File::create(scene.root().join("content/trash/junk")).unwrap();
    fs::File::create(scene.root().join("state/index/.x-1-1")).unwrap();
    std::mem::forget(store.lease(&[Object::Layer(layer_id("a"))], SystemTime::now()));
    scene.crash(store);

    let store = scene.open();
    // The sweep in the background may have been faster; then there is nothing left to find.
    let _swept = store.sweep().unwrap();
    store.empty_trash().unwrap();
    assert!(!store.content.has_layer(&layer_id("orphan")));
    assert_eq!(store.state().layer(&layer_id("lost")).unwrap(), None);
    assert!(store.content.has_layer(&layer_id("a")));
    assert_eq!(store.state().images().unwrap(), [one]);
    let count = |path: &str| fs::read_dir(scene.root().join(path)).unwrap().count();
    assert_eq!(count("content/trash"), 0);
    assert_eq!(count("state/index"), 1);
    collect(&store, &[], &[]);
    assert_eq!(count("content/leases/h"), 0);
}

#[test]
fn content_outlives_the_loss_of_the_database_until_it_is_published_again() {
    let scene = Scene::new();
    let store = scene.open();
    scene.publish(&store, "one", 1, &["a", "b"]);
    drop(store);
    for file in ["state.db", "state.db-wal", "state.db-shm", "owner"] {
        drop(fs::remove_file(scene.root().join("state").join(file)));
    }
    let store = scene.open();
    let swept = store.sweep().unwrap();
    assert_eq!(swept.strays.len(), 4);
    assert_eq!(collect(&store, &[], &[]).objects, []);
    assert!(store.content.has_layer(&layer_id("a")));
    // Nobody checked these bytes: who publishes the layer must not find them.
    let layer = Object::Layer(layer_id("a"));
    let _lease = store.lease(&[layer], SystemTime::now()).unwrap();
    assert!(!store.content.has_layer(&layer_id("a")));
    assert!(store.content.has_layer(&layer_id("b")));
    store.state().keep_strays(false).unwrap();
    assert_eq!(store.sweep().unwrap().orphans.len(), 3);
}

#[test]
fn what_was_kept_for_a_look_goes_when_it_is_meant() {
    let scene = Scene::new();
    let store = scene.open();
    scene.publish(&store, "one", 1, &["a", "b"]);
    store.content.quarantine_layer(&layer_id("a")).unwrap();
    drop(store);
    for file in ["state.db", "state.db-wal", "state.db-shm", "owner"] {
        drop(fs::remove_file(scene.root().join("state").join(file)));
    }
    let store = scene.open();
    store.sweep().unwrap();
    let collection = store.collect();
    let now = SystemTime::now();
    let inventory = collection.inventory(now).unwrap();
    let plan = collection.plan(&inventory, &[], &BTreeSet::new()).unwrap();
    assert_eq!((plan.victims.len(), plan.bytes), (0, 0));
    let plan = collection
        .plan(&inventory.without_strays(), &[], &BTreeSet::new())
        .unwrap()
        .and(collection.quarantined().unwrap());
    assert_eq!((plan.victims.len(), plan.quarantined.len()), (3, 1));
    let before = disk_usage(&scene.root().join("content"));
    let collected = collection.carry_out(&plan, now).unwrap();
    assert_eq!(collected.bytes, plan.bytes);
    store.empty_trash().unwrap();
    let content = scene.root().join("content");
    // The index was swept when the store was opened.
    assert_eq!(before - disk_usage(&content), collected.bytes);
    assert_eq!(fs::read_dir(content.join("quarantine")).unwrap().count(), 0);
}

#[test]
fn a_blob_that_was_published_is_found_again() {
    let scene = Scene::new();
    let store = scene.open();
    let one = scene.publish(&store, "one", 1, &["a"]);
    let blob = store.content.read_blob(&one.config, 100).unwrap();
    assert_eq!(blob, blob_of("config", 1));
}
