//! What only the erofs driver promises: checked files, shared superblocks, every backing file system.
//! What all drivers do is in `contract.rs`.
#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene fails")]

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use lapstrake_drivers::erofs::{Erofs, PageCache};
use lapstrake_oci::{Algorithm, DiffId};
use lapstrake_snapshot::{CopyUp, Error, Layer, Mounted};
use lapstrake_testkit::scene::{Scene, listing, privileged, run, text};

const DRIVER: Erofs = driver(CopyUp::Whole);

const fn driver(copy_up: CopyUp) -> Erofs {
    Erofs {
        cache: PageCache::Direct,
        copy_up,
    }
}

/// Why a stack cannot be mounted.
fn refused(scene: &Scene, layers: &[Layer]) -> Error {
    let target = scene.target("root");
    scene.run.mount(&DRIVER, layers, None, &target).unwrap_err()
}

#[test]
fn privileged_501_layers_are_refused() {
    if !privileged("501_layers") {
        return;
    }
    let scene = Scene::new();
    let layer = scene.files(&[("a", "")]);
    let layers: Vec<_> = (0..501)
        .map(|n: usize| Layer {
            id: DiffId(Algorithm::Sha256.digest(&n.to_le_bytes())),
            ..layer.clone()
        })
        .collect();
    let error = refused(&scene, &layers);
    assert!(
        matches!(
            error,
            Error::TooManyLayers {
                layers: 501,
                max: 500
            }
        ),
        "{error:?}"
    );
}

#[test]
fn privileged_a_file_of_another_size_is_refused() {
    if !privileged("wrong_size") {
        return;
    }
    let scene = Scene::new();
    let layer = scene.files(&[("a", "contents")]);
    let data = layer.data.clone().unwrap().path;
    for length in [0, 4095, 8192] {
        fs::File::options()
            .write(true)
            .open(&data)
            .unwrap()
            .set_len(length)
            .unwrap();
        let error = refused(&scene, std::slice::from_ref(&layer));
        let Error::WrongSize {
            path,
            recorded: 4096,
            found,
        } = error
        else {
            panic!("{error:?}");
        };
        assert_eq!((path, found), (data.clone(), length));
    }
    assert_eq!(scene.mounts(), Vec::<PathBuf>::new());
}

#[test]
fn privileged_a_damaged_index_is_refused_and_nothing_stays() {
    if !privileged("damaged_index") {
        return;
    }
    let scene = Scene::new();
    type Damage = fn(&Path);
    let damage: [(&str, Damage); 4] = [
        ("zeros", |index| {
            let file = fs::File::options().write(true).open(index).unwrap();
            let length = file.metadata().unwrap().len();
            file.set_len(0).unwrap();
            file.set_len(length).unwrap();
        }),
        ("one other bit", |index| {
            let file = fs::File::options()
                .read(true)
                .write(true)
                .open(index)
                .unwrap();
            let mut byte = [0];
            file.read_exact_at(&mut byte, 1500).unwrap();
            file.write_all_at(&[byte[0] ^ 4], 1500).unwrap();
        }),
        ("short", |index| {
            let file = fs::File::options().write(true).open(index).unwrap();
            file.set_len(100).unwrap();
        }),
        ("gone", |index| fs::remove_file(index).unwrap()),
    ];
    for (what, damage) in damage {
        let (good, bad) = (scene.files(&[("a", "1")]), scene.files(&[("b", "1")]));
        damage(&bad.index.path);
        let error = refused(&scene, &[good, bad.clone()]);
        assert!(
            matches!(&error, Error::Index { path, .. } if *path == bad.index.path),
            "{what}: {error:?}"
        );
    }
    assert_eq!(scene.mounts(), Vec::<PathBuf>::new());
}

#[test]
fn privileged_stacks_share_layers_until_the_last_is_gone() {
    if !privileged("sharing") {
        return;
    }
    let scene = Scene::new();
    let layers = [
        scene.files(&[("a", "1")]),
        scene.files(&[("b", "1")]),
        scene.files(&[("c", "1")]),
    ];
    let counts = |mounted: Mounted| (mounted.fresh, mounted.shared);
    let first = scene.mount(&DRIVER, &layers[..2], "first");
    assert_eq!(counts(first), (2, 0));
    let second = scene.mount(&DRIVER, &layers[1..], "second");
    assert_eq!(counts(second), (1, 1));
    scene.unmount("first");
    assert_eq!(listing(&scene.target("second")), ["b=1", "c=1"]);
    assert_eq!(scene.mounts().len(), 4, "tmpfs, two layers and a root");
    scene.unmount("second");
    assert_eq!(scene.mounts(), Vec::<PathBuf>::new());
}

