//! Every driver against the suite, and against the others.
#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene fails")]

use std::path::{Path, PathBuf};

use lapstrake_drivers::erofs::{Erofs, PageCache};
use lapstrake_drivers::vfs::Xattrs;
use lapstrake_drivers::{Overlay2, Vfs};
use lapstrake_snapshot::{CopyUp, Driver};
use lapstrake_testkit::contract::everything;
use lapstrake_testkit::inventory::inventory;
use lapstrake_testkit::scene::{Scene, privileged};
use lapstrake_testkit::tar::Tar;

fn erofs(_scene: &Scene) -> Box<dyn Driver> {
    Box::new(Erofs {
        cache: PageCache::Direct,
        copy_up: CopyUp::AttributesFirst,
    })
}

fn overlay2(scene: &Scene) -> Box<dyn Driver> {
    let home = scene.store.join("drivers/overlay2");
    Box::new(Overlay2::open(&home, &scene.run, CopyUp::Whole).unwrap())
}

fn vfs(scene: &Scene) -> Box<dyn Driver> {
    let home = scene.store.join("drivers/vfs");
    Box::new(Vfs::open(&home, &scene.run, Xattrs::Needed).unwrap())
}

mod erofs_keeps {
    lapstrake_testkit::driver_contract!(super::erofs);
}

mod overlay2_keeps {
    lapstrake_testkit::driver_contract!(super::overlay2);
}

mod vfs_keeps {
    lapstrake_testkit::driver_contract!(super::vfs);
}

/// The same stack through all drivers, on one file system.
fn all_drivers_show_the_same(test: &str, mkfs: Option<&[&str]>) {
    if !privileged(test) {
        return;
    }
    let scene = match mkfs {
        None => Scene::new(),
        Some(mkfs) => Scene::on(Some(mkfs), 512),
    };
    let mut second = Tar::default();
    second
        .extended(&[("mtime", b"5.5"), ("uid", b"9")])
        .directory("d", 0o700)
        .file("d/.wh.old", 0o644, b"")
        .file("d/new", 0o644, b"new")
        .file("also-same", 0o600, b"another file now")
        .file("deep/.wh..wh..opq", 0o644, b"")
        .file("deep/end", 0o644, b"");
    let mut third = Tar::default();
    third
        .directory("./", 0o711)
        .file("big", 0o644, b"small now")
        .hard_link("big2", "big")
        .symlink("empty", "d/new")
        .attributes(&[("user.a", b"1")])
        .directory("deep", 0o755);
    let layers = [everything(), second.finish(), third.finish()].map(|tar| scene.layer(&tar));
    let mut seen = Vec::new();
    for driver in [erofs(&scene), overlay2(&scene), vfs(&scene)] {
        for name in ["root", "writable"] {
            if name == "root" {
                scene.mount(&*driver, &layers, name);
            } else {
                scene.mount_writable(&*driver, &layers, name);
            }
            seen.push((driver.name(), name, inventory(&scene.target(name))));
            scene.unmount(name);
        }
        std::fs::remove_dir_all(scene.place("writable")).unwrap();
    }
    let (_, _, expected) = &seen[0];
    assert!(
        expected.len() > 15 && !expected.contains_key("d/old"),
        "{expected:#?}"
    );
    for (driver, name, found) in &seen {
        for (path, line) in expected {
            assert_eq!(found.get(path), Some(line), "{driver}, {name}: {path}");
        }
        assert_eq!(
            found.len(),
            expected.len(),
            "{driver}, {name}: {:?}",
            found.keys()
        );
    }
    assert_eq!(scene.mounts(), Vec::<PathBuf>::new());
}

#[test]
fn privileged_all_drivers_show_the_same() {
    all_drivers_show_the_same("all_the_same", None);
}

#[test]
fn privileged_all_drivers_show_the_same_on_xfs() {
    all_drivers_show_the_same("all_the_same_xfs", Some(&["mkfs.xfs", "-q", "-f"]));
}

#[test]
fn privileged_all_drivers_show_the_same_on_btrfs() {
    all_drivers_show_the_same("all_the_same_btrfs", Some(&["mkfs.btrfs", "-q", "-f"]));
}

