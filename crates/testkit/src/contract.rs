//! What every storage driver keeps: the suite of the seam `snapshot::Driver`.
//!
//! A driver's tests say [`driver_contract!`](crate::driver_contract) in a module of their own, with a
//! function that opens the driver in a [`Scene`]. Every test begins with `privileged_`, says so when
//! it may not mount, and leaves nothing mounted.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use lapstrake_oci::DiffId;
use lapstrake_snapshot::{Driver, Error, Layer, RunDir};

use crate::inventory::inventory;
use crate::scene::{Scene, chain, listing, privileged, run, text};
use crate::tar::Tar;

/// Opens a driver that keeps its things in the scene's store, and its mounts in its run directory.
pub type Open = fn(&Scene) -> Box<dyn Driver>;

/// Makes a test of every function of the suite.
#[macro_export]
macro_rules! driver_contract {
    ($open:expr) => {
        $crate::driver_contract! { $open;
            privileged_upper_files_win
            privileged_a_whiteout_hides_what_is_below
            privileged_a_whiteout_of_nothing_is_harmless
            privileged_a_file_may_come_back_above_its_whiteout
            privileged_an_opaque_directory_hides_all_below
            privileged_files_and_directories_replace_each_other
            privileged_no_layer_is_an_empty_root
            privileged_the_same_layer_twice
            privileged_attributes_survive
            privileged_access_lists_survive
            privileged_links_devices_times_and_holes_survive
            privileged_the_root_is_the_topmost_layers
            privileged_a_read_only_root_takes_no_writes
            privileged_writable_layers_keep_their_changes_apart
            privileged_a_new_writable_layer_looks_like_its_stack
            privileged_creating_twice_keeps_what_is_there
            privileged_a_half_made_place_is_made_anew
            privileged_realising_twice_and_at_once_is_realising_once
            privileged_two_roots_of_one_stack
            privileged_a_layer_in_use_is_not_forgotten
            privileged_what_is_not_realised_is_not_mounted
            privileged_a_restart_finds_what_is_mounted
            privileged_a_root_that_others_unmounted_is_swept
            privileged_others_may_mount_the_root
            privileged_links_lead_nowhere_else
            privileged_1_layer
            privileged_2_layers
            privileged_100_layers
            privileged_500_layers
        }
    };
    ($open:expr; $($name:ident)*) => {
        $(#[test]
        fn $name() {
            $crate::contract::$name($open);
        })*
    };
}

/// A scene and its driver; `None`, and said so, without the right to mount.
fn begin(test: &str, open: Open) -> Option<(Scene, Box<dyn Driver>)> {
    privileged(test).then(|| {
        let scene = Scene::new();
        let driver = open(&scene);
        (scene, driver)
    })
}

fn end(scene: &Scene) {
    assert_eq!(scene.mounts(), Vec::<PathBuf>::new(), "left mounted");
}

/// Mounts layers of `files` (bottom first) and compares what is seen.
fn check(test: &str, open: Open, layers: &[&[(&str, &str)]], expected: &[&str]) {
    let Some((scene, driver)) = begin(test, open) else {
        return;
    };
    let layers: Vec<_> = layers.iter().map(|files| scene.files(files)).collect();
    scene.mount(&*driver, &layers, "root");
    assert_eq!(listing(&scene.target("root")), expected);
    scene.unmount("root");
    end(&scene);
}

/// Suite.
pub fn privileged_upper_files_win(open: Open) {
    let layers: &[&[_]] = &[
        &[("a", "1"), ("b", "1"), ("d/e", "1")],
        &[("a", "2"), ("d/f", "2")],
    ];
    let expected = ["a=2", "b=1", "d/", "d/e=1", "d/f=2"];
    check("upper_files_win", open, layers, &expected);
}

/// Suite.
pub fn privileged_a_whiteout_hides_what_is_below(open: Open) {
    let layers: &[&[_]] = &[
        &[("d/a", "1"), ("d/b", "1"), ("e/f", "1"), ("g", "1")],
        &[("d/.wh.a", ""), (".wh.e", "")],
    ];
    check("whiteout", open, layers, &["d/", "d/b=1", "g=1"]);
}

