//! Writable layers that may hold so much and no more.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

use lapstrake_engine::{Class, RoomLimit};

use crate::scene::{Maker, Scene, erofs, erofs_whole, overlay2, vfs};

const MIB: u64 = 1 << 20;
const LIMIT: RoomLimit = RoomLimit {
    bytes: Some(32 * MIB),
    inodes: None,
};

/// Bytes that can be written to a new file.
fn fill(path: &Path) -> u64 {
    let mut file = fs::File::create(path).unwrap();
    let mut written = 0;
    loop {
        match file.write(&[7; 1 << 16]) {
            Ok(bytes) => written += bytes as u64,
            Err(error) => {
                let kinds = [ErrorKind::StorageFull, ErrorKind::QuotaExceeded];
                assert!(kinds.contains(&error.kind()), "{error}");
                return written;
            }
        }
        assert!(written < 100 * MIB, "no limit");
    }
}

fn a_limited_layer(test: &str, driver: Maker) {
    let Some(scene) = Scene::new(test, driver) else {
        return;
    };
    let engine = &scene.engine;
    engine.create(&scene.image, "one", LIMIT).unwrap();
    let root = scene.change(&scene.image, "one");
    let written = fill(&root.join("much"));
    assert!(written.abs_diff(32 * MIB) < 2 * MIB, "{written}");
    let usage = engine.writables().unwrap()[0].usage.unwrap();
    assert_eq!(usage.limit, LIMIT);

    // What was written so far can be committed, and more after there is more room.
    let (committed, _) = scene.commit("one", "full:1");
    let seen = scene.mount(&committed, &lapstrake_engine::Access::ReadOnly);
    assert_eq!(fs::metadata(seen.join("much")).unwrap().len(), written);
    let less = RoomLimit {
        bytes: Some(8 * MIB),
        ..LIMIT
    };
    let refused = engine.resize_writable("one", less).unwrap_err();
    assert_eq!(refused.class(), Class::Invalid, "{refused}");
    engine.unmount(&root).unwrap();
    let more = RoomLimit {
        bytes: Some(64 * MIB),
        ..LIMIT
    };
    engine.resize_writable("one", more).unwrap();
    let root = scene.change(&scene.image, "one");
    let written = fill(&root.join("more"));
    assert!(written.abs_diff(32 * MIB) < 4 * MIB, "{written}");
    engine.unmount(&root).unwrap();
    engine.remove_writable("one").unwrap();
    engine.settle().unwrap();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let rooms = scene.dir.path().join("run/rooms");
    assert!(!mounts.contains(rooms.to_str().unwrap()), "{mounts}");
}

#[test]
fn privileged_a_limit_holds_with_erofs() {
    a_limited_layer("limit, erofs", erofs);
}

#[test]
fn privileged_a_limit_holds_with_erofs_and_whole_copies() {
    a_limited_layer("limit, erofs_whole", erofs_whole);
}

#[test]
fn privileged_a_limit_holds_with_overlay2() {
    a_limited_layer("limit, overlay2", overlay2);
}

#[test]
fn privileged_a_limit_holds_with_vfs() {
    a_limited_layer("limit, vfs", vfs);
}
