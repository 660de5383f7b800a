//! A synced commit waits for the disk also when it changes nothing, for those before it.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure is the test's"
)]

mod shared;

use std::process::Command;
use std::time::SystemTime;

use lapstrake_store::Commit;
use lapstrake_store::Lineage;
use shared::{Scene, image, layer_id};

const CHILD: &str = "LAPSTRAKE_TEST_SYNCED";

/// What is traced: the last commit names an image lazily, and a proof that finds nothing to do
/// follows.
#[test]
fn child() {
    let Some(root) = std::env::var_os(CHILD) else {
        return;
    };
    let store = shared::open(root.as_ref());
    let layers = [layer_id("a")];
    let lineage = Lineage {
        index: None,
        layers: &layers,
    };
    let named = image("other", 1);
    store
        .state()
        .set_image(&named, &lineage, SystemTime::now(), Commit::Lazy)
        .unwrap();
    // A mark in the trace.
    assert!(!std::path::Path::new("/named").exists());
    store
        .prove(layers.to_vec(), vec![])
        .unwrap()
        .wait()
        .unwrap();
    assert!(!std::path::Path::new("/proved").exists());
}

#[test]
fn a_proof_with_nothing_to_do_still_brings_the_name_to_disk() {
    if Command::new("strace").arg("--version").output().is_err() {
        eprintln!("SKIPPED a_proof_with_nothing_to_do: needs strace");
        return;
    }
    let scene = Scene::new();
    let store = scene.open();
    scene.publish(&store, "one", 1, &["a"]);
    let proof = store.prove(vec![layer_id("a")], vec![]).unwrap();
    proof.wait().unwrap();
    drop(store);
    let traced = Command::new("strace")
        .args(["-f", "-y", "-e", "trace=fsync,fdatasync,statx"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "child"])
        .env(CHILD, scene.root())
        .output()
        .unwrap();
    let trace = String::from_utf8_lossy(&traced.stderr);
    let (_, after) = trace.split_once("\"/named\"").unwrap();
    let (between, _) = after.split_once("\"/proved\"").unwrap();
    let synced = between
        .lines()
        .any(|line| line.contains("sync(") && line.contains("state.db-wal"));
    assert!(synced, "{between}");
}