/// Suite.
pub fn privileged_a_whiteout_of_nothing_is_harmless(open: Open) {
    check(
        "whiteout_of_nothing",
        open,
        &[&[(".wh.a", ""), ("b", "1")]],
        &["b=1"],
    );
}

/// Suite.
pub fn privileged_a_file_may_come_back_above_its_whiteout(open: Open) {
    let layers: &[&[_]] = &[
        &[("a", "1"), ("d/x", "1")],
        &[(".wh.a", ""), (".wh.d", "")],
        &[("a", "3"), ("d/y", "3")],
    ];
    check("back", open, layers, &["a=3", "d/", "d/y=3"]);
}

/// Suite.
pub fn privileged_an_opaque_directory_hides_all_below(open: Open) {
    let layers: &[&[_]] = &[
        &[("d/a", "1"), ("d/e/b", "1"), ("f", "1")],
        &[("d/.wh..wh..opq", ""), ("d/c", "2")],
        &[("d/g", "3")],
    ];
    check("opaque", open, layers, &["d/", "d/c=2", "d/g=3", "f=1"]);
}

/// Suite.
pub fn privileged_files_and_directories_replace_each_other(open: Open) {
    let layers: &[&[_]] = &[
        &[("file", "1"), ("dir/a", "1"), ("dir/b/c", "1")],
        &[("file/now/a/dir", "2"), ("dir", "2")],
        &[("file", "3"), ("dir/again", "3")],
    ];
    check("replace", open, layers, &["dir/", "dir/again=3", "file=3"]);
}

/// Suite.
pub fn privileged_no_layer_is_an_empty_root(open: Open) {
    check("no_layer", open, &[], &[]);
}

/// Suite.
pub fn privileged_the_same_layer_twice(open: Open) {
    let Some((scene, driver)) = begin("same_layer_twice", open) else {
        return;
    };
    let a = scene.files(&[("a", "1"), ("b", "1")]);
    let b = scene.files(&[("b", "2"), (".wh.a", "")]);
    scene.mount(&*driver, &[a.clone(), b, a], "root");
    assert_eq!(listing(&scene.target("root")), ["a=1", "b=1"]);
    scene.unmount("root");
    end(&scene);
}

/// Suite.
pub fn privileged_attributes_survive(open: Open) {
    let Some((scene, driver)) = begin("attributes", open) else {
        return;
    };
    // cap_net_raw=ep.
    let capability: &[u8] = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let large = vec![b'x'; 2500];
    let mut tar = Tar::default();
    tar.extended(&[("uid", b"3000000000"), ("gid", b"7")])
        .directory("d", 0o2755)
        .extended(&[("uid", b"1000"), ("gid", b"1001")])
        .file("d/su", 0o4755, b"#!")
        .attributes(&[("security.capability", capability)])
        .file("d/ping", 0o755, b"")
        .attributes(&[
            ("user.large", &large),
            ("trusted.t", b"1"),
            ("user.bin", b"a\0b\n"),
            ("user.empty", b""),
        ])
        .file("d/attributes", 0o600, b"")
        .attributes(&[("user.of", b"directory")])
        .directory("tmp", 0o1777);
    let layers = [scene.layer(&tar.finish()), scene.files(&[("other", "")])];
    scene.mount(&*driver, &layers, "root");
    let at = |path: &str| scene.target("root").join(path);
    let seen = |path: &str| {
        let stat = fs::symlink_metadata(at(path)).expect("it is there");
        (stat.mode() & 0o7777, stat.uid(), stat.gid())
    };
    let xattr = |path: &str, name: &str| {
        let value = lapstrake_sys::xattr::get(&at(path), name.as_bytes());
        value.expect("readable").expect("there")
    };
    assert_eq!(seen("d"), (0o2755, 3_000_000_000, 7));
    assert_eq!(seen("d/su"), (0o4755, 1000, 1001));
    assert_eq!(seen("tmp").0, 0o1777);
    assert_eq!(xattr("d/ping", "security.capability"), capability);
    assert!(run("getcap", &[text(&at("d/ping"))]).contains("cap_net_raw"));
    assert_eq!(xattr("d/attributes", "user.large"), large);
    assert_eq!(xattr("d/attributes", "trusted.t"), b"1");
    assert_eq!(xattr("d/attributes", "user.bin"), b"a\0b\n");
    assert_eq!(xattr("d/attributes", "user.empty"), b"");
    assert_eq!(xattr("tmp", "user.of"), b"directory");
    scene.unmount("root");
    end(&scene);
}

