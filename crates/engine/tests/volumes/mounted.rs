//! Volumes that are mounted: limits, options that name a file system, parts.

use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;

use lapstrake_engine::{Doing, PruneVolumes, VolumeErrorClass};

use crate::scene::{Scene, named, nobody, privileged, with_options};

/// Whether something is mounted at a path.
pub(crate) fn mounts(path: &Path) -> usize {
    let table = lapstrake_sys::mount::table().unwrap();
    table
        .iter()
        .filter(|mounted| mounted.target.starts_with(path))
        .count()
}

/// Unmounts everything below a directory when it goes, also when the test failed.
pub(crate) struct CleanUp(std::path::PathBuf);

impl Drop for CleanUp {
    fn drop(&mut self) {
        let table = lapstrake_sys::mount::table().unwrap_or_default();
        for mounted in table.iter().rev() {
            if mounted.target.starts_with(&self.0) {
                drop(lapstrake_sys::mount::unmount(
                    &mounted.target,
                    lapstrake_sys::mount::Unmount::Lazy,
                ));
            }
        }
    }
}

pub(crate) fn clean_up(scene: &Scene) -> CleanUp {
    CleanUp(scene.dir.path().to_owned())
}

#[test]
fn privileged_a_full_volume_harms_nobody_and_can_be_emptied() {
    if !privileged("privileged_a_full_volume_harms_nobody_and_can_be_emptied") {
        return;
    }
    let scene = Scene::new();
    let _clean_up = clean_up(&scene);
    let (details, _new) = scene
        .volumes
        .create(&with_options("small", &[("size", "20m")]))
        .unwrap();
    scene.volumes.create(&named("other")).unwrap();
    let path = scene.volumes.attach("small", "c1").unwrap();
    assert_eq!(path, details.mountpoint);
    let fill = || {
        let mut file = std::fs::File::create(path.join("file"))?;
        for _ in 0..64 {
            file.write_all(&vec![1; 1 << 20])?;
        }
        file.sync_all()
    };
    let full = fill().unwrap_err();
    assert!(
        matches!(
            full.kind(),
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
        ),
        "{full}"
    );
    let size = scene.volumes.size("small").unwrap().unwrap();
    assert_eq!(size.limit, Some(20 << 20));
    assert!(
        (15 << 20..=(20 << 20) + (512 << 10)).contains(&size.bytes),
        "{size:?}"
    );
    let other = scene.volumes.attach("other", "c1").unwrap();
    std::fs::write(other.join("file"), "fits").unwrap();
    std::fs::remove_file(path.join("file")).unwrap();
    std::fs::write(path.join("again"), "fits").unwrap();
    scene.volumes.detach("small", "c1").unwrap();
    let again = scene.volumes.attach("small", "c2").unwrap();
    assert_eq!(
        std::fs::read_to_string(again.join("again")).unwrap(),
        "fits"
    );
    scene.volumes.detach("small", "c2").unwrap();
    scene.volumes.remove("small", &nobody).unwrap();
    scene.volumes.free_removed().unwrap();
    assert_eq!(mounts(&scene.dir.path().join("run/volume-rooms/small")), 0);
}

