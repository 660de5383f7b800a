//! Who holds what of the disk.
//!
//! Nothing is counted twice and nothing is left out: what holders have for themselves, what several share,
//! content that nobody holds, the store's own areas and what is no part of it add up to what `du` says of the
//! root. What pruning would free comes from the very plan that pruning carries out.
//!
//! Holders are images, containers and other writable layers, and volumes. What one holds *alone* comes back
//! when it goes and nothing else does; what it *shares* stays as long as another of its holders does.
//!
//! Everything is looked at and nothing is read. Sizes that are kept, or that a file system counts, are not asked: this is
//! the look that they can be compared with. It can be had beside a daemon.

mod contents;
mod kept;
mod usage;

pub use usage::{ContainerUse, DiskUsage, Held, ImageUse, ObjectUse, VolumeUse, WritableUse};

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use lapstrake_oci::DiffId;
use lapstrake_store::{FileUse, Inventory, Object, freed};

use crate::Engine;
use crate::error::Result;
use crate::prune::{Prune, Which};

impl Engine {
    /// Says who holds what of the disk, and what pruning would free.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn disk_usage(&self, now: SystemTime) -> Result<DiskUsage> {
        let collection = self.store.collect();
        let inventory = collection.inventory(now)?;
        let mounts = self.run.roots()?;
        let mounted: BTreeSet<DiffId> = (mounts.iter())
            .flat_map(|root| root.layers.iter().cloned())
            .collect();
        let holdings = self.store.holdings()?;
        let plan = |inventory: &Inventory, which| {
            let names = Prune::all_of(which).names(inventory);
            // What an owner beside this removed since the inventory was taken frees nothing.
            let measure =
                |object: &Object| Ok(holdings.objects.get(object).cloned().unwrap_or_default());
            lapstrake_store::plan(inventory, &names, &mounted, measure)
        };
        let unfinished = collection.unfinished()?;
        let prunable_unfinished = freed(unfinished.iter().flat_map(|left| &left.files));
        let dangling = plan(&inventory, Which::Dangling)?;
        let prunable = dangling.and_unfinished(unfinished.clone()).bytes;
        let unused = plan(&inventory.clone().without_strays(), Which::Unused)?;
        let quarantined = collection.quarantined()?;
        let damaged = quarantined.iter().flat_map(|damaged| &damaged.files);
        let prunable_quarantine = freed(damaged);
        let unused = unused.and(quarantined).and_unfinished(unfinished);
        let prunable_all = unused.bytes;

        let mut once = Once::default();
        let objects: BTreeMap<_, _> = (holdings.objects.iter())
            .map(|(object, files)| (object, once.held(files)))
            .collect();
        let areas = (holdings.areas.iter()).map(|(area, files)| (*area, once.held(files)));
        let areas = areas.collect();
        let unknown =
            (holdings.unknown.iter()).map(|(path, files)| (path.clone(), once.held(files)));
        let unknown = unknown.collect();
        let tars = self.layer_lens()?;
        let contents = contents::Contents::of(&inventory, &objects, &tars);
        let mut usage = DiskUsage {
            shared: contents.shared(),
            loose: contents.loose(),
            images: contents.images(&mounted),
            containers: Vec::new(),
            writables: Vec::new(),
            volumes: Vec::new(),
            mounts,
            areas,
            unknown,
            total: Held::default(),
            prunable,
            prunable_all,
            prunable_quarantine,
            prunable_unfinished,
        };
        self.kept(&contents, &mut usage)?;
        self.look_again(&mut usage.unknown)?;
        usage.add_up();
        Ok(usage)
    }
}

/// How long what an owner beside this begins or removes may be seen without being known.
const MOMENT: Duration = Duration::from_millis(250);

impl Engine {
    /// Leaves out what was only coming or going.
    fn look_again(&self, unknown: &mut BTreeMap<PathBuf, Held>) -> Result<()> {
        if unknown.is_empty() {
            return Ok(());
        }
        std::thread::sleep(MOMENT);
        let again = self.store.holdings()?.unknown.into_keys();
        let strangers = self.strangers()?.into_iter().map(|(path, _)| path);
        let again: BTreeSet<_> = again.chain(strangers).collect();
        unknown.retain(|path, _| again.contains(path));
        Ok(())
    }
}

/// What lies below a path, itself included; nothing if it is not there.
pub(crate) fn below(path: &Path) -> Result<Held> {
    let mut files = Vec::new();
    lapstrake_store::measure(path, &mut files)?;
    Ok(Once::default().held(&files))
}

/// Files that were counted: one with several names counts where it is met first.
#[derive(Default)]
struct Once(HashSet<(u64, u64)>);

impl Once {
    fn held(&mut self, files: &[FileUse]) -> Held {
        let mut held = Held::default();
        for file in files {
            if file.links == 1 || self.0.insert(file.inode) {
                held.bytes += file.bytes;
                held.inodes += 1;
            }
        }
        held
    }
}