/// Suite.
pub fn privileged_access_lists_survive(open: Open) {
    let Some((scene, driver)) = begin("access_lists", open) else {
        return;
    };
    let source = scene.target("source");
    fs::create_dir(source.join("d")).expect("a directory");
    fs::File::create(source.join("d/f")).expect("a file");
    run(
        "setfacl",
        &["-m", "u:1000:r,g:7:rw", text(&source.join("d/f"))],
    );
    run(
        "setfacl",
        &["-d", "-m", "u:1000:rwx", text(&source.join("d"))],
    );
    let tar = scene.dir.path().join("tar");
    let archive = ["-C", text(&source), "-cf", text(&tar), "d"];
    run(
        "tar",
        &[&["--acls", "--xattrs", "--numeric-owner"], &archive[..]].concat(),
    );
    let layer = scene.layer(&fs::read(&tar).expect("a tar"));
    scene.mount(&*driver, &[layer], "root");
    let acls = |dir: &Path| {
        run(
            "getfacl",
            &["-nR", "--absolute-names", "-p", text(&dir.join("d"))],
        )
    };
    let expected = acls(&source).replace(text(&source), text(&scene.target("root")));
    assert!(expected.contains("user:1000:r--"), "{expected}");
    assert_eq!(acls(&scene.target("root")), expected);
    scene.unmount("root");
    end(&scene);
}

/// A tar with one of everything.
pub fn everything() -> Vec<u8> {
    let mut tar = Tar::default();
    let big: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    tar.extended(&[("mtime", b"1234567890.123456789")])
        .directory("d", 0o750)
        .extended(&[("mtime", b"-1.5"), ("uid", b"12"), ("gid", b"34")])
        .file("d/old", 0o640, b"before 1970")
        .hard_link("d/same", "d/old")
        .hard_link("also-same", "d/old")
        .extended(&[("uid", b"5"), ("gid", b"6"), ("mtime", b"99.5")])
        .symlink("d/link", "../nowhere/at all")
        .device("d/null", b'3', 1, 3)
        .device("d/disk", b'4', 259, 70_000)
        .extended(&[("mtime", b"1000000000.000000001")])
        .fifo("d/pipe", 0o622)
        .hard_link("d/pipe2", "d/pipe")
        .file("empty", 0o400, b"")
        .file("big", 0o444, &big)
        .attributes(&[("trusted.on", b"a link")])
        .symlink("attributes", "big")
        .extended(&[
            ("GNU.sparse.major", b"0"),
            ("GNU.sparse.minor", b"1"),
            ("GNU.sparse.size", b"5000000"),
            ("GNU.sparse.map", b"0,4,1048576,8192,4999990,10"),
        ])
        .file(
            "sparse",
            0o644,
            &[&b"head"[..], &[b'm'; 8192], b"0123456789"].concat(),
        );
    // Deeper than drivers keep directories open, with something to do on the way back.
    let deep = format!("deep{}", "/d".repeat(200));
    tar.extended(&[("path", format!("{deep}/file").as_bytes())])
        .file("x", 0o644, b"down here")
        .extended(&[("path", format!("deep{}/f", "/d".repeat(20)).as_bytes())])
        .file("x", 0o644, b"half-way")
        .extended(&[("linkpath", format!("{deep}/file").as_bytes())])
        .hard_link("up-here", "x");
    tar.finish()
}