#[test]
fn privileged_options_are_mounted_for_the_first_user_and_unmounted_after_the_last() {
    if !privileged("privileged_options_are_mounted_for_the_first_user_and_unmounted_after_the_last")
    {
        return;
    }
    let scene = Scene::new();
    let _clean_up = clean_up(&scene);
    let memory = [
        ("type", "tmpfs"),
        ("device", "tmpfs"),
        ("o", "size=1m,noexec"),
    ];
    scene
        .volumes
        .create(&with_options("memory", &memory))
        .unwrap();
    let seat = scene.volumes.get("memory").unwrap().mountpoint;
    assert_eq!(mounts(&seat), 0);
    let path = scene.volumes.attach("memory", "c1").unwrap();
    assert_eq!(path, seat);
    std::fs::write(path.join("file"), "content").unwrap();
    let full = std::fs::write(path.join("large"), vec![1; 2 << 20]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(scene.volumes.attach("memory", "c2").unwrap(), path);
    assert_eq!(mounts(&seat), 1);
    scene.volumes.detach("memory", "c1").unwrap();
    assert_eq!(mounts(&seat), 1);
    // A daemon that is killed leaves the mount, and the next one finds it.
    let scene = scene.again("boot");
    assert_eq!(mounts(&seat), 1);
    scene.volumes.attach("memory", "c2").unwrap();
    assert_eq!(
        std::fs::read_to_string(path.join("file")).unwrap(),
        "content"
    );
    assert_eq!(
        scene.volumes.settle(&|_id| true).unwrap().unmounted,
        [""; 0]
    );
    scene.volumes.detach("memory", "c2").unwrap();
    assert_eq!((mounts(seat.parent().unwrap()), seat.exists()), (0, false));
    assert_eq!(scene.volumes.size("memory").unwrap(), None);
    scene.volumes.attach("memory", "c3").unwrap();
    let scene = scene.again("boot");
    assert_eq!(
        scene.volumes.settle(&|_id| true).unwrap().unmounted,
        ["memory"]
    );
    assert_eq!(mounts(&seat), 0);
    scene.volumes.remove("memory", &nobody).unwrap();
}

#[test]
fn privileged_a_bind_shows_a_directory_of_the_host() {
    if !privileged("privileged_a_bind_shows_a_directory_of_the_host") {
        return;
    }
    let scene = Scene::new();
    let _clean_up = clean_up(&scene);
    let host = scene.dir.path().join("host");
    std::fs::create_dir(&host).unwrap();
    std::fs::write(host.join("file"), "of the host").unwrap();
    let device = host.to_str().unwrap();
    let bind = [("type", "none"), ("device", device), ("o", "bind,ro")];
    scene.volumes.create(&with_options("bound", &bind)).unwrap();
    let path = scene.volumes.attach("bound", "c1").unwrap();
    assert_eq!(
        std::fs::read_to_string(path.join("file")).unwrap(),
        "of the host"
    );
    let refused = std::fs::write(path.join("new"), "").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    scene.volumes.detach("bound", "c1").unwrap();
    scene.volumes.remove("bound", &nobody).unwrap();
    assert!(host.join("file").exists());

    let gone = [
        ("type", "none"),
        ("device", "/nowhere/at/all"),
        ("o", "bind,password=secret"),
    ];
    scene.volumes.create(&with_options("gone", &gone)).unwrap();
    let error = scene.volumes.attach("gone", "c1").unwrap_err().to_string();
    assert!(
        error.contains("failed to mount local volume: mount /nowhere/at/all"),
        "{error}"
    );
    assert!(
        error.contains("password=********") && !error.contains("secret"),
        "{error}"
    );
    scene.volumes.remove("gone", &nobody).unwrap();
}

#[test]
fn privileged_what_somebody_mounted_in_a_volume_is_not_emptied_with_it() {
    if !privileged("privileged_what_somebody_mounted_in_a_volume_is_not_emptied_with_it") {
        return;
    }
    let scene = Scene::new();
    let _clean_up = clean_up(&scene);
    scene.volumes.create(&named("data")).unwrap();
    let inside = scene.home("data/_data/inside");
    let host = scene.dir.path().join("host");
    for dir in [&inside, &host] {
        std::fs::create_dir(dir).unwrap();
    }
    std::fs::write(host.join("file"), "of the host").unwrap();
    let line = lapstrake_sys::fstab::Line {
        source: host.to_str().unwrap(),
        kind: "none",
        options: "bind",
    };
    lapstrake_sys::fstab::mount(line, &inside).unwrap();
    let refused = scene.volumes.remove("data", &nobody).unwrap_err();
    assert_eq!(refused.class(), VolumeErrorClass::Conflict);
    let words = format!(
        "remove data: {} is mounted in it: unmount that first",
        inside.display()
    );
    assert_eq!(refused.to_string(), words);
    lapstrake_sys::mount::unmount(&inside, lapstrake_sys::mount::Unmount::Lazy).unwrap();
    scene.volumes.remove("data", &nobody).unwrap();
    scene.volumes.free_removed().unwrap();
    assert!(host.join("file").exists());
}

#[test]
fn privileged_a_part_of_a_volume_stays_what_it_was() {
    if !privileged("privileged_a_part_of_a_volume_stays_what_it_was") {
        return;
    }
    let scene = Scene::new();
    let _clean_up = clean_up(&scene);
    scene.volumes.create(&named("data")).unwrap();
    let data = scene.home("data/_data");
    std::fs::create_dir_all(data.join("a/b")).unwrap();
    std::fs::write(data.join("a/b/file"), "inside").unwrap();
    symlink("a/b", data.join("link")).unwrap();
    symlink("/etc", data.join("etc")).unwrap();
    symlink("../../../..", data.join("up")).unwrap();
    for subpath in ["a/b", "link", "a/../a/b"] {
        let part = scene.volumes.attach_part("data", subpath, "c1").unwrap();
        assert_eq!(
            std::fs::read_to_string(part.join("file")).unwrap(),
            "inside",
            "{subpath}"
        );
    }
    let file = scene.volumes.attach_part("data", "a/b/file", "c1").unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "inside");
    // Another directory with the old one's name is not what was attached.
    let part = scene.volumes.attach_part("data", "a/b", "c1").unwrap();
    std::fs::rename(data.join("a/b"), data.join("elsewhere")).unwrap();
    symlink("/etc", data.join("a/b")).unwrap();
    assert_eq!(
        std::fs::read_to_string(part.join("file")).unwrap(),
        "inside"
    );
    for (subpath, why) in [
        ("etc/passwd", "it leads outside"),
        ("up", "it leads outside"),
        ("a/b", "it leads outside"),
        ("gone", "no such file or directory"),
        ("elsewhere/file/x", "not a directory"),
    ] {
        let error = scene
            .volumes
            .attach_part("data", subpath, "c2")
            .unwrap_err();
        assert_eq!(error.class(), VolumeErrorClass::Invalid);
        let expected = format!("cannot use {subpath:?} in volume data: {why}");
        assert_eq!(error.to_string(), expected);
    }
    assert_eq!(scene.volumes.attached("data"), ["c1"]);
    scene.volumes.detach("data", "c1").unwrap();
    let parts = scene.dir.path().join("run/volume-parts");
    assert_eq!(mounts(&parts), 0);
    assert_eq!(std::fs::read_dir(&parts).unwrap().count(), 0);
}

