//! A store with two images in it, as it was before anything happened to it.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use lapstrake_engine::{
    CheckReport, Client, ClientOptions, DeepOptions, Depth, Engine, Error, Fetcher, Limits,
    Opening, Pace, Patience, Platform, PullOptions, Reference, ScrubOptions, Surroundings, check,
    repair, scrub,
};
use lapstrake_oci::{Algorithm, Digest};
use lapstrake_store::{HostId, ImageRecord, LayerRecord, Source, Store};
use lapstrake_testkit::registry::{Access, Fault, Layer, Registry};
use lapstrake_testkit::tar::Tar;

const DATABASE: &str = "state/state.db";

pub(crate) struct Scene {
    dir: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    images: Vec<Reference>,
    registry: Registry,
    /// The blob of the largest layer.
    base: Digest,
    /// Every file of the store, by its path in it.
    before: BTreeMap<String, Vec<u8>>,
    /// When the database was changed last: bits that rot don't change that.
    changed: SystemTime,
    records: Records,
}

/// All that is recorded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Records {
    images: Vec<ImageRecord>,
    layers: Vec<(LayerRecord, Vec<Source>)>,
}

/// Bytes that compress about by half.
fn content(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let [one, two, ..] = state.to_le_bytes();
        [one, two, b'-', b'-']
    });
    words.flatten().take(length).collect()
}