/// Suite.
pub fn privileged_links_devices_times_and_holes_survive(open: Open) {
    let Some((scene, driver)) = begin("everything", open) else {
        return;
    };
    scene.mount(&*driver, &[scene.layer(&everything())], "root");
    let root = scene.target("root");
    let all = inventory(&root);
    let starts = |path: &str, start: &str| {
        let line = &all[path];
        assert!(line.starts_with(start), "{path}: {line}");
    };
    assert!(
        all["d"].contains("750 0:0 1234567890.123456789"),
        "{}",
        all["d"]
    );
    assert!(
        all["d/old"].contains("640 12:34 -2.500000000"),
        "{}",
        all["d/old"]
    );
    assert!(all["d/old"].ends_with("=also-same"), "{}", all["d/old"]);
    assert!(all["d/same"].ends_with("=also-same"), "{}", all["d/same"]);
    assert!(all["d/pipe2"].ends_with("=d/pipe"), "{}", all["d/pipe2"]);
    starts("d/link", "link \"../nowhere/at all\" 777 5:6 99.500000000");
    starts("d/null", "char 1:3 600");
    starts("d/disk", "block 259:70000 600");
    starts("d/pipe", "fifo 0:0 622 0:0 1000000000.000000001");
    starts("empty", "file 0 ");
    starts("sparse", "file 5000000 ");
    assert!(
        all["attributes"].contains("trusted.on"),
        "{}",
        all["attributes"]
    );
    let sparse = fs::File::open(root.join("sparse")).expect("a file");
    let at = |offset: u64| {
        let mut bytes = [1; 10];
        sparse.read_exact_at(&mut bytes, offset).expect("readable");
        bytes
    };
    assert_eq!(&at(0)[..5], b"head\0");
    assert_eq!(at(1_048_574), *b"\0\0mmmmmmmm");
    assert_eq!(at(4_999_990), *b"0123456789");
    let used = sparse.metadata().expect("a file").blocks() * 512;
    // EROFS counts the holes of such files.
    assert!(
        driver.name() == "erofs" || used < 1 << 20,
        "{used} bytes of disk"
    );
    drop(sparse);
    scene.unmount("root");
    end(&scene);
}

/// Suite.
pub fn privileged_the_root_is_the_topmost_layers(open: Open) {
    let Some((scene, driver)) = begin("root", open) else {
        return;
    };
    let root = |mode: u32, uid: &[u8], name: &str| {
        let mut tar = Tar::default();
        tar.extended(&[("uid", uid), ("mtime", b"77.5")])
            .directory("./", mode)
            .file(name, 0o644, b"");
        scene.layer(&tar.finish())
    };
    let layers = [root(0o755, b"1", "a"), root(0o711, b"2", "b")];
    scene.mount(&*driver, &layers, "read-only");
    scene.mount_writable(&*driver, &layers, "writable");
    for name in ["read-only", "writable"] {
        let line = &inventory(&scene.target(name))["."];
        assert!(
            line.starts_with("dir 711 2:0 77.500000000"),
            "{name}: {line}"
        );
        scene.unmount(name);
    }
    end(&scene);
}

/// Suite.
pub fn privileged_a_read_only_root_takes_no_writes(open: Open) {
    let Some((scene, driver)) = begin("read_only", open) else {
        return;
    };
    scene.mount(&*driver, &[scene.files(&[("a", "1")])], "root");
    let root = scene.target("root");
    let kind = |result: std::io::Result<()>| result.expect_err("read-only").kind();
    assert_eq!(
        kind(fs::File::create(root.join("b")).map(drop)),
        ErrorKind::ReadOnlyFilesystem
    );
    assert_eq!(
        kind(fs::remove_file(root.join("a"))),
        ErrorKind::ReadOnlyFilesystem
    );
    assert_eq!(
        kind(symlink("a", root.join("c"))),
        ErrorKind::ReadOnlyFilesystem
    );
    scene.unmount("root");
    end(&scene);
}

