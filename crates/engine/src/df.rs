//! Who holds what of the disk.
//!
//! Nothing is counted twice and nothing is left out: what images have for themselves, what several share,
//! content that no image has, writable layers and the store's own areas add up to what `du` says of the
//! root. What pruning would free comes from the very plan that pruning carries out.
//!
//! Content is looked at and not read. Only what no file system counts is walked: writable layers that are
//! plain directories, and what drivers unpacked.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::time::SystemTime;

use lapstrake_oci::{DiffId, Digest};
use lapstrake_snapshot::LiveRoot;
use lapstrake_snapshot::room;
use lapstrake_store::{Area, FileUse, Inventory, Object, Parent, freed};

use crate::Engine;
use crate::error::Result;
use crate::names::{familiar, is_tagged};
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
    /// How many images have it.
    pub images: usize,
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
    /// What it alone has.
    pub unique: Held,
    /// What other images have too.
    pub shared: Held,
    /// All that it has, the largest first.
    pub objects: Vec<ObjectUse>,
    /// The writable layers on it.
    pub writables: Vec<String>,
    /// Whether all its layers are mounted.
    pub mounted: bool,
}

/// A writable layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WritableUse {
    /// Its name.
    pub name: String,
    /// Its image, as it was called then.
    pub image: String,
    /// Whether a root is mounted on it.
    pub mounted: bool,
    /// What it takes of the disk; nothing if its room is gone.
    pub held: Held,
}

