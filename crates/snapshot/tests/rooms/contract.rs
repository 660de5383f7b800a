//! The contract that every kind of room keeps: limits, usage, resizing, removal, restarts.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use lapstrake_snapshot::room::{Backing, Counted, Error, Limit, Rooms, Usage};
use lapstrake_sys::mount::{self, Unmount};

use crate::support::*;

const NO_LIMIT: Limit = Limit::NONE;

/// All of it, on one file system. `limited` is how rooms with a limit on bytes must be made there.
fn contract(scene: &Scene, limited: Backing) {
    let rooms = scene.open();
    bytes_are_limited(&rooms, limited);
    inodes_are_limited(&rooms);
    usage_is_right_at_once(&rooms);
    size_changes(&rooms);
    overlay_works_in_it(scene, &rooms);
    names_are_checked(&rooms);
    removal_frees(scene, &rooms);
    let rooms = restart_finds_all(scene, rooms);
    for id in rooms.ids().unwrap() {
        rooms.remove(&id).unwrap();
    }
    rooms.settle().unwrap();
    assert_eq!(rooms.ids().unwrap(), []);
    assert!(scene.is_bare(), "{:?}", scene.mounts());
    assert_loops(scene, 0);
}

fn assert_about(what: &str, found: u64, expected: u64, tolerance: u64) {
    assert!(
        found.abs_diff(expected) <= tolerance,
        "{what}: {found}, expected {expected} within {tolerance}"
    );
}

fn bytes_are_limited(rooms: &Rooms, backing: Backing) {
    let limit = bytes(32 * MIB);
    let (full, other) = (id("full"), id("other"));
    let room = rooms.create(&full, limit).unwrap();
    assert_eq!(room.backing, backing);
    assert_eq!(rooms.usage(&full).unwrap().limit, limit);
    let neighbour = rooms.create(&other, limit).unwrap();
    assert!(
        fs::read_dir(&room.dir).unwrap().next().is_none(),
        "not empty"
    );

    let (written, errno) = write_up_to(&room.dir.join("big"), 64 * MIB).unwrap_err();
    assert!(is_full(errno), "{errno}");
    assert_about("bytes in a full room", written, 32 * MIB, MIB);
    assert!(written <= 32 * MIB + MIB / 2, "{written}");
    // The neighbour notices nothing, and the full one is itself again when something is removed.
    write_up_to(&neighbour.dir.join("big"), 16 * MIB).unwrap();
    fs::remove_file(room.dir.join("big")).unwrap();
    sync_at(&room.dir);
    write_up_to(&room.dir.join("again"), 16 * MIB).unwrap();
    rooms.remove(&full).unwrap();
    rooms.remove(&other).unwrap();
}

fn inodes_are_limited(rooms: &Rooms) {
    let many = id("many");
    let limit = Limit {
        bytes: Some(32 * MIB),
        inodes: Some(500),
    };
    let room = rooms.create(&many, limit).unwrap();
    let held = rooms.usage(&many).unwrap().limit;
    assert_eq!(held.bytes, limit.bytes);
    // An image's inodes come in blocks of 16.
    assert_about("a limit on inodes", held.inodes.unwrap(), 500, 16);
    let mut made = 1;
    let error = loop {
        match File::create(room.dir.join(made.to_string())) {
            Ok(_) => made += 1,
            Err(error) => break error,
        }
        assert!(made < 600, "no limit");
    };
    assert!(is_full(errno(&error)), "{error}");
    assert_eq!(Some(made), held.inodes);
    let usage = rooms.usage(&many).unwrap();
    assert_eq!(usage.inodes, Some(made));
    rooms.remove(&many).unwrap();

    let limit = Limit {
        bytes: None,
        ..limit
    };
    let room = rooms.create(&many, limit).unwrap();
    write_up_to(&room.dir.join("a"), 40 * MIB).unwrap();
    let held = rooms.usage(&many).unwrap().limit;
    assert_eq!(held.bytes, None);
    assert_about("a limit on inodes alone", held.inodes.unwrap(), 500, 100);
    rooms.remove(&many).unwrap();
}

