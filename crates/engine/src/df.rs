//! Who holds what of the disk.
//!
//! Nothing is counted twice and nothing is left out: what holders have for themselves, what several share,
//! content that nobody holds, the store's own areas and what is no part of it add up to what `du` says of the
//! root. What pruning would free comes from the very plan that pruning carries out.
//!
//! Holders are images, containers and other writable layers, and volumes. What one holds *alone* comes back
//! when it goes and nothing else does; what it *shares* stays as long as another of its holders does.
//!
//! Content is looked at and not read. Only what no file system counts is walked: writable layers and volumes that
//! are plain directories, and what drivers unpacked. Sizes that are kept elsewhere are not asked: this is the look
//! that they can be compared with. It can be had beside a daemon.

mod contents;
mod kept;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lapstrake_oci::{DiffId, Digest};
use lapstrake_snapshot::LiveRoot;
use lapstrake_store::{Area, FileUse, Inventory, Object, freed};

use crate::Engine;
use crate::containers::Phase;
use crate::error::Result;
use crate::prune::{Prune, Which};

/// Bytes and inodes on the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Bytes allocated.
    pub bytes: u64,
    /// Files and directories.
    pub inodes: u64,
}

/// A blob or a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectUse {
    /// Which.
    pub object: Object,
    /// What it takes: a layer with its index.
    pub held: Held,
    /// Of a layer, bytes of its tar: what clients are told of its size.
    pub tar: Option<u64>,
    /// How many images have it.
    pub images: usize,
    /// How many writable layers, those of containers too, lie on it.
    pub writables: usize,
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUse {
    /// Its names.
    pub names: Vec<String>,
    /// Whether it has a name with a tag.
    pub tagged: bool,
    /// Its id.
    pub id: Digest,
    /// Its manifest.
    pub manifest: Digest,
    /// What it alone holds.
    pub alone: Held,
    /// What others hold too.
    pub shared: Held,
    /// All that it has, the largest first.
    pub objects: Vec<ObjectUse>,
    /// The writable layers on it, of containers too.
    pub writables: Vec<String>,
    /// Whether all its layers are mounted.
    pub mounted: bool,
}

/// A writable layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WritableUse {
    /// Its name; a container's is that of the container's id.
    pub name: String,
    /// Its image, as it was called then.
    pub image: String,
    /// Whether a root is mounted on it.
    pub mounted: bool,
    /// What it takes of the disk; nothing if its room is gone.
    pub held: Held,
    /// What it alone holds of its image: something only when the image has no name any more.
    pub content: Held,
    /// What it shares of its image.
    pub shared: Held,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerUse {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its image, as it was named when the container was made.
    pub image: String,
    /// The image's id.
    pub image_id: String,
    /// What it does.
    pub phase: Phase,
    /// Its writable layer, if it has one.
    pub layer: Option<WritableUse>,
    /// Its log.
    pub logs: Held,
    /// What else is kept of it: `/etc/hosts` and the like, its last exit.
    pub files: Held,
    /// Bytes that it wrote, as clients are told; not known of one that runs.
    pub written: Option<u64>,
    /// The volumes that it uses.
    pub volumes: Vec<String>,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeUse {
    /// Its name.
    pub name: String,
    /// Whether the client gave it no name.
    pub anonymous: bool,
    /// What it takes of the disk: nothing, if its options name a file system.
    pub held: Held,
    /// The containers that use it, by name.
    pub containers: Vec<String>,
}

/// Everything below a store's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskUsage {
    /// Images, the largest first.
    pub images: Vec<ImageUse>,
    /// What several holders have of images, once.
    pub shared: Held,
    /// Content that nobody holds, the largest first.
    pub loose: Vec<ObjectUse>,
    /// Containers, by name.
    pub containers: Vec<ContainerUse>,
    /// Writable layers that are no container's, by name.
    pub writables: Vec<WritableUse>,
    /// Volumes, by name.
    pub volumes: Vec<VolumeUse>,
    /// Roots that are mounted.
    pub mounts: Vec<LiveRoot>,
    /// The store's own.
    pub areas: BTreeMap<Area, Held>,
    /// What nothing here explains, by its path below the root.
    pub unknown: BTreeMap<PathBuf, Held>,
    /// All of it.
    pub total: Held,
    /// Bytes that `prune` would free.
    pub prunable: u64,
    /// Bytes that `prune --all` would free: damaged content included that was kept for a look.
    pub prunable_all: u64,
    /// What of that is damaged content.
    pub prunable_quarantine: u64,
    /// What of both are layers that pulls left unfinished.
    pub prunable_unfinished: u64,
}

impl Held {
    /// The sum of all these.
    pub fn sum(all: impl IntoIterator<Item = Self>) -> Self {
        let mut sum = Self::default();
        for held in all {
            sum.add(held);
        }
        sum
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.inodes += other.inodes;
    }
}

impl ImageUse {
    /// Whether it is mounted, or a writable layer lies on it.
    pub fn is_active(&self) -> bool {
        self.mounted || !self.writables.is_empty()
    }
}

impl WritableUse {
    /// What comes back when it goes.
    pub fn alone(&self) -> Held {
        Held::sum([self.held, self.content])
    }
}

impl ContainerUse {
    /// What comes back when it goes; its volumes stay.
    pub fn alone(&self) -> Held {
        let layer = self.layer.as_ref().map(WritableUse::alone);
        Held::sum([layer.unwrap_or_default(), self.logs, self.files])
    }

    /// What it shares of its image.
    pub fn shared(&self) -> Held {
        self.layer
            .as_ref()
            .map_or_else(Held::default, |layer| layer.shared)
    }
}

impl DiskUsage {
    /// What images take, and content that nobody holds.
    pub fn content(&self) -> Held {
        let alone = Held::sum(self.images.iter().map(|image| image.alone));
        let loose = Held::sum(self.loose.iter().map(|object| object.held));
        Held::sum([self.shared, alone, loose])
    }

    /// What containers take.
    pub fn contained(&self) -> Held {
        Held::sum(self.containers.iter().map(ContainerUse::alone))
    }

    /// What writable layers take that are no container's.
    pub fn written(&self) -> Held {
        Held::sum(self.writables.iter().map(WritableUse::alone))
    }

    /// What volumes take.
    pub fn in_volumes(&self) -> Held {
        Held::sum(self.volumes.iter().map(|volume| volume.held))
    }

    /// What nothing here explains.
    pub fn unexplained(&self) -> Held {
        Held::sum(self.unknown.values().copied())
    }

    fn add_up(&mut self) {
        let areas = Held::sum(self.areas.values().copied());
        let holders = [self.content(), self.contained(), self.written()];
        let others = [self.in_volumes(), areas, self.unexplained()];
        self.total = Held::sum(holders.into_iter().chain(others));
    }
}

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
        usage.add_up();
        Ok(usage)
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
