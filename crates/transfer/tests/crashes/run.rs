//! What a workload can do.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use lapstrake_oci::{Algorithm, DiffId};
use lapstrake_snapshot::FileTree;
use lapstrake_store::{ImageRecord, Store};
use lapstrake_testkit::disk::CrashDisk;
use lapstrake_testkit::registry::Added;
use lapstrake_transfer::{Limits, add_image, add_layer};
use lapstrake_tree::changes::{Writable, changes};

use super::World;
use super::history::{Deed, History, Known};

/// A run of a workload.
pub(crate) struct Run<'a> {
    world: &'a World,
    store: Arc<Store>,
    disk: Arc<CrashDisk>,
    history: History,
}

impl<'a> Run<'a> {
    pub(super) fn new(world: &'a World, store: Store, disk: Arc<CrashDisk>) -> Self {
        Self {
            world,
            store: Arc::new(store),
            disk,
            history: History::default(),
        }
    }

    pub(super) fn history(self) -> History {
        self.history
    }

    fn note(&mut self, image: Known, deed: Deed, began: usize) {
        self.history.add(image, deed, began..self.disk.steps());
    }

    pub(crate) fn pull(&mut self, image: &Added) {
        let began = self.disk.steps();
        self.world.pull(&self.store, image).unwrap();
        self.note(Known::pulled(image), Deed::Add, began);
    }

    /// Removes an image and all that only it has, for good.
    pub(crate) fn remove(&mut self, image: &Known) {
        let began = self.disk.steps();
        remove(&self.store, &[image.record()]);
        self.note(image.clone(), Deed::Remove, began);
        self.store.empty_trash().unwrap();
    }

    /// Makes an image of one layer with a file of these bytes, as a commit does.
    pub(crate) fn commit(&mut self, name: &str, bytes: &[u8]) -> Known {
        let (upper, lower) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut made = std::fs::File::create(upper.path().join("made")).unwrap();
        std::io::Write::write_all(&mut made, bytes).unwrap();
        // The same bytes make the same layer whenever they are committed.
        made.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        for dir in [&upper, &lower] {
            let dir = std::fs::File::open(dir.path()).unwrap();
            dir.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        }
        let upper = FileTree::open(upper.path()).unwrap();
        let lower = FileTree::open(lower.path()).unwrap();
        let found = changes(&Writable::Whole(&upper), &lower).unwrap();

        let began = self.disk.steps();
        let layer = add_layer(&self.store, &found, &upper, &lower, Limits::DEFAULT).unwrap();
        let ids = [layer.record.diff_id.clone()];
        let config = config(&ids);
        let manifest = format!("the manifest of {name}").into_bytes();
        let digest = |bytes: &[u8]| Algorithm::Sha256.digest(bytes);
        let known = Known {
            reference: format!("example.org/{name}:1"),
            manifest: digest(&manifest),
            config: digest(&config),
            pulled: None,
        };
        let documents = [(&known.manifest, &*manifest), (&known.config, &*config)];
        add_image(&self.store, &known.record(), &ids, &documents, Some(layer)).unwrap();
        self.note(known.clone(), Deed::Add, began);
        known
    }
}

/// Takes names away, and removes what nothing else keeps.
pub(super) fn remove(store: &Store, names: &[ImageRecord]) {
    // By then the leases of what a crash ended have expired.
    let now = SystemTime::now() + std::time::Duration::from_secs(24 * 3600);
    let collection = store.collect();
    let inventory = collection.inventory(now).unwrap();
    let plan = collection
        .plan(&inventory, names, &BTreeSet::new())
        .unwrap();
    collection.carry_out(&plan, now).unwrap();
}

fn config(layers: &[DiffId]) -> Vec<u8> {
    let layers = layers.iter().map(|id| format!("\"{id}\""));
    let layers = layers.collect::<Vec<_>>().join(",");
    format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":[{layers}]}}}}"#
    )
    .into_bytes()
}