/// Everything below a store's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskUsage {
    /// Images, the largest first.
    pub images: Vec<ImageUse>,
    /// What several images have, once.
    pub shared: Held,
    /// Content that no image has, the largest first.
    pub loose: Vec<ObjectUse>,
    /// Writable layers, by name.
    pub writables: Vec<WritableUse>,
    /// Roots that are mounted.
    pub mounts: Vec<LiveRoot>,
    /// Everything else.
    pub areas: BTreeMap<Area, Held>,
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
    fn add(&mut self, other: Self) {
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

impl DiskUsage {
    /// What images and content that no image has take.
    pub fn content(&self) -> Held {
        let mut all = self.shared;
        for image in &self.images {
            all.add(image.unique);
        }
        for object in &self.loose {
            all.add(object.held);
        }
        all
    }

    /// Writable layers together.
    pub fn written(&self) -> Held {
        let mut all = Held::default();
        for layer in &self.writables {
            all.add(layer.held);
        }
        all
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
        let areas: BTreeMap<_, _> = (holdings.areas.iter())
            .map(|(area, files)| (*area, once.held(files)))
            .collect();
        let images = Images::of(&inventory, &objects, &mounted);
        let mut usage = DiskUsage {
            shared: images.shared(),
            loose: images.loose(),
            images: images.all(),
            writables: self.writable_uses()?,
            mounts,
            areas,
            total: Held::default(),
            prunable,
            prunable_all,
            prunable_quarantine,
            prunable_unfinished,
        };
        usage.total = usage.content();
        usage.total.add(usage.written());
        for held in usage.areas.values() {
            usage.total.add(*held);
        }
        Ok(usage)
    }

    fn writable_uses(&self) -> Result<Vec<WritableUse>> {
        let mut uses = Vec::new();
        // The database is let go before rooms are looked at.
        let records = self.store.state().writables()?;
        for record in records {
            let held = match self.rooms()?.footprint(&record.name.parse()?) {
                Ok(usage) => Held {
                    bytes: usage.bytes,
                    inodes: usage.inodes.unwrap_or_default(),
                },
                Err(room::Error::Missing(_)) => Held::default(),
                Err(error) => return Err(error.into()),
            };
            uses.push(WritableUse {
                mounted: self.is_mounted(&record.name)?,
                image: familiar(&record.image.reference),
                name: record.name,
                held,
            });
        }
        Ok(uses)
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

/// Images and what they have.
struct Images<'a> {
    inventory: &'a Inventory,
    objects: &'a BTreeMap<&'a Object, Held>,
    mounted: &'a BTreeSet<DiffId>,
    /// By manifest.
    has: BTreeMap<&'a Digest, BTreeSet<Object>>,
    /// How many images have it.
    images: BTreeMap<Object, usize>,
}

impl<'a> Images<'a> {
    fn of(
        inventory: &'a Inventory,
        objects: &'a BTreeMap<&'a Object, Held>,
        mounted: &'a BTreeSet<DiffId>,
    ) -> Self {
        let mut children: BTreeMap<&Object, Vec<&Object>> = BTreeMap::new();
        for (parent, child) in &inventory.edges {
            if let Parent::Object(parent) = parent {
                children.entry(parent).or_default().push(child);
            }
        }
        let mut has: BTreeMap<&Digest, BTreeSet<Object>> = BTreeMap::new();
        for name in &inventory.names {
            let manifest = Object::Blob(name.image.manifest.clone());
            let all = has.entry(&name.image.manifest).or_default();
            all.extend(
                children
                    .get(&manifest)
                    .into_iter()
                    .flatten()
                    .copied()
                    .cloned(),
            );
            all.extend([manifest, Object::Blob(name.target.clone())]);
        }
        let mut images: BTreeMap<Object, usize> = BTreeMap::new();
        for object in has.values().flatten() {
            *images.entry(object.clone()).or_default() += 1;
        }
        Self {
            inventory,
            objects,
            mounted,
            has,
            images,
        }
    }

    fn object(&self, object: &Object) -> Option<ObjectUse> {
        Some(ObjectUse {
            held: *self.objects.get(object)?,
            images: self.images.get(object).copied().unwrap_or_default(),
            object: object.clone(),
        })
    }

    fn shared(&self) -> Held {
        let mut held = Held::default();
        let several = self.images.iter().filter(|(_, images)| **images > 1);
        for (object, _) in several {
            held.add(self.objects.get(object).copied().unwrap_or_default());
        }
        held
    }

    fn loose(&self) -> Vec<ObjectUse> {
        let loose = self
            .objects
            .keys()
            .filter(|object| !self.images.contains_key(**object));
        largest_first(loose.filter_map(|object| self.object(object)).collect())
    }

    fn all(&self) -> Vec<ImageUse> {
        let mut names: BTreeMap<&Digest, Vec<_>> = BTreeMap::new();
        for name in &self.inventory.names {
            names
                .entry(&name.image.manifest)
                .or_default()
                .push(&name.image);
        }
        let mut writables: BTreeMap<&Digest, Vec<String>> = BTreeMap::new();
        for (parent, child) in &self.inventory.edges {
            if let (Parent::Writable(name), Object::Blob(manifest)) = (parent, child) {
                writables.entry(manifest).or_default().push(name.clone());
            }
        }
        let mut all: Vec<_> = (names.into_iter())
            .map(|(manifest, names)| {
                let objects = self.has.get(manifest).into_iter().flatten();
                let objects = largest_first(objects.filter_map(|one| self.object(one)).collect());
                let (mut unique, mut shared) = (Held::default(), Held::default());
                for object in &objects {
                    let part = if object.images > 1 {
                        &mut shared
                    } else {
                        &mut unique
                    };
                    part.add(object.held);
                }
                let mut layers = objects.iter().filter_map(|one| match &one.object {
                    Object::Layer(id) => Some(id),
                    Object::Blob(_) => None,
                });
                ImageUse {
                    mounted: !self.mounted.is_empty() && layers.all(|id| self.mounted.contains(id)),
                    tagged: names.iter().any(|image| is_tagged(image)),
                    id: names[0].config.clone(),
                    names: names
                        .iter()
                        .map(|image| familiar(&image.reference))
                        .collect(),
                    manifest: manifest.clone(),
                    unique,
                    shared,
                    objects,
                    writables: writables.remove(manifest).unwrap_or_default(),
                }
            })
            .collect();
        all.sort_by_key(|image| std::cmp::Reverse(image.unique.bytes + image.shared.bytes));
        all
    }
}

fn largest_first(mut objects: Vec<ObjectUse>) -> Vec<ObjectUse> {
    objects.sort_by_key(|object| std::cmp::Reverse(object.held.bytes));
    objects
}