fn append(path: &Path, contents: &str) {
    let mut file = fs::File::options().append(true).open(path).expect("a file");
    file.write_all(contents.as_bytes()).expect("room");
}

fn create(path: &Path, contents: &str) {
    let mut file = fs::File::create(path).expect("a new file");
    file.write_all(contents.as_bytes()).expect("room");
}

/// Suite.
pub fn privileged_writable_layers_keep_their_changes_apart(open: Open) {
    let Some((scene, driver)) = begin("writable", open) else {
        return;
    };
    let layers = [
        scene.files(&[("d/a", "1"), ("d/b", "1"), ("e/f", "1")]),
        scene.files(&[("d/c", "2")]),
    ];
    scene.mount(&*driver, &layers, "below");
    scene.mount_writable(&*driver, &layers, "one");
    scene.mount_writable(&*driver, &layers, "two");
    let original = ["d/", "d/a=1", "d/b=1", "d/c=2", "e/", "e/f=1"];
    let at = |path: &str| scene.target("one").join(path);
    create(&at("d/new"), "n");
    fs::remove_file(at("d/a")).expect("it is there");
    append(&at("d/c"), "+");
    run("mv", &[text(&at("d/b")), text(&at("d/moved"))]);
    run("mv", &[text(&at("e")), text(&at("g"))]);
    fs::set_permissions(at("d/c"), fs::Permissions::from_mode(0o600)).expect("ours");
    let changed = ["d/", "d/c=2+", "d/moved=1", "d/new=n", "g/", "g/f=1"];
    assert_eq!(listing(&scene.target("one")), changed);
    assert_eq!(listing(&scene.target("two")), original);
    append(&scene.target("two").join("d/a"), "2");
    for name in ["one", "two"] {
        scene.unmount(name);
    }
    assert_eq!(listing(&scene.target("below")), original);
    // A writable layer keeps its changes for the next mount.
    scene.mount_writable(&*driver, &layers, "one");
    assert_eq!(listing(&scene.target("one")), changed);
    let mode = fs::metadata(at("d/c")).expect("it is there").mode();
    assert_eq!(mode & 0o7777, 0o600);
    driver.tree(&scene.place("one")).expect("there is a tree");
    for name in ["one", "below"] {
        scene.unmount(name);
    }
    fs::remove_dir_all(scene.place("one")).expect("an ordinary directory");
    end(&scene);
}

/// Suite.
pub fn privileged_a_new_writable_layer_looks_like_its_stack(open: Open) {
    let Some((scene, driver)) = begin("new_writable", open) else {
        return;
    };
    let layers = [scene.layer(&everything()), scene.files(&[("d/more", "2")])];
    scene.mount(&*driver, &layers, "below");
    scene.mount_writable(&*driver, &layers, "new");
    assert_eq!(
        inventory(&scene.target("new")),
        inventory(&scene.target("below"))
    );
    scene.unmount("new");
    scene.unmount("below");
    end(&scene);
}

/// Suite.
pub fn privileged_creating_twice_keeps_what_is_there(open: Open) {
    let Some((scene, driver)) = begin("creating_twice", open) else {
        return;
    };
    let layers = [scene.files(&[("a", "1")])];
    scene.mount_writable(&*driver, &layers, "root");
    append(&scene.target("root").join("a"), "2");
    scene.unmount("root");
    driver
        .create(&layers, &scene.place("root"))
        .expect("it is there");
    scene.mount_writable(&*driver, &layers, "root");
    assert_eq!(listing(&scene.target("root")), ["a=12"]);
    scene.unmount("root");
    end(&scene);
}