#[test]
fn privileged_processes_may_mount_and_unmount_at_once() {
    if !privileged("at_once") {
        return;
    }
    let scene = Scene::new();
    let layers: Vec<_> = (0..20)
        .map(|n| scene.files(&[(&format!("f{n:02}"), "x")]))
        .collect();
    std::thread::scope(|threads| {
        for number in 0..4 {
            let (scene, layers) = (&scene, &layers);
            threads.spawn(move || {
                // Each lock is a file of its own, so threads exclude each other as processes do.
                let name = format!("root-{number}");
                for _ in 0..10 {
                    scene.mount(&DRIVER, layers, &name);
                    assert_eq!(listing(&scene.target(&name)).len(), 20);
                    scene.unmount(&name);
                }
            });
        }
    });
    assert_eq!(scene.mounts(), Vec::<PathBuf>::new());
}

fn writable(copy_up: CopyUp) {
    if !privileged("writable") {
        return;
    }
    let scene = Scene::new();
    let layers = [
        scene.files(&[("d/a", "1"), ("d/b", "1"), ("e/f", "1")]),
        scene.files(&[("d/c", "2")]),
    ];
    let driver = driver(copy_up);
    scene.mount_writable(&driver, &layers, "root");
    let at = |path: &str| scene.target("root").join(path);
    fs::File::create(at("d/new")).unwrap();
    fs::remove_file(at("d/a")).unwrap();
    run("mv", &[text(&at("d/b")), text(&at("d/moved"))]);
    run("mv", &[text(&at("e")), text(&at("g"))]);
    fs::set_permissions(at("d/c"), fs::Permissions::from_mode(0o600)).unwrap();
    let expected = ["d/", "d/c=2", "d/moved=1", "d/new=", "g/", "g/f=1"];
    assert_eq!(listing(&scene.target("root")), expected);
    let metacopy = lapstrake_sys::xattr::get(
        &scene.place("root").join("upper/d/c"),
        b"trusted.overlay.metacopy",
    );
    assert_eq!(
        metacopy.unwrap().is_some(),
        copy_up == CopyUp::AttributesFirst
    );
    scene.unmount("root");
    // The writable layer keeps its changes for the next mount.
    scene.mount_writable(&driver, &layers, "root");
    assert_eq!(listing(&scene.target("root")), expected);
    assert_eq!(fs::metadata(at("d/c")).unwrap().mode() & 0o7777, 0o600);
    scene.unmount("root");
}

#[test]
fn privileged_a_writable_layer_with_whole_copies() {
    writable(CopyUp::Whole);
}

#[test]
fn privileged_a_writable_layer_with_attributes_first() {
    writable(CopyUp::AttributesFirst);
}

#[test]
fn privileged_the_root_is_one_device_and_inodes_stay_at_copy_up() {
    if !privileged("one_device") {
        return;
    }
    let scene = Scene::new();
    let layers = [scene.files(&[("d/a", "1")]), scene.files(&[("d/b", "1")])];
    scene.mount_writable(&DRIVER, &layers, "root");
    let stat = |path: &str| {
        let stat = fs::metadata(scene.target("root").join(path)).unwrap();
        (stat.dev(), stat.ino())
    };
    let before = (stat("d/a"), stat("d/b"));
    assert_ne!(before.0.1, before.1.1);
    assert_eq!((before.0.0, before.1.0), (stat("").0, stat("").0));
    for name in ["d/a", "d/b"] {
        use std::io::Write;
        let mut file = fs::File::options()
            .append(true)
            .open(scene.target("root").join(name))
            .unwrap();
        file.write_all(b"2").unwrap();
    }
    assert_eq!((stat("d/a"), stat("d/b")), before);
}

/// A stack whose files lie on `mkfs`, read-only and writable.
fn backing(test: &str, mkfs: Option<&[&str]>, sector: u32) {
    if !privileged(test) {
        return;
    }
    let scene = Scene::on(mkfs, sector);
    let big = "0123456789abcdef".repeat(20_000);
    let layers = [
        scene.files(&[("d/a", "1"), ("big", &big)]),
        scene.files(&[("d/b", "2")]),
    ];
    let driver = driver(CopyUp::AttributesFirst);
    scene.mount_writable(&driver, &layers, "root");
    let expected = [
        format!("big={big}"),
        "d/".to_owned(),
        "d/a=1".to_owned(),
        "d/b=2".to_owned(),
    ];
    assert_eq!(listing(&scene.target("root")), expected);
    fs::remove_file(scene.target("root").join("d/a")).unwrap();
    scene.unmount("root");
    assert_eq!(scene.mounts(), Vec::<PathBuf>::new());
}

#[test]
fn privileged_on_ext4() {
    backing("ext4", Some(&["mkfs.ext4", "-q"]), 512);
}

#[test]
fn privileged_on_ext4_with_4k_sectors() {
    backing("ext4_4k", Some(&["mkfs.ext4", "-q"]), 4096);
}

#[test]
fn privileged_on_xfs() {
    backing("xfs", Some(&["mkfs.xfs", "-q", "-f"]), 512);
}

#[test]
fn privileged_on_btrfs() {
    backing("btrfs", Some(&["mkfs.btrfs", "-q", "-f"]), 512);
}

#[test]
fn privileged_on_tmpfs() {
    backing("tmpfs", None, 512);
}
