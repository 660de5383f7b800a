//! A workload, run once; every cut of it, with every loss; and what must hold after each.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use lapstrake_oci::{DiffId, Digest, Platform};
use lapstrake_registry_client::{Client, Options};
use lapstrake_store::{Disk, HostId, LayerRecord, LayerState, Place, RealDisk, Store};
use lapstrake_testkit::disk::{CrashDisk, scratch, survey};
use lapstrake_testkit::registry::{Access, Added, Layer, Registry};
use lapstrake_testkit::tar;
use lapstrake_transfer::{Error, Limits, PullOptions, Pulled, index, pull, settle_layer};
use lapstrake_tree::view::TarView;

const MAX_BLOB: u64 = 1 << 20;

/// A layer of one file with bytes that belong nowhere else.
pub(crate) fn layer(name: &str, length: usize) -> Layer {
    let word: Vec<u8> = name.bytes().chain(*b"-0123456789").collect();
    let contents: Vec<u8> = word.iter().copied().cycle().take(length).collect();
    Layer::plain(tar::of_file(name, &contents))
}

/// The registry, which no crash touches.
pub(crate) struct World {
    registry: Registry,
    /// One for all pulls: it takes longer to make than a pull.
    client: Client,
    runtime: tokio::runtime::Runtime,
}

/// A run of the workload, with what it was told.
pub(crate) struct Run<'a> {
    world: &'a World,
    store: Arc<Store>,
    disk: Arc<CrashDisk>,
    /// From which step on an image must be there.
    acknowledged: Vec<(usize, Added)>,
    tried: BTreeMap<String, Added>,
}

impl Run<'_> {
    pub(crate) fn pull(&mut self, image: &Added) {
        self.tried
            .insert(image.reference.to_string(), image.clone());
        self.world.pull(&self.store, image).unwrap();
        self.acknowledged.push((self.disk.steps(), image.clone()));
    }
}

fn open_on(
    disk: Arc<dyn Disk>,
    root: &Path,
    boot_id: &str,
) -> Result<Store, lapstrake_store::Error> {
    let place = Place {
        root,
        host: &HostId::from_hostname("h"),
        boot_id,
    };
    Store::open_on(disk, place, None)
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            registry: Registry::start(Access::Open),
            client: Client::new(Options::of("test")).unwrap(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
        }
    }

    pub(crate) fn image(&self, path: &str, layers: &[Layer]) -> Added {
        self.registry.add_image(path, "1", layers)
    }

    fn pull(&self, store: &Arc<Store>, image: &Added) -> Result<Pulled, Error> {
        let options = PullOptions {
            platform: Platform::host(),
            parallel: 1,
            limits: Limits::DEFAULT,
        };
        self.runtime.block_on(pull(
            store,
            &self.client,
            &image.reference,
            &options,
            |_event| {},
        ))
    }

    /// Runs the workload and then looks at what every cut with every loss leaves.
    pub(crate) fn survives(&self, words: &str, workload: impl FnOnce(&mut Run<'_>)) {
        let base = scratch();
        let disk = Arc::new(CrashDisk::over(base.path()));
        let on = Arc::clone(&disk);
        let store = open_on(on, &base.path().join("store"), "one").unwrap();
        let mut run = Run {
            world: self,
            store: Arc::new(store),
            disk,
            acknowledged: Vec::new(),
            tried: BTreeMap::new(),
        };
        workload(&mut run);
        let cuts = run.disk.cuts();
        let states = survey(&cuts, |step, left| {
            let after = After {
                world: self,
                root: &left.join("store"),
            };
            let kept = run.acknowledged.iter().filter(|(from, _)| *from <= step);
            after.look(kept.map(|(_, image)| image), &run.tried);
        });
        eprintln!("{words}: {} cuts, {states} states", cuts.len());
    }
}

/// A store after a crash.
struct After<'a> {
    world: &'a World,
    root: &'a Path,
}

#[track_caller]
fn must<T, E: std::fmt::Display>(what: &str, result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{what}: {error}"))
}

