//! The guest's side: looks at the store that the last power cut left, and works until the next.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use lapstrake_engine::{
    Access, Client, ClientOptions, CommitOptions, DeepOptions, Depth, Doing, Engine, Fault, IfUsed,
    Limits, Opening, Pace, Platform, Prune, PullOptions, Reference, Surroundings, Which,
};
use lapstrake_testkit::registry::{self, Layer, Registry};
use lapstrake_testkit::tar::Tar;

use crate::journal::{Fate, Journal, Verb};

/// Where the script mounts the disk.
const DISK: &str = "/mnt";
/// The script's pipe: whoever writes to it cuts power.
const CUT: &str = "/run/cut";
/// Images that are kept; older ones are pruned.
const KEPT: usize = 1;

pub(crate) fn run() {
    let Some(share) = std::env::var_os("TEST_SHARE") else {
        panic!("this is for the guest of the tests beside it");
    };
    let guest = Guest::new(Path::new(&share));
    guest.look();
    match std::env::var("TEST_CUT_VERB") {
        Ok(verb) => guest.work(Verb::of(&verb)),
        Err(_) => guest.clear_out(),
    }
}

struct Guest {
    engine: Engine,
    journal: Journal,
    registry: Registry,
    client: Client,
    runtime: tokio::runtime::Runtime,
}

fn surroundings() -> Surroundings {
    Surroundings {
        root: Path::new(DISK).join("store"),
        run: PathBuf::from("/run/lapstrake"),
        hostname: "h".to_owned(),
        boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap(),
    }
}

/// Bytes that follow from a number and belong nowhere else.
fn bytes(number: u64, length: usize) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// The file that every image has, by which it is known.
fn own(number: u64) -> Vec<u8> {
    bytes(number, 700_000)
}