/// Suite.
pub fn privileged_a_half_made_place_is_made_anew(open: Open) {
    let Some((scene, driver)) = begin("half_made", open) else {
        return;
    };
    let layers = [scene.files(&[("a", "1"), ("b", "1")])];
    driver.realise(&layers).expect("realised");
    let target = scene.target("root");
    let place = scene.place("root");
    let missing = scene.run.mount(&*driver, &layers, Some(&place), &target);
    assert!(matches!(missing, Err(Error::NoPlace { .. })), "{missing:?}");
    // As a crash leaves it: everything but the mark, and not all of everything.
    driver.create(&layers, &place).expect("made");
    fs::remove_file(place.join("kind")).expect("the mark");
    drop(fs::remove_file(place.join("root/a")));
    drop(fs::remove_dir(place.join("work")));
    let half = scene.run.mount(&*driver, &layers, Some(&place), &target);
    assert!(matches!(half, Err(Error::NoPlace { .. })), "{half:?}");
    scene.mount_writable(&*driver, &layers, "root");
    assert_eq!(listing(&target), ["a=1", "b=1"]);
    scene.unmount("root");
    end(&scene);
}

/// Suite.
pub fn privileged_realising_twice_and_at_once_is_realising_once(open: Open) {
    let Some((scene, driver)) = begin("realising", open) else {
        return;
    };
    let layers = [scene.layer(&everything()), scene.files(&[("d/more", "2")])];
    std::thread::scope(|threads| {
        for _ in 0..4 {
            // Each opened anew, as other processes would.
            let (scene, layers) = (&scene, &layers);
            threads.spawn(move || {
                let driver = open(scene);
                for _ in 0..2 {
                    driver
                        .realise(layers)
                        .unwrap_or_else(|error| panic!("{}", chain(&error)));
                }
            });
        }
    });
    scene.mount(&*driver, &layers, "root");
    assert!(inventory(&scene.target("root")).contains_key("d/more"));
    scene.unmount("root");
    let realised = driver.realised().expect("a list");
    assert!(realised.is_empty() || realised == layers.iter().map(|l| l.id.clone()).collect());
    end(&scene);
}

/// Suite.
pub fn privileged_two_roots_of_one_stack(open: Open) {
    let Some((scene, driver)) = begin("two_roots", open) else {
        return;
    };
    let layers = [scene.files(&[("a", "1")]), scene.files(&[("b", "1")])];
    scene.mount(&*driver, &layers, "first");
    let second = scene.mount(&*driver, &layers, "second");
    assert_eq!(second.fresh, 0, "everything is mounted already");
    let taken = scene
        .run
        .mount(&*driver, &layers, None, &scene.target("second"));
    assert!(matches!(taken, Err(Error::TargetTaken { .. })), "{taken:?}");
    scene.unmount("first");
    assert_eq!(listing(&scene.target("second")), ["a=1", "b=1"]);
    let open = fs::File::open(scene.target("second").join("a")).expect("a file");
    let busy = scene.run.unmount(&scene.target("second"));
    assert!(matches!(busy, Err(Error::Busy { .. })), "{busy:?}");
    drop(open);
    scene.unmount("second");
    let gone = scene.run.unmount(&scene.target("second"));
    assert!(matches!(gone, Err(Error::NotMounted { .. })), "{gone:?}");
    end(&scene);
}

/// Suite.
pub fn privileged_a_layer_in_use_is_not_forgotten(open: Open) {
    let Some((scene, driver)) = begin("forget", open) else {
        return;
    };
    let layers = [scene.files(&[("a", "1")]), scene.files(&[("b", "1")])];
    let ids: Vec<DiffId> = layers.iter().map(|layer| layer.id.clone()).collect();
    scene.mount(&*driver, &layers, "root");
    assert_eq!(
        scene.run.in_use().expect("a list"),
        ids.iter().cloned().collect()
    );
    for id in &ids {
        match driver.forget(id) {
            Err(Error::LayerInUse { id: told }) => assert_eq!(told, *id),
            // A driver that keeps nothing has nothing to forget.
            Ok(()) => assert!(driver.realised().expect("a list").is_empty()),
            Err(error) => panic!("{}", chain(&error)),
        }
    }
    assert_eq!(listing(&scene.target("root")), ["a=1", "b=1"]);
    scene.unmount("root");
    assert!(scene.run.in_use().expect("a list").is_empty());
    driver.realise(&layers).expect("realised");
    for id in ids.iter().chain(&ids) {
        driver
            .forget(id)
            .unwrap_or_else(|error| panic!("{}", chain(&error)));
    }
    assert!(driver.realised().expect("a list").is_empty());
    scene.mount(&*driver, &layers, "root");
    assert_eq!(listing(&scene.target("root")), ["a=1", "b=1"]);
    scene.unmount("root");
    end(&scene);
}

