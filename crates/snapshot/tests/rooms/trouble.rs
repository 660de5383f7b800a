//! Rooms in trouble: a full file system below, killed makers, other mount namespaces; and pools.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lapstrake_snapshot::room::{Backing, Class, Error, Policy, Reserve, RoomId, Rooms};

use lapstrake_sys::publish;

use crate::support::*;

/// Rooms were promised more than there is: they run full while there is space below, and have more
/// when there is more.
#[test]
fn privileged_room_in_an_image_is_full_before_the_disk_below() {
    if !privileged("privileged_room_in_an_image_is_full_before_the_disk_below") {
        return;
    }
    let scene = Scene::on(&["mkfs.ext4", "-q", "-m", "0"], 300);
    let other = scene.disk.join("other");
    write_up_to(&other, 100 * MIB).unwrap();
    let rooms = scene.open();
    let (one, two) = (id("one"), id("two"));
    let first = rooms.create(&one, bytes(400 * MIB)).unwrap();
    let second = rooms.create(&two, bytes(400 * MIB)).unwrap();
    let mut written = [0, 0];
    for (room, written) in [&first, &second].into_iter().zip(&mut written) {
        let (bytes, errno) = write_up_to(&room.dir.join("a"), 500 * MIB).unwrap_err();
        assert!(is_full(errno), "{errno}");
        // At the write, not when it was too late.
        File::open(room.dir.join("a")).unwrap().sync_all().unwrap();
        *written = bytes;
    }
    assert!(written[0].abs_diff(written[1]) < 4 * MIB, "{written:?}");
    assert!(scene.free() > 16 * MIB, "{}", scene.free());
    fs::remove_file(&other).unwrap();
    scene.sync();
    rooms.guard().unwrap();
    write_up_to(&first.dir.join("b"), 30 * MIB).unwrap();
    write_up_to(&second.dir.join("b"), 30 * MIB).unwrap();
}

/// Rooms for different things on one file system have one budget.
#[test]
fn privileged_rooms_beside_others_are_full_before_the_disk_below() {
    if !privileged("privileged_rooms_beside_others_are_full_before_the_disk_below") {
        return;
    }
    let scene = Scene::on(&["mkfs.ext4", "-q", "-m", "0"], 300);
    let at = |name: &str| {
        (
            scene.disk.join(name),
            scene.dir.path().join(format!("run-{name}")),
        )
    };
    let ((layers, layers_run), (volumes, volumes_run)) = (at("layers"), at("volumes"));
    let open = |rooms: &PathBuf, run: &PathBuf| Rooms::open(rooms, run, scene.policy).unwrap();
    let one = open(&layers, &layers_run).beside(&volumes, &volumes_run);
    let first = one.create(&id("one"), bytes(400 * MIB)).unwrap();
    let two = open(&volumes, &volumes_run).beside(&layers, &layers_run);
    let second = two.create(&id("two"), bytes(400 * MIB)).unwrap();
    for room in [&first, &second] {
        let (_bytes, errno) = write_up_to(&room.dir.join("a"), 500 * MIB).unwrap_err();
        assert!(is_full(errno), "{errno}");
        File::open(room.dir.join("a")).unwrap().sync_all().unwrap();
    }
    assert!(scene.free() > 16 * MIB, "{}", scene.free());
}