impl Guest {
    fn new(share: &Path) -> Self {
        fs::create_dir_all("/run/lapstrake").unwrap();
        Self {
            engine: Engine::open(&surroundings(), Opening::Own(None)).unwrap(),
            journal: Journal::at(share),
            registry: Registry::start(registry::Access::Open),
            client: Client::new(ClientOptions::of("test")).unwrap(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
        }
    }

    /// Holds the store to the journal.
    fn look(&self) {
        let fates = self.journal.fates();
        let images = self.engine.images().unwrap();
        let listed: Vec<_> = images.iter().map(|image| image.reference.clone()).collect();
        for (name, fate) in &fates {
            match (fate, listed.contains(name)) {
                (Fate::There(_), false) => panic!("{name} was acknowledged and is lost"),
                (Fate::Gone, true) => panic!("{name} was removed and is back"),
                _ => {}
            }
        }
        for name in &listed {
            let result = self.bytes_of(name);
            match (fates.get(name), result) {
                (Some(Fate::There(number) | Fate::Either(number)), Ok(found)) => {
                    assert!(found == own(*number), "{name} has wrong bytes");
                }
                (Some(Fate::Either(_)), Err(error)) => {
                    self.journal.write(format_args!("note refused: {error}"));
                    self.remove(std::slice::from_ref(name));
                }
                (_, Err(error)) => panic!("{name} cannot be used: {error}"),
                (fate, Ok(_)) => panic!("{name} is there, and the journal says {fate:?}"),
            }
        }
        self.is_tidy();
    }

    fn bytes_of(&self, name: &str) -> Result<Vec<u8>, lapstrake_engine::Error> {
        let target = Path::new("/run/target");
        let reference: Reference = name.parse().unwrap();
        self.engine.mount(&reference, target, &Access::ReadOnly)?;
        let found = fs::read(target.join("own"));
        self.engine.unmount(target)?;
        Ok(found.unwrap())
    }

    /// After a prune nothing is left that nothing refers to, and nothing is damaged.
    fn is_tidy(&self) {
        self.prune(Which::Dangling, later());
        for writable in self.engine.writables().unwrap() {
            self.engine.remove_writable(&writable.record.name).unwrap();
        }
        self.engine.settle().unwrap();
        let options = DeepOptions {
            parallel: 1,
            pace: Pace::unlimited(),
        };
        let report = lapstrake_engine::check(&surroundings(), &Depth::Deep(options), &|_event| {});
        let mut unused = Vec::new();
        for finding in report.unwrap().findings {
            match finding.fault {
                Fault::Doubtful => {}
                _ => unused.push(format!("{finding:?}")),
            }
        }
        assert!(unused.is_empty(), "{unused:#?}");
        for dir in ["content/tmp/h", "content/trash", "state/containers/.trash"] {
            assert_eq!(files_below(dir), [""; 0], "{dir} is not empty");
        }
        for kept in files_below("content/quarantine") {
            self.journal.write(format_args!("note quarantined: {kept}"));
            fs::remove_dir_all(Path::new(DISK).join("store/content/quarantine")).unwrap();
        }
    }

    fn prune(&self, which: Which, now: SystemTime) {
        let prune = Prune {
            which,
            labels: Vec::new(),
            not_labels: Vec::new(),
            until: None,
        };
        let engine = &self.engine;
        engine.prune(&prune, Doing::It, now).unwrap();
        engine.empty_trash().unwrap();
    }

    /// Does one thing after the other, until power is cut in the middle of one of them.
    fn work(&self, cut: Verb) {
        let mut took = BTreeMap::<Verb, Duration>::new();
        for round in 0..20 {
            for verb in Verb::ALL {
                let last = took.get(&verb).filter(|_took| verb == cut);
                let begin = || {
                    if let Some(took) = last {
                        cut_in(*took);
                    }
                    Instant::now()
                };
                let took_now = match verb {
                    Verb::Pull => self.pull(begin),
                    Verb::Commit => self.commit(begin),
                    Verb::Prune => self.remove_old(begin),
                };
                // The first time takes longer than the others.
                if round > 0 {
                    took.insert(verb, took_now);
                }
            }
        }
        panic!("power was not cut");
    }

    /// Each deed calls `begin` where it begins, and returns how long it took from there.
    fn pull(&self, begin: impl Fn() -> Instant) -> Duration {
        let number = self.journal.next();
        let mut base = Tar::default();
        base.file("base", 0o644, &bytes(0, 300_000));
        let mut top = Tar::default();
        top.file("own", 0o644, &own(number)).directory("d", 0o755);
        let layers = [Layer::plain(base.finish()), Layer::plain(top.finish())];
        let image = self.registry.add_image("app", &number.to_string(), &layers);
        let options = PullOptions {
            platform: Platform::host(),
            parallel: 2,
            limits: Limits::DEFAULT,
        };
        let line = format!("pull {} {number}", image.reference);
        self.journal.write(format_args!("begin {line}"));
        let start = begin();
        let pulled = self
            .engine
            .pull(&self.client, &image.reference, &options, |_event| {});
        self.runtime.block_on(pulled).unwrap();
        let took = start.elapsed();
        self.journal.write(format_args!("done {line}"));
        took
    }

    /// Commits changes of a container on the image that was pulled last.
    fn commit(&self, begin: impl Fn() -> Instant) -> Duration {
        let number = self.journal.next();
        let images = self.journal.fates();
        let pulled = images.iter().filter(|(name, _)| name.contains("/app:"));
        let there = pulled.filter_map(|(name, fate)| match fate {
            Fate::There(number) => Some((number, name)),
            Fate::Gone | Fate::Either(_) => None,
        });
        let (_, image) = there.max().unwrap();
        let image: Reference = image.parse().unwrap();
        let name = format!("c{number}");
        let target = Path::new("/run/target");
        let writable = Access::Writable(name.clone());
        self.engine.mount(&image, target, &writable).unwrap();
        fs::File::create(target.join("own"))
            .and_then(|mut file| std::io::Write::write_all(&mut file, &own(number)))
            .unwrap();
        fs::remove_dir(target.join("d")).unwrap();
        self.engine.unmount(target).unwrap();
        let reference: Reference = format!("example.org/made:{number}").parse().unwrap();
        let line = format!("commit {reference} {number}");
        self.journal.write(format_args!("begin {line}"));
        let start = begin();
        let options = CommitOptions {
            execution: None,
            created_by: None,
            changes: Vec::new(),
            author: None,
            message: None,
            now: SystemTime::now(),
        };
        self.engine.commit(&name, &reference, &options).unwrap();
        let took = start.elapsed();
        self.journal.write(format_args!("done {line}"));
        self.engine.remove_writable(&name).unwrap();
        took
    }

    /// Removes all images but the last few, and what they alone had.
    fn remove_old(&self, begin: impl Fn() -> Instant) -> Duration {
        let mut there: Vec<(u64, String)> = Vec::new();
        for (name, fate) in self.journal.fates() {
            match fate {
                Fate::There(number) => there.push((number, name)),
                Fate::Gone | Fate::Either(_) => {}
            }
        }
        there.sort();
        there.truncate(there.len().saturating_sub(KEPT));
        for (number, name) in &there {
            self.journal
                .write(format_args!("begin prune {name} {number}"));
        }
        let names: Vec<_> = there.iter().map(|(_, name)| name.clone()).collect();
        let start = begin();
        self.remove(&names);
        self.prune(Which::Dangling, SystemTime::now());
        let took = start.elapsed();
        for (number, name) in &there {
            self.journal
                .write(format_args!("done prune {name} {number}"));
        }
        took
    }

    fn remove(&self, names: &[String]) {
        let names: Vec<_> = names.iter().map(|name| name.parse().unwrap()).collect();
        let engine = &self.engine;
        let removed = engine.remove_images(&names, IfUsed::Refuse, SystemTime::now());
        removed.unwrap();
    }

    /// Removes everything, and nothing is left.
    fn clear_out(&self) {
        self.prune(Which::Unused, later());
        assert_eq!(self.engine.images().unwrap(), []);
        for dir in [
            "content/blobs",
            "content/layers",
            "content/trash",
            "state/index",
        ] {
            assert_eq!(files_below(dir), [""; 0], "{dir} is not empty");
        }
    }
}

/// Cuts power at the moment that the host chose, of a deed that takes so long.
fn cut_in(took: Duration) {
    let moment: u32 = std::env::var("TEST_CUT_MOMENT").unwrap().parse().unwrap();
    std::thread::spawn(move || {
        std::thread::sleep(took * moment / 1000);
        fs::OpenOptions::new()
            .write(true)
            .open(CUT)
            .and_then(|mut pipe| std::io::Write::write_all(&mut pipe, b"now\n"))
            .unwrap();
    });
}

/// When the leases of what a power cut ended have expired.
fn later() -> SystemTime {
    SystemTime::now() + Duration::from_secs(24 * 3600)
}

/// Files below a directory of the store, as paths.
fn files_below(dir: &str) -> Vec<String> {
    let mut files = Vec::new();
    let mut dirs = vec![Path::new(DISK).join("store").join(dir)];
    while let Some(dir) = dirs.pop() {
        let Ok(entries) = fs::read_dir(&dir) else {
            continue;
        };
        for entry in entries {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                dirs.push(entry.path());
            } else {
                files.push(entry.path().display().to_string());
            }
        }
    }
    files
}
