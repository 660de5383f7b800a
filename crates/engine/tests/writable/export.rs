//! A root that was exported and unpacked is the root that was mounted.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use lapstrake_engine::{Access, Compression, ImageName, RootOf, Target};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::readers::change;
use crate::scene::{Maker, Scene, erofs, erofs_whole, overlay2, vfs};
use crate::steps::{Step, steps};
use crate::tree::seen;

const ROUNDS: usize = 3;
const STEPS: usize = 100;

/// What GNU tar makes of an export.
fn exported(scene: &Scene, root: RootOf<'_>, compression: Compression) -> BTreeMap<String, String> {
    let (tar, to) = (scene.dir.path().join("x.tar"), scene.dir.path().join("x"));
    let target = Target::File(&tar);
    scene.engine.export(root, compression, &target).unwrap();
    fs::create_dir(&to).unwrap();
    let unpack = ["--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf"];
    let mut command = Command::new("tar");
    let output = command.args(unpack).arg(&tar).arg("-C").arg(&to).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    let unpacked = seen(&to);
    fs::remove_dir_all(&to).unwrap();
    fs::remove_file(&tar).unwrap();
    unpacked
}

fn compare(got: &BTreeMap<String, String>, want: &BTreeMap<String, String>, what: &str) {
    for path in got.keys().chain(want.keys()) {
        assert_eq!(got.get(path), want.get(path), "/{path} {what}");
    }
}

fn check(test: &str, driver: Maker) {
    for seed in 0..2 {
        let Some(scene) = Scene::new(test, driver) else {
            return;
        };
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed + 100; 32]);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let mut image = scene.image.clone();
        for round in 0..ROUNDS {
            let name = format!("layer-{round}");
            let root = scene.change(&image, &name);
            let steps = steps(STEPS).new_tree(&mut runner).unwrap().current();
            // GNU tar, as Go's reader, has no way to read an attribute with `=` in its name.
            let is_readable = |step: &&Step| match step {
                Step::SetAttribute(_, name, _) => !name.contains('='),
                _ => true,
            };
            for step in steps.iter().filter(is_readable) {
                step.take(&root);
            }
            let before = seen(&root);
            let what = format!("after round {round} of seed {seed}: {steps:#?}");
            // While it is mounted, and when it is not.
            let export = || exported(&scene, RootOf::Writable(&name), Compression::None);
            compare(&export(), &before, &what);
            scene.engine.unmount(&root).unwrap();
            compare(&export(), &before, &what);
            let (committed, _) = scene.commit(&name, &format!("committed:{round}"));
            let of: ImageName = committed.to_string().parse().unwrap();
            let unpacked = exported(&scene, RootOf::Image(&of), Compression::Zstd);
            compare(&unpacked, &before, &what);
            image = committed;
        }
    }
}

#[test]
fn privileged_exported_roots_are_what_containers_left() {
    check("export", erofs);
}

#[test]
fn privileged_exported_roots_are_what_containers_left_whole() {
    check("export whole", erofs_whole);
}

#[test]
fn privileged_exported_roots_are_what_containers_left_on_overlay2() {
    check("export overlay2", overlay2);
}

#[test]
fn privileged_exported_roots_are_what_containers_left_on_vfs() {
    check("export vfs", vfs);
}

#[test]
fn privileged_an_export_has_all_that_a_tar_can_say() {
    let Some(scene) = Scene::new("export all", erofs) else {
        return;
    };
    // A layer in which nothing was done yet has no root of its own.
    let limit = lapstrake_engine::RoomLimit::NONE;
    scene.engine.create(&scene.image, "one", limit).unwrap();
    let plain = scene.mount(&scene.image, &Access::ReadOnly);
    let unpacked = exported(&scene, RootOf::Writable("one"), Compression::None);
    compare(&unpacked, &seen(&plain), "of a new layer");

    let root = scene.change(&scene.image, "one");
    change(&root);
    let before = seen(&root);
    let _socket = UnixListener::bind(root.join("socket")).unwrap();
    rustix::fs::utimensat(
        rustix::fs::CWD,
        &root,
        &rustix::fs::Timestamps {
            last_access: rustix::fs::Timespec {
                tv_sec: 1,
                tv_nsec: 2,
            },
            last_modification: rustix::fs::Timespec {
                tv_sec: 3,
                tv_nsec: 4,
            },
        },
        rustix::fs::AtFlags::empty(),
    )
    .unwrap();
    let unpacked = exported(&scene, RootOf::Writable("one"), Compression::Gzip);
    let mut want = before;
    want.insert(String::new(), unpacked[""].clone());
    assert!(unpacked[""].contains("3.000000004"), "{}", unpacked[""]);
    compare(&unpacked, &want, "with all");
    let tar = scene.dir.path().join("again");
    let told = scene
        .engine
        .export(
            RootOf::Writable("one"),
            Compression::None,
            &Target::File(&tar),
        )
        .unwrap();
    assert_eq!(told.skipped, [b"socket"[..].into()]);
    assert!(!contains(&tar, b"trusted.overlay"));
}

fn contains(path: &Path, bytes: &[u8]) -> bool {
    let all = fs::read(path).unwrap();
    all.windows(bytes.len()).any(|window| window == bytes)
}