fn usage_is_right_at_once(rooms: &Rooms) {
    let gone = rooms.on_disk(&id("gone"));
    assert!(matches!(gone, Err(Error::Missing(_))), "{gone:?}");
    for (name, limit) in [("used", bytes(64 * MIB)), ("free", NO_LIMIT)] {
        let id = id(name);
        let room = rooms.create(&id, limit).unwrap();
        let dir = &room.dir;
        let usage = || {
            if room.backing == Backing::Subvolume {
                // Counted as of the last transaction.
                sync_at(dir);
            }
            rooms.usage(&id).unwrap()
        };
        let fresh = usage();
        let counted = fresh.counted != Counted::Walked;
        assert!(counted || limit.is_none(), "{room:?} is not counted");
        assert!(fresh.bytes <= 16384, "{fresh:?}");
        assert!(fresh.inodes.is_none_or(|inodes| inodes == 1), "{fresh:?}");
        let check = |what: &str, bytes: u64, inodes: u64| {
            let expected = fresh.bytes + bytes;
            let fits = |now: &Usage| {
                now.bytes.abs_diff(expected) <= 256 << 10
                    && now.inodes.is_none_or(|now| now == 1 + inodes)
            };
            let mut now = usage();
            for _ in 0..100 {
                if fits(&now) {
                    return;
                }
                // xfs frees a deleted file in the background, a moment later.
                std::thread::sleep(std::time::Duration::from_millis(20));
                now = usage();
            }
            panic!("{what}: {now:?}, expected {expected} bytes and {inodes} inodes more");
        };
        write_up_to(&dir.join("a"), 8 * MIB).unwrap();
        check("written", 8 * MIB, 1);
        File::create(dir.join("hole"))
            .unwrap()
            .set_len(1 << 32)
            .unwrap();
        check("a hole", 8 * MIB, 2);
        fs::hard_link(dir.join("a"), dir.join("b")).unwrap();
        check("a second name", 8 * MIB, 2);
        // By its files, which for an image is that.
        sync_at(dir);
        let on_disk = rooms.on_disk(&id).unwrap();
        assert!(on_disk.bytes >= 8 * MIB, "{on_disk:?}");
        assert!(on_disk.inodes.is_some(), "{on_disk:?}");
        fs::remove_file(dir.join("a")).unwrap();
        check("one name removed", 8 * MIB, 2);
        fs::remove_file(dir.join("b")).unwrap();
        check("the other too", 0, 1);
        rooms.remove(&id).unwrap();
    }
}

fn size_changes(rooms: &Rooms) {
    let id = id("grows");
    let room = rooms.create(&id, bytes(16 * MIB)).unwrap();
    write_up_to(&room.dir.join("a"), 64 * MIB).unwrap_err();
    rooms.resize(&id, bytes(48 * MIB)).unwrap();
    assert_eq!(rooms.usage(&id).unwrap().limit, bytes(48 * MIB));
    let (written, _) = write_up_to(&room.dir.join("b"), 64 * MIB).unwrap_err();
    assert_about("after growing", written, 32 * MIB, 2 * MIB);
    let error = rooms.resize(&id, bytes(24 * MIB)).unwrap_err();
    assert!(matches!(error, Error::UsesMore { .. }), "{error}");
    fs::remove_file(room.dir.join("b")).unwrap();
    sync_at(&room.dir);
    rooms.resize(&id, bytes(24 * MIB)).unwrap();
    let room = rooms.mount(&id).unwrap();
    let (written, errno) = write_up_to(&room.dir.join("b"), 64 * MIB).unwrap_err();
    assert!(is_full(errno));
    assert_about("after shrinking", written, 8 * MIB, 2 * MIB);
    rooms.remove(&id).unwrap();
}

fn overlay_works_in_it(scene: &Scene, rooms: &Rooms) {
    let id = id("upper");
    let room = rooms.create(&id, bytes(32 * MIB)).unwrap();
    let root = overlay(scene, &room.dir);
    fs::remove_file(root.join("gone")).unwrap();
    assert!(!root.join("gone").exists());
    // A copy-up that fits, then one byte too many.
    File::options().append(true).open(root.join("big")).unwrap();
    let (written, errno) = write_up_to(&root.join("more"), 64 * MIB).unwrap_err();
    assert!(is_full(errno), "{errno}");
    assert_about("beside a copy-up", written, 8 * MIB, 2 * MIB);
    if room.backing == Backing::Image {
        // The root keeps the image in use, whether or not the room is mounted.
        let error = rooms.resize(&id, bytes(31 * MIB)).unwrap_err();
        assert!(
            matches!(error, Error::UsesMore { .. } | Error::InUse { .. }),
            "{error}"
        );
        rooms.release(&id).unwrap();
        assert!(root.join("more").exists());
        assert_eq!(rooms.mount(&id).unwrap(), room);
        assert!(room.dir.join("upper/more").exists(), "another file system");
        assert_loops(scene, 1);
    }
    mount::unmount(&root, Unmount::IfIdle).unwrap();
    rooms.remove(&id).unwrap();
}

