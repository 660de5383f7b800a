//! Mounts outlive their makers: whoever is killed, at whatever moment, roots go on, the next process
//! finds what is mounted, and what nobody needs is swept. See docs/design/0003-who-holds-mounts.md.
#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lapstrake_drivers::erofs::{Erofs, PageCache};
use lapstrake_drivers::{Overlay2, Vfs, vfs};
use lapstrake_oci::DiffId;
use lapstrake_snapshot::{CopyUp, Driver, Error, Layer, RunDir, StoredFile};
use lapstrake_testkit::scene::{Scene, chain, listing, privileged, text};

const DRIVERS: [&str; 3] = ["erofs", "overlay2", "vfs"];

fn open(driver: &str, store: &Path, run: &RunDir) -> Box<dyn Driver> {
    let home = store.join("drivers").join(driver);
    match driver {
        "erofs" => Box::new(Erofs {
            cache: PageCache::Direct,
            copy_up: CopyUp::AttributesFirst,
        }),
        "overlay2" => Box::new(Overlay2::open(&home, run, CopyUp::Whole).unwrap()),
        _ => Box::new(Vfs::open(&home, run, vfs::Xattrs::Needed).unwrap()),
    }
}

/// What another process is told: its task, the driver and the directory of the scene.
const TASK: &str = "LAPSTRAKE_TEST_TASK";

/// Starts this program again, as another process with a task.
fn start(task: &str, driver: &str, scene: &Scene) -> Child {
    let value = format!("{task} {driver} {}", text(scene.dir.path()));
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "other_process", "--nocapture"])
        .env(TASK, value)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// No test by itself: what the other process does.
#[test]
fn other_process() {
    let Some(value) = std::env::var_os(TASK) else {
        return;
    };
    let value = value.into_string().unwrap();
    let [task, driver, dir] = value.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{value}");
    };
    let dir = Path::new(dir);
    let run = RunDir::at(dir.join("run")).unwrap();
    let driver = open(driver, &dir.join("store"), &run);
    let stack = stack_at(&dir.join("store"));
    let mount = |target: &str| {
        driver.realise(&stack).unwrap();
        let done = run.mount(&*driver, &stack, None, &dir.join(target));
        done.unwrap_or_else(|error| panic!("{}", chain(&error)));
    };
    match task {
        "mount-and-wait" => {
            mount("root");
            std::thread::sleep(Duration::from_secs(60));
        }
        "mount-and-unmount" => loop {
            mount("root");
            run.unmount(&dir.join("root")).unwrap();
        },
        "realise-and-forget" => loop {
            driver.realise(&stack).unwrap();
            for layer in &stack {
                match driver.forget(&layer.id) {
                    Ok(()) | Err(Error::LayerInUse { .. }) => {}
                    Err(error) => panic!("{}", chain(&error)),
                }
            }
        },
        other => panic!("{other}"),
    }
}

/// The layers that `layers` made, bottom first.
fn stack_at(store: &Path) -> Vec<Layer> {
    let list = std::fs::read_to_string(store.join("stack")).unwrap();
    let layer = |line: &str| {
        let (hex, blake3) = line.split_once(' ').unwrap();
        let dir = store.join("layers").join(hex);
        let file = |name: &str| StoredFile {
            path: dir.join(name),
            len: dir.join(name).metadata().unwrap().len(),
        };
        Layer {
            id: DiffId(format!("sha256:{hex}").parse().unwrap()),
            index: file("index"),
            index_blake3: blake3.to_owned(),
            skeleton: dir.join("skeleton"),
            data: Some(file("data")).filter(|data| data.len > 0),
        }
    };
    list.lines().map(layer).collect()
}

fn layers(scene: &Scene, contents: &str) -> Vec<Layer> {
    let layers: Vec<_> = (0..5)
        .map(|n| scene.files(&[(&format!("f{n}"), contents)]))
        .collect();
    let lines: String = layers
        .iter()
        .map(|layer| format!("{} {}\n", layer.id.0.hex(), layer.index_blake3))
        .collect();
    let mut file = std::fs::File::create(scene.store.join("stack")).unwrap();
    std::io::Write::write_all(&mut file, lines.as_bytes()).unwrap();
    scene.target("root");
    layers
}

/// The device of every layer that is mounted in the scene, by its name; one layer, one device.
fn superblocks(scene: &Scene) -> BTreeMap<OsString, (u32, u32)> {
    let mut devices = BTreeMap::new();
    for mounted in lapstrake_sys::mount::table().unwrap() {
        if mounted.filesystem == "erofs" && mounted.target.starts_with(scene.dir.path()) {
            let name = mounted.target.file_name().unwrap().to_owned();
            let other = devices.insert(name, mounted.device);
            assert!(
                other.is_none_or(|other| other == mounted.device),
                "mounted twice"
            );
        }
    }
    let all: BTreeSet<_> = devices.values().collect();
    assert_eq!(all.len(), devices.len(), "one file system for two layers");
    devices
}

