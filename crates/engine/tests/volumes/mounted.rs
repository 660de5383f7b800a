//! Volumes that are mounted: limits, options that name a file system, parts.

use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;

use lapstrake_engine::VolumeErrorClass;

use crate::scene::{Scene, named, nobody, privileged, with_options};

/// Whether something is mounted at a path.
fn mounts(path: &Path) -> usize {
    let table = lapstrake_sys::mount::table().unwrap();
    table
        .iter()
        .filter(|mounted| mounted.target.starts_with(path))
        .count()
}

/// Unmounts everything below a directory when it goes, also when the test failed.
struct CleanUp(std::path::PathBuf);

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

fn clean_up(scene: &Scene) -> CleanUp {
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
        (15 << 20..=(20 << 20) + (64 << 10)).contains(&size.bytes),
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
    assert_eq!((mounts(&seat), seat.exists()), (0, false));
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
    assert_eq!(mounts(&parts), 1, "the directory of parts itself");
    assert_eq!(std::fs::read_dir(&parts).unwrap().count(), 0);
}

#[test]
fn privileged_a_volume_that_hangs_holds_up_no_other() {
    use std::sync::mpsc;
    use std::time::Duration;
    if !privileged("privileged_a_volume_that_hangs_holds_up_no_other") {
        return;
    }
    let scene = Scene::new();
    let _clean_up = clean_up(&scene);
    // An address that swallows what is sent to it, so that a mount waits until it gives up.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let options = format!("addr=127.0.0.1,vers=4.1,port={port},timeo=20,retrans=1");
    let stalled = [("type", "nfs"), ("device", ":/x"), ("o", options.as_str())];
    scene
        .volumes
        .create(&with_options("stalled", &stalled))
        .unwrap();
    scene.volumes.create(&named("data")).unwrap();
    let (tell, told) = mpsc::channel();
    std::thread::scope(|scope| {
        let scene = &scene;
        scope.spawn(move || {
            tell.send("begun").unwrap();
            drop(scene.volumes.attach("stalled", "c1"));
        });
        told.recv().unwrap();
        std::thread::sleep(Duration::from_millis(100));
        let begun = std::time::Instant::now();
        assert_eq!(scene.names(), ["data", "stalled"]);
        scene.volumes.attach("data", "c2").unwrap();
        assert_eq!(scene.volumes.sizes().unwrap().len(), 1);
        let refused = scene.volumes.remove("stalled", &nobody);
        assert!(
            begun.elapsed() < Duration::from_secs(1),
            "{:?}",
            begun.elapsed()
        );
        if let Err(error) = refused {
            assert_eq!(error.class(), VolumeErrorClass::Conflict);
        }
        drop(listener);
    });
}
