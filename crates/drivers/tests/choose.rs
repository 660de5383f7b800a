//! Choices on real file systems: what is probed, and what comes of it.
#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene fails")]

use std::path::Path;

use lapstrake_drivers::choose::{DriverName, Facts, Paths, choose, probe};
use lapstrake_testkit::scene::{Scene, privileged, run, text};

fn facts(dir: &Path) -> Facts {
    let facts = probe(Paths {
        content: dir,
        state: dir,
        drivers: dir,
    })
    .unwrap();
    let left: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name != "lost+found")
        .collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    facts
}

/// On a fit file system the best driver is chosen, and all would work.
fn all_work(test: &str, kind: &str, mkfs: Option<&[&str]>, shares: bool) {
    if !privileged(test) {
        return;
    }
    let scene = Scene::on(mkfs, 512);
    let facts = facts(&scene.store);
    assert_eq!((&*facts.state.kind, &*facts.content.kind), (kind, kind));
    assert_eq!(facts.state.shares_blocks, shares);
    let choice = choose(None, &facts).unwrap();
    assert_eq!(choice.driver, DriverName::Erofs, "{choice:#?}");
    for driver in DriverName::ALL {
        assert_eq!(choose(Some(driver), &facts).unwrap().driver, driver);
    }
}

#[test]
fn privileged_all_drivers_work_on_ext4() {
    all_work("on_ext4", "ext4", Some(&["mkfs.ext4", "-q"]), false);
}

#[test]
fn privileged_all_drivers_work_on_xfs() {
    all_work("on_xfs", "xfs", Some(&["mkfs.xfs", "-q", "-f"]), true);
}

#[test]
fn privileged_all_drivers_work_on_btrfs() {
    all_work("on_btrfs", "btrfs", Some(&["mkfs.btrfs", "-q", "-f"]), true);
}

#[test]
fn privileged_layers_on_tmpfs_go_through_loop_devices() {
    if !privileged("on_tmpfs") {
        return;
    }
    let scene = Scene::on(None, 512);
    let facts = facts(&scene.store);
    assert!(!facts.content.backs_mounts, "{facts:#?}");
    // Before 6.6 a tmpfs has no `user.` attributes, and so can hold no state.
    if facts.state.xattrs {
        let choice = choose(None, &facts).unwrap();
        let notes = choice.candidates[0].verdict.as_ref().unwrap();
        assert!(notes[0].contains("loop devices"), "{choice:#?}");
    }
}

#[test]
fn privileged_an_overlay_holds_no_writable_layers() {
    if !privileged("on_overlay") {
        return;
    }
    let scene = Scene::new();
    for name in ["lower", "upper", "work"] {
        scene.target(name);
    }
    let at = |name: &str| text(&scene.dir.path().join(name)).to_owned();
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        at("lower"),
        at("upper"),
        at("work")
    );
    run(
        "mount",
        &[
            "-t",
            "overlay",
            "-o",
            &options,
            "overlay",
            text(&scene.store),
        ],
    );
    let facts = facts(&scene.store);
    assert_eq!(facts.state.kind, "overlay");
    assert_eq!(choose(None, &facts).unwrap().driver, DriverName::Vfs);
    for driver in [DriverName::Erofs, DriverName::Overlay2] {
        let error = choose(Some(driver), &facts).unwrap_err().to_string();
        for word in ["overlay on an overlay", "local ext4", "vfs would work"] {
            assert!(error.contains(word), "{word:?} is not in: {error}");
        }
    }
}

#[test]
fn privileged_a_file_system_without_owners_holds_nothing() {
    if !privileged("on_vfat") {
        return;
    }
    let known = std::fs::read_to_string("/proc/filesystems").unwrap();
    let there = std::process::Command::new("mkfs.vfat")
        .arg("--help")
        .output();
    if !known.contains("vfat") || there.is_err() {
        eprintln!("SKIPPED on_vfat: no vfat or no mkfs.vfat here");
        return;
    }
    let scene = Scene::on(Some(&["mkfs.vfat"]), 512);
    let facts = facts(&scene.store);
    let error = choose(None, &facts).unwrap_err().to_string();
    for word in ["vfat", "keeps no owners", "no extended attributes"] {
        assert!(error.contains(word), "{word:?} is not in: {error}");
    }
}

#[test]
fn privileged_an_old_xfs_without_d_type_is_refused() {
    if !privileged("on_old_xfs") {
        return;
    }
    // Kernels are built without the old format now; then there is nothing to refuse.
    let scene = Scene::new();
    let (disk, store) = (scene.dir.path().join("disk"), text(&scene.store));
    let file = std::fs::File::create(&disk).unwrap();
    file.set_len(512 << 20).unwrap();
    let old = ["-q", "-f", "-m", "crc=0", "-n", "ftype=0", text(&disk)];
    let made = std::process::Command::new("mkfs.xfs").args(old).output();
    let mounted = made.is_ok_and(|made| made.status.success())
        && std::process::Command::new("mount")
            .args(["-o", "loop", text(&disk), store])
            .status()
            .unwrap()
            .success();
    if !mounted {
        eprintln!("SKIPPED on_old_xfs: no xfs of version 4 here");
        return;
    }
    let facts = facts(&scene.store);
    assert!(!facts.state.d_type);
    assert_eq!(choose(None, &facts).unwrap().driver, DriverName::Vfs);
    let error = choose(Some(DriverName::Overlay2), &facts).unwrap_err();
    assert!(error.to_string().contains("ftype=1"), "{error}");
}
