//! Others: tars and containers that want out.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use lapstrake_container::archive::Class;
use proptest::prelude::*;

use crate::scene::{OPTIONS, Scene, got, tar, write};

#[test]
fn names_that_lead_out_are_refused() {
    let scene = Scene::new();
    fs::create_dir_all(scene.root().join("deep/er")).unwrap();
    let view = scene.view();
    for line in [
        "../x=1",
        "a/../../x=1",
        "/../x=1",
        "..",
        "h==../../outside/secret",
        "h==/../x",
    ] {
        let error = view
            .put("/deep/er", &tar(&[line])[..], OPTIONS)
            .unwrap_err();
        assert_eq!(error.class(), Class::Invalid, "{line}: {error}");
    }
    assert!(scene.is_intact());
    assert_eq!(fs::read_dir(scene.root().join("deep")).unwrap().count(), 1);
}

#[test]
fn links_lead_to_where_they_lead_in_the_container() {
    let scene = Scene::new();
    let outside = scene.outside();
    let up = format!(
        "{}{}",
        "../".repeat(20),
        outside.to_str().unwrap().trim_start_matches('/')
    );
    for (name, target) in [("absolute", outside.to_str().unwrap()), ("up", up.as_str())] {
        symlink(target, scene.root().join(name)).unwrap();
    }
    let view = scene.view();
    for name in ["absolute", "up"] {
        let error = got(&view, &format!("/{name}/secret")).unwrap_err();
        assert_eq!(error.class(), Class::NotFound, "{name}");
    }
    for name in ["absolute", "up"] {
        let line = format!("{name}/secret=changed");
        view.put("/", &tar(&[&line])[..], OPTIONS).unwrap();
    }
    // Links that the tar brings itself, and then uses.
    let link = format!("mine->{}", outside.display());
    view.put("/", &tar(&[&link, "mine/secret=changed"])[..], OPTIONS)
        .unwrap();
    let hard = tar(&[&link, "h==mine/secret", "h=through a hard link"]);
    view.put("/", &hard[..], OPTIONS).unwrap();
    assert!(scene.is_intact());
    // They were followed, inside.
    let inside = scene
        .root()
        .join(outside.strip_prefix("/").unwrap())
        .join("secret");
    assert_eq!(fs::read_to_string(inside).unwrap(), "changed");
}

/// Calls `work` over and over while another thread swaps a directory with links that lead out.
fn with_swaps(scene: &Scene, directory: &str, work: impl Fn() + Send) {
    let root = scene.root();
    let outside = scene.outside();
    let up = format!("{}{}", "../".repeat(20), outside.to_str().unwrap());
    symlink(&outside, root.join("absolute")).unwrap();
    symlink(up, root.join("upwards")).unwrap();
    let exchange = |link: &str| {
        let flags = rustix::fs::RenameFlags::EXCHANGE;
        let (cwd, place) = (rustix::fs::CWD, root.join(directory));
        rustix::fs::renameat_with(cwd, place, cwd, root.join(link), flags).unwrap();
    };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for link in ["absolute", "upwards"] {
                    exchange(link);
                    exchange(link);
                }
            }
        });
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(2) {
            work();
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_directory_that_is_swapped_with_a_link_meanwhile_leads_nowhere() {
    let scene = Scene::new();
    write(&scene.root().join("a/b/secret"), "inside");
    let entries = tar(&[
        "a/b/x=1",
        "a/b/secret=inside",
        "a/b/d",
        "a/b/d/e=2",
        "a/b/h==a/b/x",
    ]);
    let (put, refused) = (AtomicU32::new(0), AtomicU32::new(0));
    with_swaps(&scene, "a/b", || {
        let view = scene.view();
        // Either answer is right, as long as it is about the inside.
        let counter = match view.put("/", &entries[..], OPTIONS) {
            Ok(()) => &put,
            Err(_) => &refused,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        for path in ["/a/b/secret", "/a/b/.", "/a"] {
            for line in got(&view, path).unwrap_or_default() {
                assert!(
                    !line.ends_with("=secret"),
                    "{path} showed what is outside: {line}"
                );
            }
        }
    });
    assert!(scene.is_intact());
    println!("{} put, {} refused", put.into_inner(), refused.into_inner());
}

#[test]
fn a_directory_that_is_moved_up_meanwhile_is_no_way_out() {
    let scene = Scene::new();
    // Names inside that are also outside: a walk that goes up wrongly would find those.
    write(&scene.root().join("a/b/c/secret"), "inside");
    write(&scene.root().join("outside/secret"), "inside");
    let deep = scene.root().join("a/b/c");
    let shallow = scene.root().join("c");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                fs::rename(&deep, &shallow).unwrap();
                fs::rename(&shallow, &deep).unwrap();
            }
        });
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(1) {
            let view = scene.view();
            for path in [
                "/a/b/c/../../../outside/secret",
                "/a/b/c/../../../../outside/secret",
                "/.",
            ] {
                for line in got(&view, path).unwrap_or_default() {
                    assert!(
                        !line.ends_with("=secret"),
                        "{path} showed what is outside: {line}"
                    );
                }
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(scene.is_intact());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_tar_leaves_the_root(
        links in prop::collection::vec(("[a-c]", "(/|\\.\\./){0,4}[a-c./]{0,6}"), 0..4),
        lines in prop::collection::vec("[a-c./]{1,8}(=1|->[a-c./]{1,8}|==[a-c./]{1,8}|/)", 1..8),
    ) {
        let scene = Scene::new();
        fs::create_dir_all(scene.root().join("a/b")).unwrap();
        for (name, target) in &links {
            if !target.is_empty() {
                drop(symlink(target, scene.root().join("a/b").join(name)));
            }
        }
        let view = scene.view();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        drop(view.put("/a/b", &tar(&lines)[..], OPTIONS));
        drop(got(&view, "/a/b/a"));
        prop_assert!(scene.is_intact());
        let parent = scene.root().parent().unwrap().to_owned();
        prop_assert_eq!(fs::read_dir(parent).unwrap().count(), 3);
        prop_assert_eq!(fs::read_dir(scene.volume()).unwrap().count(), 0);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        let scene = Scene::new();
        drop(scene.view().put("/", &bytes[..], OPTIONS));
        prop_assert!(scene.is_intact());
    }
}