fn is_mounted(target: &Path) -> bool {
    lapstrake_sys::mount::is_mount_root(rustix::fs::CWD, target).unwrap()
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn privileged_a_killed_makers_mounts_are_found_and_used() {
    if !privileged("found_and_used") {
        return;
    }
    for driver in DRIVERS {
        let scene = Scene::new();
        let stack = layers(&scene, "x");
        let root = scene.target("root");
        let mut maker = start("mount-and-wait", driver, &scene);
        wait_until("the root appears", || is_mounted(&root));
        maker.kill().unwrap();
        maker.wait().unwrap();
        let before = superblocks(&scene);
        assert_eq!(before.len(), if driver == "erofs" { 5 } else { 0 });
        assert_eq!(listing(&root).len(), 5, "the root goes on");
        let device = std::fs::metadata(&root).unwrap().dev();
        // This process finds the same file systems, and makes no others.
        let ours = open(driver, &scene.store, &scene.run);
        assert_eq!(scene.mount(&*ours, &stack, "ours").fresh, 0, "{driver}");
        assert_eq!(superblocks(&scene), before);
        assert_eq!(scene.run.in_use().unwrap().len(), 5);
        scene.unmount("ours");
        assert_eq!(superblocks(&scene), before, "the other root needs them");
        assert_eq!(std::fs::metadata(&root).unwrap().dev(), device);
        scene.unmount("root");
        assert_eq!(scene.mounts(), Vec::<PathBuf>::new());
    }
}

#[test]
fn privileged_makers_killed_at_any_moment_leave_what_is_found_and_swept() {
    if !privileged("any_moment") {
        return;
    }
    for driver in DRIVERS {
        let scene = Scene::new();
        let stack = layers(&scene, "x");
        let root = scene.target("root");
        let ours = open(driver, &scene.store, &scene.run);
        ours.realise(&stack).unwrap();
        let (mut mounted, mut not) = (0, 0);
        for round in 0..25_u64 {
            let mut maker = start("mount-and-unmount", driver, &scene);
            // Its first mount; then a moment that differs from round to round.
            wait_until("the maker begins", || {
                is_mounted(&root) || maker.try_wait().unwrap().is_some()
            });
            std::thread::sleep(Duration::from_micros(round * 7919 % 20_000));
            maker.kill().unwrap();
            maker.wait().unwrap();
            superblocks(&scene);
            if is_mounted(&root) {
                mounted += 1;
                assert_eq!(listing(&root).len(), 5);
                assert_eq!(scene.mount(&*ours, &stack, "ours").fresh, 0);
                scene.unmount("ours");
                scene.unmount("root");
            } else {
                not += 1;
                scene.run.sweep().unwrap();
            }
            assert_eq!(scene.mounts(), Vec::<PathBuf>::new(), "round {round}");
        }
        eprintln!("{driver}: killed {mounted} times with the root mounted, {not} times without");
    }
}

#[test]
fn privileged_realisers_killed_at_any_moment_leave_no_half_layer() {
    if !privileged("half_layer") {
        return;
    }
    for driver in ["overlay2", "vfs"] {
        let scene = Scene::new();
        let stack = layers(&scene, &"contents ".repeat(20_000));
        let expected = {
            let erofs = open("erofs", &scene.store, &scene.run);
            scene.mount(&*erofs, &stack, "root");
            let seen = listing(&scene.target("root"));
            scene.unmount("root");
            seen
        };
        for round in 0..15_u64 {
            let mut other = start("realise-and-forget", driver, &scene);
            let home = scene.store.join("drivers").join(driver).join("staging");
            wait_until("it begins", || home.exists());
            std::thread::sleep(Duration::from_micros(5000 + round * 7919 % 60_000));
            other.kill().unwrap();
            other.wait().unwrap();
            // Opening sweeps; what has a name is whole.
            let ours = open(driver, &scene.store, &scene.run);
            assert_eq!(
                std::fs::read_dir(&home).unwrap().count(),
                0,
                "round {round}"
            );
            scene.mount(&*ours, &stack, "root");
            assert_eq!(listing(&scene.target("root")), expected, "round {round}");
            scene.unmount("root");
            for layer in &stack {
                ours.forget(&layer.id).unwrap();
            }
            assert!(ours.realised().unwrap().is_empty());
        }
    }
}

#[test]
fn privileged_a_reader_notices_nothing_of_a_killed_maker() {
    if !privileged("reader") {
        return;
    }
    for driver in DRIVERS {
        let scene = Scene::new();
        let contents = "0123456789abcdef".repeat(100_000);
        let stack = layers(&scene, &contents);
        let root = scene.target("root");
        let mut maker = start("mount-and-wait", driver, &scene);
        wait_until("the root appears", || is_mounted(&root));
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|threads| {
            let reader = threads.spawn(|| {
                let file = std::fs::File::open(root.join("f3")).unwrap();
                let mut reads = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    // From the disk again, not from memory.
                    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
                    let mut bytes = vec![0; contents.len()];
                    file.read_exact_at(&mut bytes, 0).unwrap();
                    assert!(bytes == contents.as_bytes());
                    reads += 1;
                }
                reads
            });
            std::thread::sleep(Duration::from_millis(50));
            maker.kill().unwrap();
            maker.wait().unwrap();
            // Others come and go, and sweep.
            let ours = open(driver, &scene.store, &scene.run);
            for _ in 0..5 {
                scene.mount(&*ours, &stack, "ours");
                scene.unmount("ours");
                scene.run.sweep().unwrap();
            }
            std::thread::sleep(Duration::from_millis(50));
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(reader.join().unwrap() > 0);
        });
        scene.unmount("root");
        assert_eq!(scene.mounts(), Vec::<PathBuf>::new());
    }
}