impl After<'_> {
    fn open(&self) -> Store {
        must(
            "the store opens",
            open_on(Arc::new(RealDisk), self.root, "two"),
        )
    }

    fn look<'i>(
        &self,
        acknowledged: impl Iterator<Item = &'i Added>,
        tried: &BTreeMap<String, Added>,
    ) {
        let store = Arc::new(self.open());
        for image in acknowledged {
            self.is_whole(&store, image);
        }
        // Names that were not acknowledged may be there; what they lead to is right or refused.
        let images = store.state().images();
        for record in must("images are listed", images) {
            let image = &tried[&record.reference];
            if record.manifest != image.manifest.digest {
                panic!("a name leads to another image");
            }
            drop(self.blob(&store, &record.manifest));
            if let Some(layers) = self.layers(&store, &record.config) {
                for id in layers {
                    drop(self.serve(&store, &id));
                }
            }
        }
        for image in tried.values() {
            must("the image is pulled again", self.world.pull(&store, image));
            self.is_whole(&store, image);
        }
        drop(store);
        let store = self.open();
        must("the store is swept", store.sweep());
        must("the trash is emptied", store.empty_trash());
        for dir in ["content/tmp/h", "content/trash"] {
            let left: Vec<_> = std::fs::read_dir(self.root.join(dir)).unwrap().collect();
            if !left.is_empty() {
                panic!("{dir} is not empty: {left:?}");
            }
        }
    }

    /// The image is there, its layers are proved, and all its bytes are right.
    fn is_whole(&self, store: &Store, image: &Added) {
        let name = image.reference.to_string();
        let record = must("the image is looked up", store.state().image(&name));
        let Some(record) = record else {
            panic!("an image is lost");
        };
        must("the manifest is there", self.blob(store, &record.manifest));
        let Some(layers) = self.layers(store, &record.config) else {
            panic!("a config is lost");
        };
        for id in layers {
            let record = store.state().layer(&id);
            match record {
                Ok(Some(layer)) if layer.state == LayerState::Proved => {}
                other => panic!("a layer is not proved: {other:?}"),
            }
            must("the layer is served", self.serve(store, &id));
        }
    }

    fn blob(&self, store: &Store, digest: &Digest) -> Result<Vec<u8>, lapstrake_store::Error> {
        store.content.read_blob(digest, MAX_BLOB)
    }

    fn layers(&self, store: &Store, config: &Digest) -> Option<Vec<DiffId>> {
        let raw = self.blob(store, config).ok()?;
        let config = lapstrake_oci::Parsed::<lapstrake_oci::Config>::config(raw);
        let config = must("a config is one", config);
        Some(config.value().rootfs.diff_ids.clone())
    }

    /// Does with a layer what is done before a mount. What is then served must be right.
    fn serve(&self, store: &Store, id: &DiffId) -> Result<(), Error> {
        let record = store.state().layer(id)?;
        let Some(record) = record else {
            return Ok(());
        };
        if record.state == LayerState::Doubtful {
            settle_layer(store, id)?;
        }
        index::ensure(store, &record)?;
        self.is_right(store, &record);
        Ok(())
    }

    fn is_right(&self, store: &Store, record: &LayerRecord) {
        let id = &record.diff_id;
        let files = store.content.layer_files(id);
        let open = |path: &Path| must("a file of a layer opens", File::open(path));
        let length = open(&files.data).metadata().unwrap().len();
        if length != record.data_len {
            panic!("data of {length} bytes is served");
        }
        let view = TarView::new(open(&files.skeleton), open(&files.data));
        let mut tar = Vec::new();
        let read = must("a skeleton is one", view).read_to_end(&mut tar);
        must("a layer is read", read);
        if id.0.algorithm().digest(&tar) != id.0 {
            panic!("a wrong layer is served");
        }
        let stamped = store.indexes.is_intact(id, &record.index);
        if !must("an index is read", stamped) {
            panic!("an index differs from its record");
        }
    }
}