/// Somebody else used up what was shared out. Writers are told, nothing waits, and what was on disk
/// is there when there is space again.
#[test]
fn privileged_room_in_an_image_survives_a_full_disk_below() {
    if !privileged("privileged_room_in_an_image_survives_a_full_disk_below") {
        return;
    }
    let scene = Scene::on(&["mkfs.ext4", "-q", "-m", "0"], 300);
    let rooms = scene.open();
    let id = id("promised");
    let room = rooms.create(&id, bytes(200 * MIB)).unwrap();
    write_up_to(&room.dir.join("kept"), 10 * MIB).unwrap();
    let other = scene.disk.join("other");
    write_up_to(&other, 500 * MIB).unwrap_err();
    let start = Instant::now();
    write_up_to(&room.dir.join("lost"), 100 * MIB).unwrap_err();
    let names = (0..200).filter(|n| File::create(room.dir.join(n.to_string())).is_ok());
    eprintln!(
        "{} files of 200 could be made on a full disk",
        names.count()
    );
    drop(rooms.release(&id));
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
    drop(rooms);

    fs::remove_file(other).unwrap();
    scene.sync();
    let rooms = scene.open();
    let room = rooms.mount(&id).unwrap();
    assert_eq!(fs::metadata(room.dir.join("kept")).unwrap().len(), 10 * MIB);
    write_up_to(&room.dir.join("more"), 50 * MIB).unwrap();
    rooms.release(&id).unwrap();
    let image = scene.disk.join("rooms/promised/room.ext4");
    run(&["e2fsck", "-f", "-n", text(&image)]);
}

/// A file system that gave up is mounted again as soon as nobody uses it.
#[test]
fn privileged_room_in_an_image_that_gave_up_comes_back() {
    if !privileged("privileged_room_in_an_image_that_gave_up_comes_back") {
        return;
    }
    let scene = Scene::new(Some(Backing::Image));
    let rooms = scene.open();
    let id = id("stopped");
    let room = rooms.create(&id, bytes(16 * MIB)).unwrap();
    write_up_to(&room.dir.join("kept"), MIB).unwrap();
    run(&["xfs_io", "-x", "-c", "shutdown -f", text(&room.dir)]);
    File::create(room.dir.join("refused")).unwrap_err();
    assert_eq!(rooms.mount(&id).unwrap(), room);
    assert_eq!(fs::metadata(room.dir.join("kept")).unwrap().len(), MIB);
    write_up_to(&room.dir.join("new"), MIB).unwrap();
}

/// With everything set aside, the disk below may be as full as it likes.
#[test]
fn privileged_room_in_an_image_can_have_its_space_for_itself() {
    if !privileged("privileged_room_in_an_image_can_have_its_space_for_itself") {
        return;
    }
    let scene = Scene::on(&["mkfs.ext4", "-q", "-m", "0"], 300);
    let policy = Policy {
        backing: Some(Backing::Image),
        reserve: Reserve::Whole,
    };
    let rooms = scene.open_as(policy);
    let id = id("mine");
    let room = rooms.create(&id, bytes(100 * MIB)).unwrap();
    let too_much = rooms.create(&"more".parse().unwrap(), bytes(400 * MIB));
    assert_eq!(too_much.unwrap_err().class(), Class::ResourceExhausted);
    write_up_to(&scene.disk.join("other"), 500 * MIB).unwrap_err();
    write_up_to(&room.dir.join("a"), 99 * MIB).unwrap();
    rooms.trim(&id).unwrap();
    fs::remove_file(room.dir.join("a")).unwrap();
    sync_at(&room.dir);
    write_up_to(&room.dir.join("b"), 99 * MIB).unwrap();
}

/// What a process that is killed leaves: rooms that are whole, and nothing else.
#[test]
fn privileged_room_makers_can_be_killed_at_any_time() {
    if !privileged("privileged_room_makers_can_be_killed_at_any_time") {
        return;
    }
    let scene = Scene::new(Some(Backing::Image));
    let mut found = 0;
    for round in 0_u64..25 {
        let mut child = child(&[], "busy_child", &scene);
        std::thread::sleep(Duration::from_millis(20 + (round * 37) % 190));
        child.kill().unwrap();
        child.wait().unwrap();
        let rooms = scene.open();
        for id in rooms.ids().unwrap() {
            let room = rooms.mount(&id).unwrap();
            File::create(room.dir.join("written")).unwrap();
            let usage = rooms.usage(&id).unwrap();
            assert!(usage.limit.bytes.is_some(), "{usage:?}");
            found += 1;
            if round % 2 == 0 {
                rooms.remove(&id).unwrap();
            }
        }
        drop(rooms);
        assert_swept(&scene);
    }
    let rooms = scene.open();
    for id in rooms.ids().unwrap() {
        rooms.remove(&id).unwrap();
    }
    rooms.drain_pool().unwrap();
    rooms.settle().unwrap();
    assert!(scene.is_bare(), "{:?}", scene.mounts());
    assert_loops(&scene, 0);
    assert!(found > 0, "no round found a room");
}

