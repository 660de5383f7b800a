//! What an image gives a new volume.

use std::path::Path;

use crate::scene::{Scene, named};

fn image(scene: &Scene) -> std::path::PathBuf {
    let root = scene.dir.path().join("image");
    std::fs::create_dir_all(root.join("data/sub")).unwrap();
    std::fs::create_dir_all(root.join("empty")).unwrap();
    std::fs::write(root.join("data/sub/file"), "of the image").unwrap();
    root
}

#[test]
fn an_empty_volume_gets_what_the_image_has_and_a_used_one_nothing() {
    let scene = Scene::new();
    let root = image(&scene);
    scene.volumes.create(&named("data")).unwrap();
    let fill = |destination: &str| {
        scene
            .volumes
            .fill("data", None, "c1", &root, Path::new(destination))
            .unwrap()
    };
    assert!(!fill("/gone"));
    assert!(!fill("/data/sub/file"));
    assert!(fill("/empty"));
    assert!(fill("/data"));
    let file = scene.home("data/_data/sub/file");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "of the image");
    std::fs::write(&file, "of a user").unwrap();
    assert!(!fill("/data"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "of a user");
    assert_eq!(scene.volumes.attached("data"), [""; 0]);
    // A user's content stays what it is, whatever happens.
    let scene = scene.again("another boot");
    scene.volumes.attach("data", "c1").unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "of a user");
}

#[test]
fn a_volume_that_another_uses_is_never_emptied() {
    let scene = Scene::new();
    let root = image(&scene);
    scene.volumes.create(&named("data")).unwrap();
    let path = scene.volumes.attach("data", "running").unwrap();
    let other = path.join("sub");
    assert!(
        scene
            .volumes
            .fill("data", None, "c1", &root, Path::new("/data"))
            .unwrap()
    );
    std::fs::write(other.join("of-the-other"), "x").unwrap();
    let scene = scene.again("another boot");
    scene.volumes.attach("data", "running").unwrap();
    assert!(other.join("of-the-other").exists());
}

#[test]
fn a_part_of_a_volume_is_filled_by_itself() {
    let scene = Scene::new();
    let root = image(&scene);
    scene.volumes.create(&named("data")).unwrap();
    std::fs::create_dir(scene.home("data/_data/part")).unwrap();
    std::fs::write(scene.home("data/_data/other"), "x").unwrap();
    let fill = |part| {
        scene
            .volumes
            .fill("data", Some(part), "c1", &root, Path::new("/data"))
    };
    assert!(fill("part").unwrap());
    assert!(scene.home("data/_data/part/sub/file").exists());
    for outside in ["../..", "gone"] {
        assert!(!fill(outside).unwrap(), "{outside}");
    }
}

#[test]
fn a_volume_that_a_crash_left_half_filled_is_filled_again() {
    let scene = Scene::new();
    let root = image(&scene);
    scene.volumes.create(&named("data")).unwrap();
    let content = root.join("data");
    for name in ["a", "b"] {
        std::fs::write(content.join(name), name).unwrap();
    }
    // Deeper than a copy goes.
    let deep = content.join("sub/deep");
    std::fs::create_dir(&deep).unwrap();
    let flags = rustix::fs::OFlags::PATH;
    let mode = rustix::fs::Mode::RWXU;
    let mut dir = rustix::fs::open(&deep, flags, mode).unwrap();
    for _ in 0..2100 {
        rustix::fs::mkdirat(&dir, "d", mode).unwrap();
        dir = rustix::fs::openat(&dir, "d", flags, mode).unwrap();
    }
    let failed = scene
        .volumes
        .fill("data", None, "c1", &root, Path::new("/data"));
    let words = failed.unwrap_err().to_string();
    assert!(
        words.starts_with("failed to populate volume: cannot "),
        "{words}"
    );
    std::fs::remove_dir_all(&deep).unwrap();
    assert!(std::fs::read_dir(scene.home("data/_data")).unwrap().count() > 0);
    // As after a crash: the record still says that it is being filled.
    let scene = scene.again("another boot");
    let path = scene.volumes.attach("data", "c2").unwrap();
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0);
    assert!(
        scene
            .volumes
            .fill("data", None, "c2", &root, Path::new("/data"))
            .unwrap()
    );
    assert_eq!(std::fs::read_to_string(path.join("a")).unwrap(), "a");
    assert_eq!(
        std::fs::read_to_string(path.join("sub/file")).unwrap(),
        "of the image"
    );
}