impl Scene {
    /// In memory, if possible: syncing costs more than all the rest.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap());
        Self::at(dir)
    }

    pub(crate) fn on_disk() -> Self {
        Self::at(tempfile::tempdir().unwrap())
    }

    fn at(dir: tempfile::TempDir) -> Self {
        let registry = Registry::start(Access::Open);
        let base = Tar::default()
            .directory("dir", 0o755)
            .file("dir/big", 0o644, &Self::big())
            .file("dir/small", 0o644, b"hello")
            .finish();
        let tops = [2, 3].map(|seed| {
            Tar::default()
                .file("top", 0o600, &content(seed, 5000))
                .symlink("link", "dir/big")
                .finish()
        });
        let base = Layer::plain(base);
        let images = tops.into_iter().zip(["1", "2"]).map(|(top, tag)| {
            let layers = [base.clone(), Layer::plain(top)];
            registry.add_image("app", tag, &layers).reference
        });
        let mut scene = Self {
            images: images.collect(),
            dir,
            runtime: tokio::runtime::Runtime::new().unwrap(),
            base: Algorithm::Sha256.digest(&base.blob),
            registry,
            before: BTreeMap::new(),
            changed: SystemTime::UNIX_EPOCH,
            records: Records {
                images: Vec::new(),
                layers: Vec::new(),
            },
        };
        scene.pull();
        scene.records = scene.records();
        scene.before = read_tree(scene.root());
        let database = fs::metadata(scene.root().join(DATABASE)).unwrap();
        scene.changed = database.modified().unwrap();
        scene
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    fn around(&self) -> Surroundings {
        Surroundings {
            root: self.root().to_owned(),
            run: self.root().join("run"),
            hostname: "h".to_owned(),
            boot_id: "boot".to_owned(),
        }
    }

    fn client(&self) -> Client {
        Client::new(ClientOptions::of("test")).unwrap()
    }

    pub(crate) fn engine(&self) -> Engine {
        Engine::open(&self.around(), Opening::Own(None)).unwrap()
    }

    /// The image that is mounted.
    pub(crate) fn image(&self) -> &Reference {
        &self.images[0]
    }

    /// The contents of its file `/dir/big`.
    pub(crate) fn big() -> Vec<u8> {
        content(1, 1_100_000)
    }

    /// Lets the registry lie about the largest layer's blob this many times.
    pub(crate) fn lie(&self, times: usize) {
        for _time in 0..times {
            self.registry.fault(&self.base, Fault::WrongByte(1000));
        }
    }

    /// Reads all that was not read since `due`, and repairs.
    pub(crate) fn scrub(&self, due: SystemTime, now: SystemTime) -> CheckReport {
        let options = ScrubOptions {
            due,
            now,
            pace: Pace::unlimited(),
        };
        scrub(
            &self.engine(),
            Some(&self.fetcher()),
            &options,
            &|_event| {},
        )
        .unwrap()
    }

    /// The path of the `data` that has that file.
    pub(crate) fn big_data(&self) -> PathBuf {
        let largest = self.before.iter().max_by_key(|(_, bytes)| bytes.len());
        self.root().join(largest.unwrap().0)
    }

    pub(crate) fn pull(&self) {
        let engine = self.engine();
        let options = PullOptions {
            platform: Platform::host(),
            parallel: 2,
            limits: Limits::DEFAULT,
        };
        let client = self.client();
        for image in &self.images {
            let pulled = engine.pull(&client, image, &options, |_event| {});
            self.runtime.block_on(pulled).unwrap();
        }
    }

    /// Lets the database look as if nobody had written to it.
    pub(crate) fn hide_the_hand(&self) {
        if let Ok(database) = File::options().write(true).open(self.root().join(DATABASE)) {
            let times = FileTimes::new().set_modified(self.changed);
            database.set_times(times).unwrap();
        }
    }

    /// Files that may be harmed, and their lengths.
    pub(crate) fn files(&self) -> Vec<(String, usize)> {
        let files = self.before.iter();
        files
            .filter(|(path, bytes)| !bytes.is_empty() && !path.ends_with("owner"))
            .map(|(path, bytes)| (path.clone(), bytes.len()))
            .collect()
    }

    /// Puts the store back as it was.
    pub(crate) fn restore(&self) {
        let now = read_tree(self.root());
        for path in now.keys().filter(|path| !self.before.contains_key(*path)) {
            fs::remove_file(self.root().join(path)).unwrap();
        }
        for (path, bytes) in &self.before {
            if now.get(path) != Some(bytes) {
                let path = self.root().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, bytes).unwrap();
            }
        }
        self.hide_the_hand();
        for dir in ["content/quarantine", "content/trash"] {
            drop(fs::remove_dir_all(self.root().join(dir)));
        }
    }

    fn deep() -> DeepOptions {
        DeepOptions {
            parallel: 2,
            pace: Pace::unlimited(),
        }
    }

    pub(crate) fn check(&self) -> Result<CheckReport, Error> {
        check(&self.around(), &Depth::Deep(Self::deep()), &|_event| {})
    }

    fn fetcher(&self) -> Fetcher {
        Fetcher {
            client: self.client(),
            runtime: self.runtime.handle().clone(),
            limits: Limits::DEFAULT,
        }
    }

    pub(crate) fn repair(&self, has_source: bool) -> CheckReport {
        let fetcher = self.fetcher();
        let patience = Patience {
            at_most: Duration::ZERO,
            tell: &mut |_refusal| {},
        };
        let fetcher = has_source.then_some(&fetcher);
        repair(
            &self.around(),
            patience,
            fetcher,
            Self::deep(),
            &|_event| {},
        )
        .unwrap()
    }

    fn store(&self) -> Store {
        Store::open(self.root(), &HostId::from_hostname("h"), "boot").unwrap()
    }

    pub(crate) fn records(&self) -> Records {
        let store = self.store();
        let state = store.state();
        let layers = state.every_layer().unwrap().into_iter();
        Records {
            images: state.images().unwrap(),
            layers: layers
                .map(|layer| {
                    let sources = state.sources(&layer.diff_id).unwrap();
                    (layer, sources)
                })
                .collect(),
        }
    }

    pub(crate) fn records_before(&self) -> &Records {
        &self.records
    }

    /// Whatever has a record, or passes for a document, has the bytes that it always had.
    #[track_caller]
    pub(crate) fn assert_nothing_damaged_is_served(&self, told: &str) {
        let store = self.store();
        for layer in store.state().every_layer().unwrap() {
            let files = store.content.layer_files(&layer.diff_id);
            for file in [&files.data, &files.skeleton] {
                self.assert_as_before(file, told);
            }
            let index = store.indexes.is_intact(&layer.diff_id, &layer.index);
            if index.unwrap() {
                self.assert_as_before(&store.indexes.path(&layer.diff_id), told);
            }
        }
        for image in store.state().images().unwrap() {
            assert!(self.records.images.contains(&image), "{told}");
        }
    }

    /// Everything is as it was.
    #[track_caller]
    pub(crate) fn assert_whole(&self, told: &str) {
        let now = read_tree(self.root());
        for (path, bytes) in &self.before {
            let is_ours = path.starts_with("content/") || path.starts_with("state/index/");
            if is_ours && now.get(path) != Some(bytes) {
                panic!("{path} is another one: {told}");
            }
        }
        assert_eq!(self.records(), self.records, "{told}");
    }

    #[track_caller]
    fn assert_as_before(&self, path: &Path, told: &str) {
        let name = name(self.root(), path);
        let is_same = self.before.get(&name) == Some(&fs::read(path).unwrap());
        assert!(is_same, "{name} is served, and is not what it was: {told}");
    }
}

fn name(root: &Path, path: &Path) -> String {
    let path = path.strip_prefix(root).unwrap();
    path.to_str().unwrap().to_owned()
}

fn read_tree(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut todo: Vec<PathBuf> = vec![root.join("content"), root.join("state")];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else {
                files.insert(name(root, &path), fs::read(&path).unwrap());
            }
        }
    }
    files
}