/// Suite.
pub fn privileged_what_is_not_realised_is_not_mounted(open: Open) {
    let Some((scene, driver)) = begin("not_realised", open) else {
        return;
    };
    let layers = [scene.files(&[("a", "1")])];
    let target = scene.target("root");
    match scene.run.mount(&*driver, &layers, None, &target) {
        Err(Error::NotRealised { id, driver: told }) => {
            assert_eq!((id, told), (layers[0].id.clone(), driver.name()));
        }
        // Content that is mounted as it is.
        Ok(_) => scene.unmount("root"),
        Err(error) => panic!("{}", chain(&error)),
    }
    end(&scene);
}

/// Suite.
pub fn privileged_a_restart_finds_what_is_mounted(open: Open) {
    let Some((scene, driver)) = begin("restart", open) else {
        return;
    };
    let layers = [scene.files(&[("a", "1")]), scene.files(&[("b", "1")])];
    scene.mount(&*driver, &layers, "before");
    scene.mount_writable(&*driver, &layers, "writable");
    append(&scene.target("writable").join("a"), "2");
    drop(driver);
    let (driver, again) = (open(&scene), RunDir::at(scene.dir.path().join("run")));
    let again = again.expect("a run directory");
    assert_eq!(again.in_use().expect("a list").len(), 2);
    let mounted = again.mount(&*driver, &layers, None, &scene.target("after"));
    assert_eq!(mounted.expect("mounted").fresh, 0, "everything was found");
    for name in ["before", "after", "writable"] {
        let expected = if name == "writable" { "a=12" } else { "a=1" };
        assert_eq!(listing(&scene.target(name)), [expected, "b=1"]);
        again
            .unmount(&scene.target(name))
            .unwrap_or_else(|error| panic!("{}", chain(&error)));
    }
    end(&scene);
}

/// Suite.
pub fn privileged_a_root_that_others_unmounted_is_swept(open: Open) {
    let Some((scene, driver)) = begin("swept", open) else {
        return;
    };
    scene.mount(&*driver, &[scene.files(&[("a", "1")])], "root");
    run("umount", &[text(&scene.target("root"))]);
    assert!(scene.run.in_use().expect("a list").is_empty());
    scene.run.sweep().expect("swept");
    end(&scene);
}

/// Suite.
pub fn privileged_others_may_mount_the_root(open: Open) {
    let Some((scene, driver)) = begin("held", open) else {
        return;
    };
    let layers = [scene.files(&[("a", "1")]), scene.files(&[("b", "1")])];
    let (target, place) = (scene.target("root"), scene.place("root"));
    driver.realise(&layers).expect("realised");
    driver.create(&layers, &place).expect("made");
    for place in [None, Some(&*place)] {
        let held = scene.run.hold(&*driver, &layers, place, "by.test-1");
        let held = held.unwrap_or_else(|error| panic!("{}", chain(&error)));
        // Nobody may take away what is held, also before it is mounted.
        scene.run.sweep().expect("swept");
        let options = held.options.join(",");
        run(
            "mount",
            &[
                "-t",
                held.kind,
                "-o",
                &options,
                text(&held.source),
                text(&target),
            ],
        );
        assert_eq!(listing(&target), ["a=1", "b=1"]);
        let created = fs::File::create(target.join("c"));
        assert_eq!(created.is_ok(), place.is_some(), "{created:?}");
        drop(created);
        let uses = scene.run.in_use().expect("a list");
        let whole = held.kind == "bind" && place.is_some();
        assert_eq!(uses.len(), if whole { 0 } else { 2 });
        run("umount", &[text(&target)]);
        scene.run.release("by.test-1").expect("released");
        scene.run.release("by.test-1").expect("nothing to release");
        end(&scene);
    }
    let bad = scene.run.hold(&*driver, &layers, None, "../x");
    assert!(matches!(bad, Err(Error::BadKey { .. })), "{bad:?}");
}