/// A process that was being started by the killed one holds its locks for a moment more.
fn assert_swept(scene: &Scene) {
    let mut left = Vec::new();
    for _ in 0..100 {
        scene.open().settle().unwrap();
        left.clear();
        for hidden in [".new", ".trash"] {
            left.extend(fs::read_dir(scene.disk.join("rooms").join(hidden)).unwrap());
        }
        if left.is_empty() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{left:?}");
}

/// This test again, in a process of its own.
fn child(before: &[&str], name: &str, scene: &Scene) -> Child {
    let tests = std::env::current_exe().unwrap();
    let name = format!("trouble::{name}");
    let command = [before, &[text(&tests), "--exact", &name]].concat();
    Command::new(command[0])
        .args(&command[1..])
        .env(SCENE, scene.dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

pub(crate) const SCENE: &str = "LAPSTRAKE_TEST_SCENE";

/// In such a process: the rooms of the test that started it. `None` in an ordinary run.
fn rooms_of_parent() -> Option<Rooms> {
    let dir = PathBuf::from(std::env::var_os(SCENE)?);
    let policy = Policy {
        backing: Some(Backing::Image),
        reserve: Reserve::Nothing,
    };
    let rooms = Rooms::open(&dir.join("disk/rooms"), &dir.join("run"), policy);
    Some(rooms.unwrap())
}

/// Makes, changes and removes rooms until it is killed.
#[test]
fn busy_child() {
    let Some(rooms) = rooms_of_parent() else {
        return;
    };
    for number in 0_u64..100_000 {
        let (new, old) = (number % 5, (number + 1) % 5);
        let (new, old) = (id(&format!("r{new}")), id(&format!("r{old}")));
        let made = rooms.create(&new, bytes(16 * MIB));
        assert!(matches!(made, Ok(_) | Err(Error::Exists(_))), "{made:?}");
        rooms.resize(&new, bytes((16 + number % 2) * MIB)).unwrap();
        rooms.fill_pool(1, bytes((16 + number % 3) * MIB)).unwrap();
        match rooms.remove(&old) {
            Ok(()) | Err(Error::Missing(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Writes files that say what is in them, each on disk when the next begins, until the power goes.
#[test]
fn power_cut_child() {
    let Some(rooms) = rooms_of_parent() else {
        return;
    };
    let start = rooms.ids().unwrap().len();
    let busy = id(&format!("busy-{start}"));
    let room = rooms.create(&busy, bytes(64 * MIB)).unwrap();
    for number in 0_u64.. {
        let name = format!("f{number}");
        let written = write_up_to(&room.dir.join(&name), 100_000 + number);
        if written.is_err() {
            return;
        }
        File::open(&room.dir).unwrap().sync_all().unwrap();
        // Known to be on disk: told outside of the room, on the disk below.
        let count = rooms_file(&busy);
        fs::create_dir_all(count.parent().unwrap()).unwrap();
        let mut file = File::create(count.with_extension("new")).unwrap();
        file.write_all(number.to_string().as_bytes()).unwrap();
        file.sync_all().unwrap();
        publish::replace(&count.with_extension("new"), &count).unwrap();
        publish::sync_dir(count.parent().unwrap()).unwrap();
        if number % 50 == 7 {
            let other = id(&format!("other-{start}-{number}"));
            rooms.create(&other, bytes(16 * MIB)).unwrap();
            rooms.remove(&other).unwrap();
        }
    }
}

/// Where it is told what a room must hold.
fn rooms_file(id: &RoomId) -> PathBuf {
    let dir = PathBuf::from(std::env::var_os(SCENE).unwrap());
    dir.join("told").join(id.as_str())
}

#[test]
fn after_power_cut_child() {
    let Some(rooms) = rooms_of_parent() else {
        return;
    };
    let ids = rooms.ids().unwrap();
    assert!(!ids.is_empty(), "no room was made");
    let mut files = 0;
    for id in ids {
        let room = rooms.mount(&id).unwrap();
        let Ok(last) = fs::read_to_string(rooms_file(&id)) else {
            continue;
        };
        for number in 0..=last.parse::<u64>().unwrap() {
            let file = room.dir.join(format!("f{number}"));
            let length = fs::read(&file).unwrap().len() as u64;
            assert_eq!(length, 100_000 + number, "{}", file.display());
            files += 1;
        }
        let image = std::env::var_os(SCENE).unwrap();
        let image = PathBuf::from(image)
            .join("disk/rooms")
            .join(&id)
            .join("room.ext4");
        rooms.release(&id).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        run(&["e2fsck", "-f", "-n", text(&image)]);
    }
    eprintln!("{files} files are there");
    assert!(files > 0, "nothing was written");
    rooms.settle().unwrap();
}

/// Two mount namespaces, one file system: never two devices of one file.
#[test]
fn privileged_room_in_an_image_is_one_in_all_namespaces() {
    if !privileged("privileged_room_in_an_image_is_one_in_all_namespaces") {
        return;
    }
    let scene = Scene::new(Some(Backing::Image));
    let rooms = scene.open();
    let id = id("shared");
    let room = rooms.create(&id, bytes(32 * MIB)).unwrap();
    // Keeps it mounted here, whatever happens to its directory.
    let held = File::open(&room.dir).unwrap();
    let unshare = ["unshare", "--mount", "--propagation", "private"];
    let status = child(&unshare, "other_namespace_child", &scene)
        .wait()
        .unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(scene.loops().len(), 1, "{:?}", scene.loops());
    let room = rooms.mount(&id).unwrap();
    assert!(room.dir.join("there").exists(), "another file system");
    drop(held);
}

#[test]
fn other_namespace_child() {
    let Some(rooms) = rooms_of_parent() else {
        return;
    };
    let id = id("shared");
    rooms.release(&id).unwrap();
    let room = rooms.mount(&id).unwrap();
    File::create(room.dir.join("there")).unwrap();
}

/// A pooled room is taken for the limit that it was made with, at once.
#[test]
fn privileged_room_from_a_pool() {
    if !privileged("privileged_room_from_a_pool") {
        return;
    }
    let scene = Scene::new(Some(Backing::Image));
    let rooms = scene.open();
    let limit = bytes(64 * MIB);
    assert_eq!(rooms.fill_pool(3, limit).unwrap(), 3);
    assert_eq!(rooms.fill_pool(3, limit).unwrap(), 0);
    assert!(rooms.ids().unwrap().is_empty());
    // Another process finds the pool.
    drop(rooms);
    let rooms = scene.open();
    assert_eq!(rooms.fill_pool(3, limit).unwrap(), 0);
    for name in ["a", "b", "c", "d"] {
        let start = Instant::now();
        let room = rooms.create(&id(name), limit).unwrap();
        eprintln!("{name}: {:?}", start.elapsed());
        let (written, errno) = write_up_to(&room.dir.join("x"), 100 * MIB).unwrap_err();
        assert!(is_full(errno));
        assert!(written.abs_diff(64 * MIB) < MIB, "{written}");
        assert_eq!(rooms.usage(&room.id).unwrap().limit, limit);
    }
    assert_eq!(scene.mounts().len(), 4);
    rooms.fill_pool(1, limit).unwrap();
    let other = rooms.create(&id("other"), bytes(32 * MIB)).unwrap();
    assert_eq!(rooms.fill_pool(1, limit).unwrap(), 0, "taken for {other:?}");
    rooms.drain_pool().unwrap();
    rooms.settle().unwrap();
    assert_eq!(scene.mounts().len(), 5);
}