/// A root with a file to delete and one of 24 MiB, whose changes are kept in `dir`.
fn overlay(scene: &Scene, dir: &Path) -> PathBuf {
    let (upper, work) = (dir.join("upper"), dir.join("work"));
    let (lower, root) = (
        scene.dir.path().join("lower"),
        scene.dir.path().join("root"),
    );
    for dir in [&upper, &work, &lower, &root] {
        fs::create_dir_all(dir).unwrap();
    }
    File::create(lower.join("gone")).unwrap();
    write_up_to(&lower.join("big"), 24 * MIB).unwrap();
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        text(&lower),
        text(&upper),
        text(&work)
    );
    run(&[
        "mount",
        "-t",
        "overlay",
        "-o",
        &options,
        "overlay",
        text(&root),
    ]);
    root
}

fn names_are_checked(rooms: &Rooms) {
    let id = id("twice");
    assert!(matches!(rooms.mount(&id), Err(Error::Missing(_))));
    assert!(matches!(rooms.remove(&id), Err(Error::Missing(_))));
    rooms.create(&id, NO_LIMIT).unwrap();
    assert!(matches!(rooms.create(&id, NO_LIMIT), Err(Error::Exists(_))));
    assert!(matches!(
        rooms.create(&id, bytes(32 * MIB)),
        Err(Error::Exists(_))
    ));
    assert_eq!(rooms.ids().unwrap(), std::slice::from_ref(&id));
    rooms.remove(&id).unwrap();
    rooms.create(&id, bytes(32 * MIB)).unwrap();
    rooms.remove(&id).unwrap();
}

fn removal_frees(scene: &Scene, rooms: &Rooms) {
    rooms.settle().unwrap();
    let before = free_at_rest(scene);
    for limit in [bytes(64 * MIB), NO_LIMIT] {
        let id = id("freed");
        let room = rooms.create(&id, limit).unwrap();
        write_up_to(&room.dir.join("a"), 40 * MIB).unwrap();
        let with = scene.free();
        assert!(before - with >= 38 * MIB, "{before} {with}");
        fs::remove_file(room.dir.join("a")).unwrap();
        sync_at(&room.dir);
        rooms.trim(&id).unwrap();
        // What the journal wrote stays with an image.
        gives_back(scene, before - 8 * MIB);
        write_up_to(&room.dir.join("a"), 40 * MIB).unwrap();
        rooms.remove(&id).unwrap();
        rooms.settle().unwrap();
        gives_back(scene, before - MIB);
    }
}

/// What is free when the kernel has freed what earlier tests removed.
fn free_at_rest(scene: &Scene) -> u64 {
    let mut last = scene.free();
    loop {
        std::thread::sleep(std::time::Duration::from_millis(300));
        let now = scene.free();
        if now <= last {
            return now;
        }
        last = now;
    }
}

/// The kernel frees in the background.
fn gives_back(scene: &Scene, expected: u64) {
    let mut free = 0;
    for _ in 0..300 {
        std::thread::sleep(std::time::Duration::from_millis(20));
        free = scene.free();
        if free >= expected {
            return;
        }
    }
    panic!("{free} are free, expected {expected}");
}

