//! What is mounted in a container, and whether it can be written.

use std::path::Path;

use lapstrake_container::settings::{MountKind, MountPoint, Namespace, Propagation};
use lapstrake_container::spec::{HostMount, ReadOnly, Shown};

use crate::check;
use crate::scene::Scene;

fn memory(at: &str, options: &[&str]) -> HostMount {
    let mut point = MountPoint {
        kind: MountKind::Tmpfs,
        destination: at.into(),
        writable: true,
        ..MountPoint::default()
    };
    point.tmpfs.options = crate::words(options);
    HostMount::of(&point, Path::new("")).unwrap()
}

fn bind(source: std::path::PathBuf, at: &str, read_only: ReadOnly) -> HostMount {
    HostMount {
        destination: at.into(),
        shown: Shown::Host {
            source,
            recursive: true,
            propagation: Some(Propagation::Rprivate),
        },
        read_only,
    }
}

#[test]
fn privileged_every_container_has_these() {
    check(
        "cut -d ' ' -f 2,3 /proc/mounts | grep -E '^/(proc|dev|dev/pts|dev/shm|dev/mqueue|sys) ' | sort; \
         df -k /dev/shm | tail -1 | tr -s ' ' | cut -d ' ' -f 2; [ -e /sys/fs/cgroup ] && echo cgroup",
        |_| {},
        "/dev tmpfs\n/dev/mqueue mqueue\n/dev/pts devpts\n/dev/shm tmpfs\n/proc proc\n/sys sysfs\n65536\ncgroup",
    );
}

#[test]
fn privileged_shared_memory_has_its_size_or_is_not_there() {
    check(
        "df -k /dev/shm | tail -1 | tr -s ' ' | cut -d ' ' -f 2",
        |settings| settings.host.shm_size = Some(32 << 20),
        "32768",
    );
    check(
        "grep -c /dev/shm /proc/mounts",
        |settings| settings.host.ipc = Namespace::None,
        "0",
    );
}

#[test]
fn privileged_a_read_only_root_keeps_its_mounts_writable() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    std::fs::create_dir(scene.path("volume")).unwrap();
    scene.mounts = vec![
        memory("/tmp", &["size=1m", "exec", "mode=1777"]),
        bind(scene.path("volume"), "/data", ReadOnly::No),
    ];
    scene.files.hosts = Some(scene.file("hosts", "127.0.0.1 localhost\n"));
    let mut settings = scene.settings(
        "touch /x; touch /tmp/x /data/x /dev/shm/x && echo ok; echo > /etc/hosts; touch /sys/x; \
         df -k /tmp | tail -1 | tr -s ' ' | cut -d ' ' -f 2; grep ' /tmp ' /proc/mounts | cut -d ' ' -f 4 | cut -d , -f 1-5",
    );
    settings.host.security.read_only_root = true;
    assert_eq!(
        scene.run(&settings),
        "ok\n1024\nrw,nosuid,nodev,relatime,size=1024k\n\
         touch: /x: Read-only file system\n\
         sh: can't create /etc/hosts: Read-only file system\n\
         touch: /sys/x: Read-only file system\n"
    );
    assert!(scene.path("volume/x").exists());
}

#[test]
fn privileged_deeper_mounts_come_later_and_files_are_shown() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    for (dir, file) in [("outer", "o"), ("inner", "i")] {
        std::fs::create_dir(scene.path(dir)).unwrap();
        scene.file(&format!("{dir}/{file}"), "");
    }
    scene.mounts = vec![
        bind(scene.path("inner"), "/a/b/c", ReadOnly::Recursive),
        bind(scene.path("outer"), "/a", ReadOnly::No),
    ];
    scene.files.resolv_conf = Some(scene.file("resolv.conf", "nameserver 1.2.3.4\n"));
    scene.files.hostname = Some(scene.file("hostname", "box\n"));
    let settings = scene.settings(
        "ls -R /a; cat /etc/resolv.conf /etc/hostname; touch /a/b/c/x; echo new > /etc/hostname; cat /etc/hostname",
    );
    assert_eq!(
        scene.run(&settings),
        "/a:\nb\no\n\n/a/b:\nc\n\n/a/b/c:\ni\nnameserver 1.2.3.4\nbox\nnew\n\
         touch: /a/b/c/x: Read-only file system\n"
    );
}

#[test]
fn privileged_read_only_reaches_the_mounts_below() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    for (read_only, wanted) in [
        (
            ReadOnly::ForceRecursive,
            "touch: /data/shm/x: Read-only file system\n",
        ),
        (
            ReadOnly::Recursive,
            "touch: /data/shm/x: Read-only file system\n",
        ),
        (ReadOnly::TopOnly, ""),
    ] {
        scene.mounts = vec![bind("/dev".into(), "/data", read_only)];
        let settings = scene.settings("touch /data/shm/x; rm -f /data/shm/x; touch /data/x");
        let said = scene.run(&settings);
        assert_eq!(
            said,
            format!("{wanted}touch: /data/x: Read-only file system\n")
        );
    }
}
