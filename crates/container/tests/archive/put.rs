//! What goes in.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use lapstrake_container::archive::{Class, PutOptions, View};

use crate::scene::{OPTIONS, Scene, got, owner, tar, write};

#[test]
fn what_is_put_in_is_there() {
    let scene = Scene::new();
    fs::create_dir(scene.root().join("to")).unwrap();
    let view = scene.view();
    let lines = [
        "d",
        "d/f=content",
        "implied/e/f=2",
        "l->d/f",
        "/absolute=3",
        "h==d/f",
        "./x/=4",
    ];
    view.put("/to", &tar(&lines[..6])[..], OPTIONS).unwrap();
    assert_eq!(
        got(&view, "/to/.").unwrap(),
        [
            "./",
            "./absolute=3",
            "./d/",
            "./d/f=content",
            "./h==./d/f",
            "./implied/",
            "./implied/e/",
            "./implied/e/f=2",
            "./l->d/f",
        ]
    );
    let stat = |path: &str| fs::symlink_metadata(scene.root().join("to").join(path)).unwrap();
    assert_eq!(stat("d/f").mode() & 0o7777, 0o640);
    assert_eq!(stat("d").mode() & 0o7777, 0o750);
    assert_eq!(stat("implied").mode() & 0o7777, 0o755);
    for path in ["d", "d/f", "l"] {
        assert_eq!(stat(path).mtime(), 1_600_000_000, "{path}");
    }
}

#[test]
fn entries_replace_what_has_their_names_but_directories_are_merged() {
    let scene = Scene::new();
    write(&scene.root().join("to/d/old"), "old");
    write(&scene.root().join("to/file"), "long and old");
    fs::hard_link(scene.root().join("to/file"), scene.root().join("other")).unwrap();
    symlink("/other", scene.root().join("to/link")).unwrap();
    let view = scene.view();
    let lines = ["d", "d/new=new", "file=new", "link=no link"];
    view.put("/to", &tar(&lines)[..], OPTIONS).unwrap();
    assert_eq!(
        got(&view, "/to").unwrap(),
        [
            "to/",
            "to/d/",
            "to/d/new=new",
            "to/d/old=old",
            "to/file=new",
            "to/link=no link"
        ]
    );
    // The old file was replaced, not written into.
    assert_eq!(
        fs::read_to_string(scene.root().join("other")).unwrap(),
        "long and old"
    );
    for (lines, words) in [
        (
            ["d=file"],
            "cannot overwrite directory \"/to/d\" with non-directory \"/to\"",
        ),
        (
            ["file/"],
            "cannot overwrite non-directory \"/to/file\" with directory \"/to\"",
        ),
    ] {
        let error = view.put("/to", &tar(&lines)[..], OPTIONS).unwrap_err();
        assert_eq!(
            (error.class(), error.to_string().as_str()),
            (Class::Invalid, words)
        );
    }
    let replace = PutOptions {
        replace_across_kinds: true,
        ..OPTIONS
    };
    view.put("/to", &tar(&["d=file", "file/", "file/in=it"])[..], replace)
        .unwrap();
    assert_eq!(
        got(&view, "/to").unwrap(),
        [
            "to/",
            "to/d=file",
            "to/file/",
            "to/file/in=it",
            "to/link=no link"
        ]
    );
}

#[test]
fn the_place_must_be_a_directory_and_links_to_it_are_followed() {
    let scene = Scene::new();
    write(&scene.root().join("a/file"), "1");
    symlink("/a", scene.root().join("link")).unwrap();
    let view = scene.view();
    view.put("/link", &tar(&["x=1"])[..], OPTIONS).unwrap();
    assert_eq!(fs::read_to_string(scene.root().join("a/x")).unwrap(), "1");
    let error = view.put("/gone", &tar(&["x=1"])[..], OPTIONS).unwrap_err();
    assert_eq!(error.class(), Class::NotFound);
    let error = view
        .put("/a/file", &tar(&["x=1"])[..], OPTIONS)
        .unwrap_err();
    assert_eq!(
        (error.class(), error.to_string().as_str()),
        (Class::Invalid, "extraction point is not a directory")
    );
}

#[test]
fn what_the_container_may_not_write_is_not_written() {
    let scene = Scene::new();
    fs::create_dir_all(scene.root().join("data")).unwrap();
    let entry = tar(&["x=1"]);
    let words = |view: &View, path: &str, tar: &[u8]| {
        let error = view.put(path, tar, OPTIONS).unwrap_err();
        assert_eq!(error.class(), Class::Invalid);
        error.to_string()
    };
    let view = View::open(&scene.root(), &[scene.attached("/data", true)], true).unwrap();
    assert_eq!(
        words(&view, "/", &entry),
        "container rootfs is marked read-only"
    );
    view.put("/data", &entry[..], OPTIONS).unwrap();
    assert_eq!(fs::read_to_string(scene.volume().join("x")).unwrap(), "1");
    let view = scene.view_with("/data", false);
    assert_eq!(
        words(&view, "/data", &entry),
        "mounted volume is marked read-only"
    );
    assert_eq!(
        words(&view, "/", &tar(&["ok=1", "data/y=1"])),
        "mounted volume is marked read-only"
    );
    assert_eq!(
        words(&view, "/", &tar(&["data/new/y=1"])),
        "mounted volume is marked read-only"
    );
    assert!(scene.root().join("ok").exists());
    assert_eq!(fs::read_dir(scene.volume()).unwrap().count(), 1);
}

#[test]
fn what_is_mounted_is_not_replaced() {
    let scene = Scene::new();
    fs::create_dir_all(scene.root().join("a/data")).unwrap();
    write(&scene.volume().join("kept"), "1");
    let view = scene.view_with("/a/data", true);
    let replace = PutOptions {
        replace_across_kinds: true,
        ..OPTIONS
    };
    for name in ["a=file", "a/data=file"] {
        let error = view.put("/", &tar(&[name])[..], replace).unwrap_err();
        assert!(
            error.to_string().ends_with("device or resource busy"),
            "{error}"
        );
    }
    view.put("/", &tar(&["a", "a/data", "a/data/new=2"])[..], OPTIONS)
        .unwrap();
    assert_eq!(
        got(&view, "/a/data").unwrap(),
        ["data/", "data/kept=1", "data/new=2"]
    );
    assert_eq!(
        fs::metadata(scene.volume()).unwrap().permissions().mode() & 0o777,
        0o750
    );
}

#[test]
fn an_owner_may_be_given() {
    let scene = Scene::new();
    let (uid, gid) = owner();
    let own = PutOptions {
        owner: Some((uid, gid)),
        ..OPTIONS
    };
    let view = scene.view();
    view.put("/", &tar(&["d", "d/f=1"])[..], own).unwrap();
    let stat = fs::metadata(scene.root().join("d/f")).unwrap();
    assert_eq!((stat.uid(), stat.gid()), (uid, gid));
}

#[test]
fn tars_that_are_none_are_refused() {
    let scene = Scene::new();
    let view = scene.view();
    let cut = tar(&["a=12345"]);
    for bytes in [&b"no tar"[..], &[b'x'; 2048], &cut[..600]] {
        let error = view.put("/", bytes, OPTIONS).unwrap_err();
        assert!(
            matches!(error.class(), Class::Invalid | Class::Internal),
            "{error}"
        );
    }
    view.put("/", &b""[..], OPTIONS).unwrap();
}