fn restart_finds_all(scene: &Scene, rooms: Rooms) -> Rooms {
    let mut made = Vec::new();
    for (name, limit) in [("limited", bytes(32 * MIB)), ("unlimited", NO_LIMIT)] {
        let room = rooms.create(&id(name), limit).unwrap();
        File::create(room.dir.join(name)).unwrap();
        made.push(room);
    }
    let loops = scene.loops().len();
    drop(rooms);
    let rooms = scene.open();
    for room in &made {
        assert!(
            room.dir.join(room.id.as_str()).exists(),
            "unmounted by a restart"
        );
        assert_eq!(rooms.mount(&room.id).unwrap(), *room);
    }
    assert_loops(scene, loops);
    // As after a boot: nothing is mounted.
    for room in &made {
        let usage = rooms.usage(&room.id).unwrap();
        rooms.release(&room.id).unwrap();
        if room.backing == Backing::Image {
            assert_loops(scene, 0);
            assert_eq!(rooms.usage(&room.id).unwrap(), usage, "when unmounted");
        }
        let again = rooms.mount(&room.id).unwrap();
        assert_eq!(again, *room);
        assert!(again.dir.join(room.id.as_str()).exists());
    }
    rooms
}

#[test]
fn privileged_room_contract_of_image_files() {
    if privileged("privileged_room_contract_of_image_files") {
        contract(&Scene::on(&["mkfs.ext4", "-q"], 600), Backing::Image);
    }
}

#[test]
fn privileged_room_contract_of_image_files_on_xfs() {
    if privileged("privileged_room_contract_of_image_files_on_xfs") {
        contract(&Scene::on(&["mkfs.xfs", "-q"], 600), Backing::Image);
    }
}

#[test]
fn privileged_room_contract_of_image_files_on_tmpfs() {
    if privileged("privileged_room_contract_of_image_files_on_tmpfs") {
        contract(&Scene::on_tmpfs(600), Backing::Image);
    }
}

#[test]
fn privileged_room_contract_of_btrfs_subvolumes() {
    if privileged("privileged_room_contract_of_btrfs_subvolumes") {
        contract(&Scene::on(&["mkfs.btrfs", "-q"], 1024), Backing::Subvolume);
    }
}

/// The contract on a file system that is mounted with project quotas, where the kernel has them. A
/// process that may exceed quotas cannot test them, unless through overlay.
fn contract_of_projects(test: &str, mkfs: &[&str]) {
    if !privileged(test) {
        return;
    }
    let Some(scene) = Scene::with_option(mkfs, "prjquota", 600) else {
        eprintln!("SKIPPED {test}: this kernel has no project quotas");
        return;
    };
    if may_exceed_limits() {
        eprintln!("SKIPPED {test}: a process with CAP_SYS_RESOURCE is not limited");
        return;
    }
    contract(&scene, Backing::Project);
}

#[test]
fn privileged_room_contract_of_projects_on_ext4() {
    contract_of_projects(
        "privileged_room_contract_of_projects_on_ext4",
        &[
            "mkfs.ext4",
            "-q",
            "-O",
            "quota,project",
            "-E",
            "quotatype=prjquota",
        ],
    );
}

#[test]
fn privileged_room_contract_of_projects_on_xfs() {
    contract_of_projects(
        "privileged_room_contract_of_projects_on_xfs",
        &["mkfs.xfs", "-q"],
    );
}

/// Only a process that may do so grows a mounted ext4; for others, the room must be idle.
#[test]
fn privileged_room_in_an_image_grows_under_a_root() {
    if !privileged("privileged_room_in_an_image_grows_under_a_root") {
        return;
    }
    let scene = Scene::new(Some(Backing::Image));
    let rooms = scene.open();
    let id = id("busy");
    let room = rooms.create(&id, bytes(16 * MIB)).unwrap();
    let root = overlay(&scene, &room.dir);
    write_up_to(&root.join("a"), 64 * MIB).unwrap_err();
    let grown = rooms.resize(&id, bytes(400 * MIB));
    if may_exceed_limits() {
        grown.unwrap();
        let (written, _) = write_up_to(&root.join("b"), 500 * MIB).unwrap_err();
        assert_about("in a root that grew", written, 384 * MIB, 8 * MIB);
    } else {
        assert!(matches!(grown, Err(Error::InUse { .. })), "{grown:?}");
        // It goes on as it was.
        fs::remove_file(root.join("a")).unwrap();
        sync_at(&room.dir);
        write_up_to(&root.join("b"), 8 * MIB).unwrap();
    }
    mount::unmount(&root, Unmount::IfIdle).unwrap();
    rooms.resize(&id, bytes(500 * MIB)).unwrap();
    assert_eq!(rooms.usage(&id).unwrap().limit, bytes(500 * MIB));
}