#[test]
fn privileged_a_volume_that_hangs_holds_up_no_other() {
    use std::time::{Duration, Instant};
    if !privileged("privileged_a_volume_that_hangs_holds_up_no_other") {
        return;
    }
    let Ok(device) = lapstrake_sys::fuse::Device::open() else {
        eprintln!("SKIPPED privileged_a_volume_that_hangs_holds_up_no_other: no /dev/fuse");
        return;
    };
    let scene = Scene::new();
    let _clean_up = clean_up(&scene);
    // A file system that answers nothing.
    let silent = scene.dir.path().join("silent");
    std::fs::create_dir(&silent).unwrap();
    device.mount().unwrap().attach_at(&silent).unwrap();
    let bind = |name: &str, device: &Path| {
        let options = [
            ("type", "none"),
            ("o", "bind"),
            ("device", device.to_str().unwrap()),
        ];
        scene.volumes.create(&with_options(name, &options)).unwrap();
    };
    bind("stalled", &silent);
    bind("stalling", &silent.join("x"));
    scene.volumes.create(&named("data")).unwrap();
    // One that stalls when it is mounted already; a later daemon, which finds it mounted, does not touch it.
    scene.volumes.attach("stalled", "c1").unwrap();
    let begun = Instant::now();
    let later = lapstrake_engine::Volumes::open(&scene.engine).unwrap();
    later.attach("stalled", "c1").unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1));
    drop(later);
    std::thread::scope(|scope| {
        let scene = &scene;
        // And one that does not even come so far.
        let stalling = scope.spawn(|| scene.volumes.attach("stalling", "c2").map(drop));
        std::thread::sleep(Duration::from_millis(200));
        let begun = Instant::now();
        assert_eq!(scene.names(), ["data", "stalled", "stalling"]);
        scene.volumes.get("stalling").unwrap();
        scene.volumes.attach("data", "c3").unwrap();
        scene.volumes.create(&named("new")).unwrap();
        assert_eq!(scene.volumes.sizes().len(), 2);
        let everything = PruneVolumes {
            named: true,
            ..PruneVolumes::default()
        };
        let pruned = scene
            .volumes
            .prune(&everything, Doing::It, &nobody)
            .unwrap();
        assert_eq!(pruned.volumes, ["new"]);
        let refused = scene.volumes.remove("stalling", &nobody).unwrap_err();
        assert_eq!(refused.class(), VolumeErrorClass::Conflict);
        scene.volumes.detach("stalled", "c1").unwrap();
        scene.volumes.remove("stalled", &nobody).unwrap();
        scene.volumes.settle(&|_id| true).unwrap();
        assert!(
            begun.elapsed() < Duration::from_secs(1),
            "{:?}",
            begun.elapsed()
        );
        assert!(!stalling.is_finished());
        // Its server goes for good: the mount fails, and nothing is left of it.
        drop(device);
        let failed = stalling.join().unwrap().unwrap_err();
        assert!(
            failed.to_string().contains("failed to mount local volume"),
            "{failed}"
        );
    });
    scene.volumes.remove("stalling", &nobody).unwrap();
}
