//! What comes out.

use std::fs;
use std::os::unix::fs::symlink;

use lapstrake_container::archive::{Attachment, Class, View};

use crate::scene::{Scene, got, write};

#[test]
fn names_in_the_tar_are_dockers() {
    let scene = Scene::new();
    write(&scene.root().join("etc/conf/a"), "1");
    write(&scene.root().join("etc/b"), "2");
    fs::hard_link(scene.root().join("etc/b"), scene.root().join("etc/c")).unwrap();
    symlink("conf", scene.root().join("etc/link")).unwrap();
    let view = scene.view();
    let below = |base: &str| {
        vec![
            format!("{base}/"),
            format!("{base}/b=2"),
            format!("{base}/c=={base}/b"),
            format!("{base}/conf/"),
            format!("{base}/conf/a=1"),
            format!("{base}/link->conf"),
        ]
    };
    for (path, expected) in [
        ("/etc/b", vec!["b=2".to_owned()]),
        ("/etc", below("etc")),
        ("etc/", below("etc")),
        ("/etc/.", below(".")),
        ("/etc/link", vec!["link->conf".to_owned()]),
        (
            "/etc/link/",
            vec!["link/".to_owned(), "link/a=1".to_owned()],
        ),
        ("/etc/link/a", vec!["a=1".to_owned()]),
    ] {
        assert_eq!(got(&view, path).unwrap(), expected, "{path}");
    }
    let whole = got(&view, "/").unwrap();
    assert_eq!(whole[..3], ["/", "/etc/", "/etc/b=2"]);
}

#[test]
fn stats_are_dockers() {
    let scene = Scene::new();
    write(&scene.root().join("etc/b"), "two");
    symlink("/etc/gone/../x", scene.root().join("broken")).unwrap();
    symlink("etc", scene.root().join("link")).unwrap();
    let view = scene.view();
    let stat = |path: &str| {
        let stat = view.stat(path).unwrap();
        (stat.name, stat.mode >> 9, stat.link_target)
    };
    let told = |name: &str, kind: u32, target: &str| (name.to_owned(), kind, target.to_owned());
    assert_eq!(stat("/etc/b"), told("b", 0, ""));
    assert_eq!(view.stat("/etc/b").unwrap().size, 3);
    assert_eq!(stat("/etc"), told("etc", 1 << 22, ""));
    assert_eq!(stat("/etc/."), told(".", 1 << 22, ""));
    assert_eq!(stat("/"), told("/", 1 << 22, ""));
    assert_eq!(stat("/link"), told("link", 1 << 18, "/etc"));
    assert_eq!(stat("/broken"), told("broken", 1 << 18, "/etc/x"));
    for (path, class, words) in [
        (
            "/gone",
            Class::NotFound,
            "Could not find the file /gone in the container",
        ),
        (
            "/gone/",
            Class::NotFound,
            "Could not find the file /gone in the container",
        ),
        ("/etc/b/", Class::Invalid, "/etc/b: not a directory"),
        ("/etc/b/c", Class::Invalid, "/etc/b: not a directory"),
        (
            "/broken/",
            Class::NotFound,
            "Could not find the file /etc/gone in the container",
        ),
    ] {
        let error = view.stat(path).unwrap_err();
        assert_eq!(
            (error.class(), error.to_string().as_str()),
            (class, words),
            "{path}"
        );
    }
}

#[test]
fn what_is_mounted_is_seen_where_the_container_sees_it() {
    let scene = Scene::new();
    write(&scene.root().join("run/stub"), "hidden below?");
    fs::create_dir(scene.root().join("var")).unwrap();
    symlink("/run", scene.root().join("var/run")).unwrap();
    write(&scene.volume().join("in/volume"), "seen");
    symlink("/etc/of-the-root", scene.volume().join("absolute")).unwrap();
    symlink("../../etc/of-the-root", scene.volume().join("upwards")).unwrap();
    write(&scene.root().join("etc/of-the-root"), "root's");
    let hosts = scene.outside().join("secret");
    let file = Attachment {
        source: hosts,
        destination: "/etc/hosts".into(),
        writable: true,
    };
    // By a link, and without a directory to be mounted on.
    let view = View::open(
        &scene.root(),
        &[scene.attached("/var/run/data", true), file],
        false,
    )
    .unwrap();
    for path in [
        "/run/data/in/volume",
        "/var/run/data/in/volume",
        "/run/data/../data/in/volume",
    ] {
        assert_eq!(got(&view, path).unwrap(), ["volume=seen"], "{path}");
    }
    assert_eq!(got(&view, "/etc/hosts").unwrap(), ["hosts=secret"]);
    for path in ["/run/data/absolute/.", "/run/data/upwards/."] {
        let error = got(&view, path).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/etc/of-the-root: not a directory",
            "{path}"
        );
    }
    assert_eq!(
        got(&view, "/run").unwrap(),
        [
            "run/",
            "run/data/",
            "run/data/absolute->/etc/of-the-root",
            "run/data/in/",
            "run/data/in/volume=seen",
            "run/data/upwards->../../etc/of-the-root",
            "run/stub=hidden below?",
        ]
    );
}

#[test]
fn a_mount_that_cannot_be_opened_matters_only_to_who_goes_there() {
    let scene = Scene::new();
    write(&scene.root().join("a"), "1");
    let gone = Attachment {
        source: "/nowhere/at/all".into(),
        destination: "/mnt".into(),
        writable: true,
    };
    let view = View::open(&scene.root(), &[gone], false).unwrap();
    assert_eq!(got(&view, "/a").unwrap(), ["a=1"]);
    let error = got(&view, "/mnt").unwrap_err();
    assert_eq!(error.class(), Class::Internal);
    assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
}

#[test]
fn links_in_circles_end() {
    let scene = Scene::new();
    symlink("b", scene.root().join("a")).unwrap();
    symlink("a", scene.root().join("b")).unwrap();
    symlink("self/self", scene.root().join("self")).unwrap();
    let view = scene.view();
    for path in ["/a/", "/self/x"] {
        let error = view.stat(path).unwrap_err().to_string();
        assert!(
            error.ends_with("too many levels of symbolic links"),
            "{error}"
        );
    }
    let long = format!("/{}", "x/".repeat(4000));
    assert_eq!(view.stat(&long).unwrap_err().class(), Class::NotFound);
    assert_eq!(view.stat("/a\0b").unwrap_err().class(), Class::NotFound);
}