#[test]
fn privileged_data_is_made_again_from_the_unpacked_tree() {
    if !privileged("remake") {
        return;
    }
    let scene = Scene::new();
    let home = scene.store.join("drivers/overlay2");
    let driver = Overlay2::open(&home, &scene.run, CopyUp::Whole).unwrap();
    let layer = scene.layer(&everything());
    assert!(!driver.can_remake_data(&layer).unwrap(), "not realised yet");
    driver.realise(std::slice::from_ref(&layer)).unwrap();
    assert!(driver.can_remake_data(&layer).unwrap());
    // The data file goes, and what it had comes back.
    let data = layer.data.clone().unwrap().path;
    let before = std::fs::read(&data).unwrap();
    std::fs::remove_file(&data).unwrap();
    let remake = || {
        let mut options = std::fs::File::options();
        options.read(true).write(true).create(true).truncate(true);
        driver.remake_data(&layer, &options.open(&data).unwrap())
    };
    remake().unwrap();
    assert!(std::fs::read(&data).unwrap() == before);
    // A tree that somebody changed gives no data.
    let big = home.join(layer.id.0.hex()).join("diff/big");
    let bytes = std::fs::read(&big).unwrap();
    for (what, contents) in [
        ("another byte", [&bytes[..bytes.len() - 1], b"x"].concat()),
        ("shorter", bytes[..5000].to_vec()),
    ] {
        std::fs::remove_file(&big).unwrap();
        std::io::Write::write_all(&mut std::fs::File::create(&big).unwrap(), &contents).unwrap();
        assert!(remake().is_err(), "{what}");
    }
    std::fs::remove_file(&big).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &big).unwrap();
    assert!(remake().is_err(), "a link");
}

#[test]
fn privileged_data_that_is_in_no_tree_cannot_be_dropped() {
    if !privileged("remake_not") {
        return;
    }
    let scene = Scene::new();
    let home = scene.store.join("drivers/overlay2");
    let driver = Overlay2::open(&home, &scene.run, CopyUp::Whole).unwrap();
    let mut tar = Tar::default();
    tar.file("a", 0o644, b"first").file("a", 0o644, b"second");
    let layer = scene.layer(&tar.finish());
    driver.realise(std::slice::from_ref(&layer)).unwrap();
    assert!(!driver.can_remake_data(&layer).unwrap());
}

/// Runs the tests of this crate in a virtual machine with another kernel, on an ext4 of its own.
fn older_kernel(release: &str) {
    let Some(vm_run) = std::env::var_os("LAPSTRAKE_VM_RUN") else {
        eprintln!("SKIPPED vm tests with kernel {release}: LAPSTRAKE_VM_RUN names no vm-run");
        return;
    };
    let contract = std::env::current_exe().unwrap();
    // The guest sees the host's files at their paths until the disk covers /var/tmp.
    let script = "cp \"$0\" /tmp/contract && cp \"$1\" /tmp/stacks && cp \"$2\" /tmp/keeper && \
         cp \"$3\" /tmp/choose && \
         mkfs.ext4 -q /dev/vda && mount /dev/vda /var/tmp && \
         /tmp/contract privileged_ --test-threads 2 --skip 500_layers && \
         /tmp/choose privileged_ --test-threads 1 --nocapture && \
         /tmp/keeper privileged_ --test-threads 1 && \
         exec /tmp/stacks privileged_ --test-threads 1 --skip at_once";
    let status = std::process::Command::new(vm_run)
        .args([
            "--kernel", release, "--disk", "4G", "--", "sh", "-c", script,
        ])
        .args([
            &contract,
            &beside(&contract, "stacks-"),
            &beside(&contract, "keeper-"),
            &beside(&contract, "choose-"),
        ])
        .status()
        .unwrap();
    assert!(status.success(), "kernel {release}: {status}");
}

/// Another test of the same crate, built beside this one; the newest, should there be several.
fn beside(this: &Path, prefix: &str) -> PathBuf {
    let all = std::fs::read_dir(this.parent().unwrap()).unwrap();
    all.map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with(prefix) && path.extension().is_none()
        })
        .max_by_key(|path| path.metadata().unwrap().modified().unwrap())
        .expect("the tests of one crate are built together")
}

#[test]
fn vm_kernel_6_12_keeps_the_contract() {
    older_kernel("6.12");
}

#[test]
fn vm_kernel_6_1_keeps_the_contract() {
    older_kernel("6.1");
}
