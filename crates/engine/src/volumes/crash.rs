//! Power cuts while volumes are made, filled and removed.
//!
//! Every step of the state database is a cut, with what may be lost of its commits. Rooms take steps of their own
//! between those: what they did between two cuts has happened, or has not, or some of it has.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use lapstrake_container::mounts::WantedVolume;
use lapstrake_store::{Commit, Disk, HostId, Place, RealDisk, Store};
use lapstrake_sys::publish::{Published, StagedFile};
use lapstrake_testkit::disk::{CrashDisk, scratch, survey};

use super::{NewVolume, Volumes};

/// Files below a directory, with their contents, and directories without.
type Tree = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// A disk that notes, with each cut, what the volumes' directory looks like.
#[derive(Debug)]
struct Watching {
    crash: CrashDisk,
    home: PathBuf,
    trees: Mutex<Vec<Tree>>,
}

impl Watching {
    fn step<T>(&self, result: io::Result<T>) -> io::Result<T> {
        let result = result?;
        let mut trees = self.trees.lock().unwrap();
        let tree = read(&self.home);
        // Steps and cuts go together, also if a step took none.
        trees.resize(self.crash.steps() + 1, tree);
        Ok(result)
    }
}

impl Disk for Watching {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.step(self.crash.make_dir(path))
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        self.step(self.crash.create(path))
    }

    fn publish(&self, staged: StagedFile, name: &Path) -> io::Result<Published> {
        self.step(self.crash.publish(staged, name))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<Published> {
        self.step(self.crash.rename_new(from, to))
    }

    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(self.crash.replace(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.step(self.crash.remove_file(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.step(self.crash.remove_dir(path))
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        self.step(self.crash.sync_file(file))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.step(self.crash.sync_dir(path))
    }

    fn committed(&self, path: &Path, commit: Commit) -> io::Result<()> {
        self.step(self.crash.committed(path, commit))
    }
}

fn read(dir: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut left = vec![PathBuf::new()];
    while let Some(at) = left.pop() {
        let Ok(entries) = std::fs::read_dir(dir.join(&at)) else {
            continue;
        };
        for entry in entries {
            let path = at.join(entry.unwrap().file_name());
            let full = dir.join(&path);
            if full.is_dir() {
                left.push(path.clone());
                tree.insert(path, None);
            } else {
                // What is being freed may go meanwhile.
                tree.insert(path, std::fs::read(full).ok());
            }
        }
    }
    tree
}

fn write(dir: &Path, tree: &Tree) {
    std::fs::create_dir_all(dir).unwrap();
    for (path, content) in tree {
        let path = dir.join(path);
        match content {
            None => std::fs::create_dir_all(path).unwrap(),
            Some(content) => {
                use std::io::Write as _;
                File::create(path).unwrap().write_all(content).unwrap();
            }
        }
    }
}

/// What rooms may have left between two cuts: nothing new, everything, or every second thing.
fn between(before: &Tree, after: &Tree, which: usize) -> Tree {
    match which % 3 {
        0 => before.clone(),
        1 => after.clone(),
        _ => {
            let mut some = before.clone();
            let new = after.iter().filter(|(path, _)| !before.contains_key(*path));
            for (at, (path, content)) in new.enumerate() {
                if at % 2 == 0
                    && path
                        .parent()
                        .is_none_or(|parent| parent == Path::new("") || some.contains_key(parent))
                {
                    some.insert(path.clone(), content.clone());
                }
            }
            some
        }
    }
}

fn open(disk: Arc<dyn Disk>, base: &Path, boot_id: &str) -> (Arc<Store>, Volumes) {
    let place = Place {
        root: &base.join("store"),
        host: &HostId::from_hostname("h"),
        boot_id,
    };
    let store = Arc::new(Store::open_on(disk, place, None).unwrap());
    let volumes = Volumes::open_over(Arc::clone(&store), &base.join("run")).unwrap();
    (store, volumes)
}

fn labelled(name: &str, label: &str) -> NewVolume {
    NewVolume {
        name: name.to_owned(),
        labels: [("label".to_owned(), label.to_owned())].into(),
        ..NewVolume::default()
    }
}

/// What a volume was known to be, from which step on: its label, or that it is gone.
type History = BTreeMap<&'static str, Vec<(usize, Option<&'static str>)>>;

#[test]
fn whatever_was_acknowledged_is_so_after_a_power_cut() {
    let base = scratch();
    let image = scratch();
    let source = image.path().join("data");
    write(
        &source,
        &[
            ("a".into(), Some(b"1".to_vec())),
            ("b".into(), Some(b"2".to_vec())),
        ]
        .into(),
    );
    let disk = Arc::new(Watching {
        crash: CrashDisk::over(base.path()),
        home: base.path().join("store/state/volumes"),
        trees: Mutex::default(),
    });
    let (store, volumes) = open(Arc::clone(&disk) as _, base.path(), "one");
    let mut history = History::new();
    let mut known = |name, label| {
        let entry = history.entry(name).or_insert_with(|| vec![(0, None)]);
        entry.push((disk.crash.steps(), label));
    };
    let nobody = |_name: &str| Vec::new();
    volumes.create(&labelled("one", "first")).unwrap();
    known("one", Some("first"));
    let anonymous = WantedVolume {
        name: "f00d".to_owned(),
        labels: [("label".to_owned(), "anonymous".to_owned())].into(),
        anonymous: true,
        ..WantedVolume::default()
    };
    let claim = volumes.claim(&[anonymous], "c1").unwrap();
    volumes.done(claim).unwrap();
    known("f00d", Some("anonymous"));
    volumes.create(&labelled("filled", "x")).unwrap();
    known("filled", Some("x"));
    assert!(
        volumes
            .fill("filled", None, "c1", image.path(), Path::new("/data"))
            .unwrap()
    );
    let filled = disk.crash.steps();
    volumes.attach("one", "c1").unwrap();
    volumes.detach("one", "c1").unwrap();
    volumes.remove("one", &nobody).unwrap();
    known("one", None);
    volumes.create(&labelled("one", "second")).unwrap();
    known("one", Some("second"));
    volumes.remove("f00d", &nobody).unwrap();
    known("f00d", None);
    let trees = disk.trees.lock().unwrap().clone();
    let cuts = disk.crash.cuts();
    drop((store, volumes));

    let turn = AtomicUsize::new(0);
    let states = survey(&cuts, |step, left| {
        let nothing = Tree::new();
        let before = trees.get(step).unwrap_or(&nothing);
        let after = trees.get(step + 1).unwrap_or(before);
        let tree = between(before, after, turn.fetch_add(1, Ordering::Relaxed));
        let home = left.join("store/state/volumes");
        write(&home, &tree);
        let (_store, volumes) = open(Arc::new(RealDisk), left, "two");
        volumes.settle(&|_id| true).unwrap();
        volumes.free_removed().unwrap();
        let list = volumes.list();
        for (name, history) in &history {
            let last = history.iter().rposition(|(from, _)| *from <= step).unwrap();
            let found = list.iter().find(|volume| volume.name == *name);
            let label = found.map(|volume| volume.labels["label"].as_str());
            let allowed = history[last..]
                .iter()
                .take(2)
                .any(|(_, known)| *known == label);
            assert!(
                allowed,
                "{name} is {label:?}, but should be as in {:?}",
                &history[last..]
            );
        }
        for volume in &list {
            let path = volumes.attach(&volume.name, "c2").unwrap();
            if volume.name == "filled" {
                let content = read(&path);
                let whole = read(&source);
                let (is_whole, is_empty) = (content == whole, content.is_empty());
                assert!(
                    is_whole || is_empty && step < filled,
                    "half of it: {content:?}"
                );
            }
            volumes.detach(&volume.name, "c2").unwrap();
        }
        let rooms = std::fs::read_dir(&home).unwrap();
        let rooms = rooms.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut rooms: Vec<_> = rooms.filter(|name| !name.starts_with('.')).collect();
        rooms.sort();
        let names: Vec<_> = list.into_iter().map(|volume| volume.name).collect();
        assert_eq!(rooms, names, "rooms and records");
        for dir in [".new", ".trash"] {
            assert_eq!(read(&home.join(dir)), nothing, "{dir}");
        }
    });
    println!("{} cuts, {states} states", cuts.len());
}
