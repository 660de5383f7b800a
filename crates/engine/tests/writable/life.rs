//! The life of a writable layer, step by step.

use std::fs;
use std::process::Command;

use lapstrake_engine::{Access, Class, Reference, RoomLimit};

use crate::scene::{Scene, erofs, options};

fn scene(test: &str) -> Option<Scene> {
    Scene::new(test, erofs)
}

fn list(scene: &Scene) -> Vec<(String, bool)> {
    let all = scene.engine.writables().unwrap().into_iter();
    all.map(|layer| (layer.record.name, layer.mounted))
        .collect()
}

#[test]
fn privileged_a_layer_is_made_mounted_and_removed() {
    let Some(scene) = scene("life") else { return };
    let engine = &scene.engine;
    engine.create(&scene.image, "one", RoomLimit::NONE).unwrap();
    assert_eq!(list(&scene), [("one".to_owned(), false)]);
    let again = engine
        .create(&scene.image, "one", RoomLimit::NONE)
        .unwrap_err();
    assert_eq!(again.class(), Class::Invalid, "{again}");
    let bad = engine
        .create(&scene.image, "../one", RoomLimit::NONE)
        .unwrap_err();
    assert_eq!(bad.class(), Class::Invalid, "{bad}");

    let root = scene.change(&scene.image, "one");
    fs::write(root.join("new"), vec![1; 100_000]).unwrap();
    assert_eq!(list(&scene), [("one".to_owned(), true)]);
    let busy = engine.remove_writable("one").unwrap_err();
    assert!(busy.to_string().contains("in use"), "{busy}");
    engine.unmount(&root).unwrap();

    let usage = engine.writables().unwrap()[0].usage.unwrap();
    assert!(usage.bytes >= 100_000, "{usage:?}");
    engine.remove_writable("one").unwrap();
    engine.settle().unwrap();
    assert_eq!(list(&scene), []);
    let gone = engine.remove_writable("one").unwrap_err();
    assert_eq!(gone.class(), Class::NotFound, "{gone}");
    let trash = scene.dir.path().join("root/state/containers/.trash");
    assert_eq!(fs::read_dir(trash).unwrap().count(), 0);
}

#[test]
fn privileged_a_layer_stays_with_its_image() {
    let Some(scene) = scene("image") else { return };
    let root = scene.change(&scene.image, "one");
    fs::write(root.join("new"), "1").unwrap();
    scene.engine.unmount(&root).unwrap();
    let (other, _) = scene.commit("one", "other:1");
    let target = scene.dir.path().join("target");
    let access = Access::Writable("one".to_owned());
    let refused = scene.engine.mount(&other, &target, &access).unwrap_err();
    assert!(refused.to_string().contains("lies on"), "{refused}");
}

#[test]
fn privileged_a_commit_makes_an_image_of_what_changed() {
    let Some(scene) = scene("commit") else { return };
    let root = scene.change(&scene.image, "one");
    fs::write(root.join("new"), "1").unwrap();
    fs::remove_file(root.join("a/f")).unwrap();
    let found = scene.engine.changes("one").unwrap();
    let listed: Vec<_> = found
        .list
        .iter()
        .map(|change| change.path.escape_ascii().to_string())
        .collect();
    assert_eq!(listed, ["a", "a/f", "new"]);

    // While it is mounted, as Docker does by default, if it is not paused.
    let reference: Reference = "made:1".parse().unwrap();
    let options = options(&["CMD [\"/new\"]", "ENV X=1"]);
    let made = scene.engine.commit("one", &reference, &options).unwrap();
    assert_eq!(made.image.reference, reference.to_string());
    let layer = made.layer.unwrap();
    let images = scene.engine.images().unwrap();
    let image = images
        .iter()
        .find(|image| image.id == made.image.config)
        .unwrap();
    assert_eq!(image.layers, 3);
    let fresh = scene.mount(&reference, &Access::ReadOnly);
    assert_eq!(fs::read_to_string(fresh.join("new")).unwrap(), "1");
    assert!(!fresh.join("a/f").exists());

    // The same changes are the same layer, and nothing is no layer.
    let second = scene.commit("one", "made:2").1;
    assert_eq!(second.layer.unwrap().diff_id, layer.diff_id);
    scene
        .engine
        .create(&scene.image, "empty", RoomLimit::NONE)
        .unwrap();
    let nothing = scene.commit("empty", "made:3").1;
    assert_eq!(nothing.layer, None);
}

#[test]
fn privileged_a_stack_that_a_killed_reader_left_mounted_is_unmounted() {
    let Some(scene) = scene("reader") else { return };
    scene
        .engine
        .create(&scene.image, "one", RoomLimit::NONE)
        .unwrap();
    let read = scene.dir.path().join("run/read");
    let left = read.join("99-0");
    let engine = &scene.engine;
    engine
        .mount(&scene.image, &left, &Access::ReadOnly)
        .unwrap();
    fs::write(left.with_extension("lock"), "").unwrap();
    assert!(left.join("a").exists());
    engine.changes("one").unwrap();
    assert_eq!(fs::read_dir(read).unwrap().count(), 0);
}

#[test]
fn privileged_the_next_owner_finishes_what_a_crash_left() {
    let Some(scene) = scene("crash") else { return };
    for name in ["kept", "half-made", "half-removed", "forgotten"] {
        let root = scene.change(&scene.image, name);
        if name != "half-made" {
            fs::write(root.join("new"), "1").unwrap();
        }
        scene.engine.unmount(&root).unwrap();
    }
    let scene = scene.after(erofs, |state| {
        let rooms = state.join("containers");
        // A removal that had only moved the room, one whose move was lost, and a creation that had
        // not come to its record.
        fs::rename(rooms.join("half-removed"), rooms.join(".trash/0")).unwrap();
        let db = state.join("state.db");
        let forget = "DELETE FROM writable WHERE name IN ('forgotten', 'half-made')";
        let done = Command::new("sqlite3").arg(db).arg(forget).status();
        assert!(done.unwrap().success());
    });
    assert_eq!(list(&scene), [("kept".to_owned(), false)]);
    scene.engine.settle().unwrap();
    let rooms = scene.dir.path().join("root/state/containers");
    let mut left: Vec<_> = fs::read_dir(&rooms)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| !name.as_encoded_bytes().starts_with(b"."))
        .collect();
    left.sort();
    assert_eq!(left, ["kept"]);
    assert_eq!(fs::read_dir(rooms.join(".trash")).unwrap().count(), 0);
}
