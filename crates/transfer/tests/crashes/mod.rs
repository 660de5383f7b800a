//! A workload, run once; every cut of it, with several losses; and what must hold after each.

mod after;
mod history;
mod run;

use std::path::Path;
use std::sync::Arc;

use lapstrake_oci::Platform;
use lapstrake_registry_client::{Client, Options};
use lapstrake_store::{Disk, HostId, Place, RealDisk, Store};
use lapstrake_testkit::disk::{Bytes, Commits, CrashDisk, Loss, Names, is_full, scratch, survey};
use lapstrake_testkit::registry::{Access, Added, Layer, Registry};
use lapstrake_testkit::tar;
use lapstrake_transfer::{Error, Limits, PullOptions, Pulled, pull};

use after::After;
pub(crate) use history::Known;
use run::Run;

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

fn open_on(
    disk: Arc<dyn Disk>,
    base: &Path,
    boot_id: &str,
) -> Result<Store, lapstrake_store::Error> {
    let place = Place {
        root: &base.join("store"),
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

    /// Runs the workload, and looks at what every cut leaves.
    pub(crate) fn survives(&self, words: &str, workload: impl FnOnce(&mut Run<'_>)) {
        let base = scratch();
        let disk = Arc::new(CrashDisk::over(base.path()));
        let store = open_on(Arc::clone(&disk) as _, base.path(), "one").unwrap();
        let mut run = Run::new(self, store, Arc::clone(&disk));
        workload(&mut run);
        let history = run.history();
        let cuts = disk.cuts();
        let states = survey(&cuts, |step, left| {
            After::new(self, &history, step).look(&open(left, "two"));
        });
        eprintln!("{words}: {} cuts, {states} states", cuts.len());
    }

    /// Runs the workload, and cuts what each of a few cuts is recovered by: layers full of zeros, among
    /// others, are found, moved aside and pulled again.
    pub(crate) fn survives_twice(&self, words: &str, workload: impl FnOnce(&mut Run<'_>)) {
        let base = scratch();
        let disk = Arc::new(CrashDisk::over(base.path()));
        let store = open_on(Arc::clone(&disk) as _, base.path(), "one").unwrap();
        let mut run = Run::new(self, store, Arc::clone(&disk));
        workload(&mut run);
        let history = run.history();
        let cuts = disk.cuts();
        let mut states = 0;
        let parts = if is_full() { 9 } else { 3 };
        for part in 0..parts {
            let step = (2 * part + 1) * cuts.len() / (2 * parts);
            let zeros = Loss {
                names: Names::Changed,
                bytes: Bytes::Zeros,
                commits: Commits::Kept,
                seed: 0,
            };
            for loss in [zeros, Loss::random(u64::try_from(step).unwrap())] {
                let left = scratch();
                cuts[step].write_to(left.path(), &loss);
                let again = Arc::new(CrashDisk::over(left.path()));
                let store = open_on(Arc::clone(&again) as _, left.path(), "two").unwrap();
                After::new(self, &history, step).recover(&Arc::new(store));
                states += survey(&again.cuts(), |_step, left| {
                    let after = After::new(self, &history, step).and_recovering();
                    after.look(&open(left, "three"));
                });
            }
        }
        eprintln!("{words}: {parts} cuts, and all cuts of what came then, {states} states");
    }
}

fn open(base: &Path, boot_id: &str) -> Arc<Store> {
    let store = open_on(Arc::new(RealDisk), base, boot_id);
    Arc::new(store.unwrap_or_else(|error| panic!("the store does not open: {error}")))
}