/// Layers that try to write and read through links of their own and of layers below.
///
/// Suite.
pub fn privileged_links_lead_nowhere_else(open: Open) {
    let Some((scene, driver)) = begin("links", open) else {
        return;
    };
    let outside = scene.target("outside");
    create(&outside.join("secret"), "secret");
    fs::create_dir(outside.join("dir")).expect("a directory");
    let before = inventory(&outside);
    let up = "../".repeat(20) + &text(&outside)[1..];
    assert!(up.len() < 99, "{up} fits a header");
    let mut below = Tar::default();
    below
        .symlink("absolute", text(&outside))
        .symlink("up", &up)
        .symlink("file", &format!("{}/secret", text(&outside)))
        .symlink("dir", &format!("{}/dir", text(&outside)))
        .symlink("loop", "loop");
    let mut above = Tar::default();
    above
        .file("absolute/secret", 0o4777, b"overwritten")
        .file("up/new", 0o644, b"new")
        .directory("up/dir", 0o777)
        .file("file", 0o644, b"a file now")
        .directory("dir", 0o777)
        .file("dir/in", 0o644, b"in")
        .file("loop/in", 0o644, b"in");
    // Through a link of the same layer: inside the layer.
    let mut own = Tar::default();
    own.symlink("own", text(&outside))
        .file("own/secret", 0o644, b"own")
        .hard_link("hard", "own/secret");
    let layers = [below, above, own].map(|mut tar| scene.layer(&tar.finish()));
    scene.mount(&*driver, &layers, "root");
    let root = scene.target("root");
    let read = |path: &str| {
        let mut text = String::new();
        let file = fs::File::open(root.join(path)).expect("it is there");
        (&file).read_to_string(&mut text).expect("text");
        text
    };
    assert_eq!(read("absolute/secret"), "overwritten");
    assert_eq!(read("up/new"), "new");
    assert_eq!(read("file"), "a file now");
    assert_eq!(read("dir/in"), "in");
    assert_eq!(read("loop/in"), "in");
    assert_eq!(read("hard"), "own");
    scene.mount_writable(&*driver, &layers, "writable");
    assert_eq!(inventory(&scene.target("writable")), inventory(&root));
    assert_eq!(inventory(&outside), before);
    for name in ["writable", "root"] {
        scene.unmount(name);
    }
    for layer in &layers {
        driver.forget(&layer.id).expect("not in use");
    }
    fs::remove_dir_all(scene.place("writable")).expect("an ordinary directory");
    assert_eq!(inventory(&outside), before);
    end(&scene);
}

fn deep(open: Open, count: usize) {
    let Some((scene, driver)) = begin(&format!("{count}_layers"), open) else {
        return;
    };
    let layers: Vec<Layer> = (0..count)
        .map(|n| scene.files(&[(&format!("d/{n:03}"), "x"), ("top", &n.to_string())]))
        .collect();
    scene.mount(&*driver, &layers, "root");
    let root = scene.target("root");
    let top = fs::read_to_string(root.join("top")).expect("a file");
    assert_eq!(top, (count - 1).to_string());
    assert_eq!(
        fs::read_dir(root.join("d")).expect("a directory").count(),
        count
    );
    scene.mount_writable(&*driver, &layers, "writable");
    append(&scene.target("writable").join("d/000"), "y");
    scene.unmount("writable");
    scene.unmount("root");
    end(&scene);
}

/// Suite.
pub fn privileged_1_layer(open: Open) {
    deep(open, 1);
}

/// Suite.
pub fn privileged_2_layers(open: Open) {
    deep(open, 2);
}

/// Suite.
pub fn privileged_100_layers(open: Open) {
    deep(open, 100);
}

/// Suite.
pub fn privileged_500_layers(open: Open) {
    deep(open, 500);
}
