//! What images and writable layers hold of the content.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use lapstrake_oci::{DiffId, Digest};
use lapstrake_store::{Inventory, Object, Parent};

use super::{Held, ImageUse, ObjectUse};
use crate::names::{familiar, is_tagged};

/// Content, and who holds it.
pub(super) struct Contents<'a> {
    inventory: &'a Inventory,
    objects: &'a BTreeMap<&'a Object, Held>,
    tars: &'a HashMap<DiffId, u64>,
    /// What images have, by manifest.
    images: BTreeMap<&'a Digest, BTreeSet<Object>>,
    /// What writable layers lie on, by name.
    writables: BTreeMap<&'a str, BTreeSet<Object>>,
    /// How many images and writable layers have it.
    holders: BTreeMap<Object, Holders>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Holders {
    images: usize,
    writables: usize,
}

impl Holders {
    fn is_one(self) -> bool {
        self.images + self.writables == 1
    }
}

impl<'a> Contents<'a> {
    pub(super) fn of(
        inventory: &'a Inventory,
        objects: &'a BTreeMap<&'a Object, Held>,
        tars: &'a HashMap<DiffId, u64>,
    ) -> Self {
        let mut children: BTreeMap<&Object, Vec<&Object>> = BTreeMap::new();
        for (parent, child) in &inventory.edges {
            if let Parent::Object(parent) = parent {
                children.entry(parent).or_default().push(child);
            }
        }
        let below = |object: &Object| {
            let below = children.get(object).into_iter().flatten();
            below.map(|child| (*child).clone()).collect::<Vec<_>>()
        };
        let mut images: BTreeMap<&Digest, BTreeSet<Object>> = BTreeMap::new();
        for name in &inventory.names {
            let manifest = Object::Blob(name.image.manifest.clone());
            let all = images.entry(&name.image.manifest).or_default();
            all.extend(below(&manifest));
            all.extend([manifest, Object::Blob(name.target.clone())]);
        }
        let mut writables: BTreeMap<&str, BTreeSet<Object>> = BTreeMap::new();
        for (parent, child) in &inventory.edges {
            if let Parent::Writable(name) = parent {
                let all = writables.entry(name).or_default();
                all.extend(below(child));
                all.insert(child.clone());
            }
        }
        let mut holders: BTreeMap<Object, Holders> = BTreeMap::new();
        for object in images.values().flatten() {
            holders.entry(object.clone()).or_default().images += 1;
        }
        for object in writables.values().flatten() {
            holders.entry(object.clone()).or_default().writables += 1;
        }
        Self {
            inventory,
            objects,
            tars,
            images,
            writables,
            holders,
        }
    }

    /// What several have, once.
    pub(super) fn shared(&self) -> Held {
        let several = self.holders.iter().filter(|(_, holders)| !holders.is_one());
        Held::sum(several.filter_map(|(object, _)| self.objects.get(object).copied()))
    }

    /// What nobody has.
    pub(super) fn loose(&self) -> Vec<ObjectUse> {
        let objects = self.objects.keys();
        let loose = objects.filter(|object| !self.holders.contains_key(**object));
        self.largest_first(loose.copied())
    }

    /// What a writable layer has alone, and what it shares.
    pub(super) fn under(&self, writable: &str) -> (Held, Held) {
        self.split(&self.largest_first(self.writables.get(writable).into_iter().flatten()))
    }

    pub(super) fn images(&self, mounted: &BTreeSet<DiffId>) -> Vec<ImageUse> {
        let mut names: BTreeMap<&Digest, Vec<_>> = BTreeMap::new();
        for name in &self.inventory.names {
            let of = names.entry(&name.image.manifest).or_default();
            of.push(&name.image);
        }
        let mut writables: BTreeMap<&Digest, Vec<String>> = BTreeMap::new();
        for (parent, child) in &self.inventory.edges {
            if let (Parent::Writable(name), Object::Blob(manifest)) = (parent, child) {
                writables.entry(manifest).or_default().push(name.clone());
            }
        }
        let image = |(manifest, names): (&Digest, Vec<&lapstrake_store::ImageRecord>)| {
            let objects = self.largest_first(self.images.get(manifest).into_iter().flatten());
            let (alone, shared) = self.split(&objects);
            let mut layers = objects.iter().filter_map(|one| match &one.object {
                Object::Layer(id) => Some(id),
                Object::Blob(_) => None,
            });
            let mut under = writables.remove(manifest).unwrap_or_default();
            under.sort();
            ImageUse {
                mounted: !mounted.is_empty() && layers.all(|id| mounted.contains(id)),
                tagged: names.iter().any(|image| is_tagged(image)),
                id: names[0].config.clone(),
                names: (names.iter())
                    .map(|image| familiar(&image.reference))
                    .collect(),
                manifest: manifest.clone(),
                alone,
                shared,
                objects,
                writables: under,
            }
        };
        let mut all: Vec<_> = names.into_iter().map(image).collect();
        let order = |image: &ImageUse| {
            let bytes = image.alone.bytes + image.shared.bytes;
            (std::cmp::Reverse(bytes), image.names.clone())
        };
        all.sort_by_cached_key(order);
        all
    }

    fn split(&self, objects: &[ObjectUse]) -> (Held, Held) {
        let (one, several): (Vec<_>, Vec<_>) =
            (objects.iter()).partition(|object| object.images + object.writables == 1);
        let sum = |all: Vec<&ObjectUse>| Held::sum(all.into_iter().map(|object| object.held));
        (sum(one), sum(several))
    }

    fn largest_first<'b>(&self, objects: impl Iterator<Item = &'b Object>) -> Vec<ObjectUse> {
        let mut objects: Vec<_> = objects.filter_map(|object| self.object(object)).collect();
        objects.sort_by_key(|object| std::cmp::Reverse(object.held.bytes));
        objects
    }

    /// Nothing, if it is not on disk.
    fn object(&self, object: &Object) -> Option<ObjectUse> {
        let holders = self.holders.get(object).copied().unwrap_or_default();
        Some(ObjectUse {
            held: *self.objects.get(object)?,
            tar: match object {
                Object::Layer(id) => self.tars.get(id).copied(),
                Object::Blob(_) => None,
            },
            images: holders.images,
            writables: holders.writables,
            object: object.clone(),
        })
    }
}
