//! The plan of a collection: a pure function from facts to victims.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use lapstrake_oci::DiffId;

use super::Inventory;
use crate::error::Result;
use crate::object::Object;
use crate::state::{ImageRecord, Parent};
use crate::usage::{FileUse, freed};

/// What is to be removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Names.
    pub names: Vec<ImageRecord>,
    /// Objects that nothing keeps alive without those names.
    pub victims: Vec<Victim>,
    /// Damaged objects that were kept for a look.
    pub quarantined: Vec<Quarantined>,
    /// Layers that pulls left unfinished.
    pub unfinished: Vec<Leftover>,
    /// Bytes that this frees.
    pub bytes: u64,
}

/// A layer that a pull left unfinished, to be gone on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Where it is.
    pub path: PathBuf,
    /// Its files.
    pub files: Vec<FileUse>,
}

/// A damaged object that was kept for a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Where it is.
    pub path: PathBuf,
    /// Its files.
    pub files: Vec<FileUse>,
}

impl Plan {
    /// The same plan, and these go too.
    #[must_use]
    pub fn and(mut self, quarantined: Vec<Quarantined>) -> Self {
        self.quarantined = quarantined;
        self.counted()
    }

    /// The same plan, and these go too, unless somebody goes on with them meanwhile.
    #[must_use]
    pub fn and_unfinished(mut self, unfinished: Vec<Leftover>) -> Self {
        self.unfinished = unfinished;
        self.counted()
    }

    fn counted(mut self) -> Self {
        let victims = self.victims.iter().flat_map(|victim| &victim.files);
        let damaged = self.quarantined.iter().flat_map(|damaged| &damaged.files);
        let unfinished = self.unfinished.iter().flat_map(|left| &left.files);
        self.bytes = freed(victims.chain(damaged).chain(unfinished));
        self
    }
}

/// An object to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Victim {
    /// Which.
    pub object: Object,
    /// Its files, with its index.
    pub files: Vec<FileUse>,
}

/// Plans the removal of `names` and of everything that nothing keeps alive then. `mounted` layers
/// stay; `measure` says which files an object has, and is asked for victims only.
///
/// # Errors
/// What `measure` says.
pub fn plan(
    inventory: &Inventory,
    names: &[ImageRecord],
    mounted: &BTreeSet<DiffId>,
    mut measure: impl FnMut(&Object) -> Result<Vec<FileUse>>,
) -> Result<Plan> {
    let alive = mark(inventory, names, mounted);
    let mut victims = Vec::new();
    for object in known(inventory) {
        if !alive.contains(&object) {
            let files = measure(&object)?;
            victims.push(Victim { object, files });
        }
    }
    Ok(Plan {
        names: names.to_vec(),
        bytes: freed(victims.iter().flat_map(|victim| &victim.files)),
        victims,
        quarantined: Vec::new(),
        unfinished: Vec::new(),
    })
}

/// Everything that a root leads to.
fn mark(
    inventory: &Inventory,
    without: &[ImageRecord],
    mounted: &BTreeSet<DiffId>,
) -> BTreeSet<Object> {
    let mut children: BTreeMap<&Parent, Vec<&Object>> = BTreeMap::new();
    for (parent, child) in &inventory.edges {
        children.entry(parent).or_default().push(child);
    }
    let without: BTreeSet<_> = without.iter().map(|image| &image.reference).collect();
    let names = inventory.names.iter();
    let named = names.filter(|name| !without.contains(&name.image.reference));
    let mut found: Vec<Object> = named
        .flat_map(|name| [&name.target, &name.image.manifest, &name.image.config])
        .map(|digest| Object::Blob(digest.clone()))
        .collect();
    let held = children.iter().filter_map(|(parent, held)| match parent {
        Parent::Writable(_) => Some(held),
        Parent::Object(_) => None,
    });
    found.extend(held.flatten().map(|object| (*object).clone()));
    found.extend(inventory.leased.iter().cloned());
    found.extend(mounted.iter().cloned().map(Object::Layer));
    let mut alive = BTreeSet::new();
    while let Some(object) = found.pop() {
        if alive.insert(object.clone())
            && let Some(next) = children.get(&Parent::Object(object))
        {
            found.extend(next.iter().map(|child| (*child).clone()));
        }
    }
    alive
}

/// Every object that is on disk or has a record. A child of an edge alone is neither.
fn known(inventory: &Inventory) -> BTreeSet<Object> {
    let parents = inventory
        .edges
        .iter()
        .filter_map(|(parent, _)| match parent {
            Parent::Object(object) => Some(object.clone()),
            Parent::Writable(_) => None,
        });
    let layers = inventory.layers.iter().cloned().map(Object::Layer);
    let on_disk = inventory.on_disk.iter().cloned();
    on_disk.chain(layers).chain(parents).collect()
}

#[cfg(test)]
mod tests {
    use lapstrake_oci::{Algorithm, Digest};

    use super::super::Name;
    use super::*;

    fn digest(text: &str) -> Digest {
        Algorithm::Sha256.digest(text.as_bytes())
    }

    fn blob(text: &str) -> Object {
        Object::Blob(digest(text))
    }

    fn layer(text: &str) -> Object {
        Object::Layer(DiffId(digest(text)))
    }

    fn image(name: &str, manifest: &str) -> ImageRecord {
        ImageRecord {
            reference: name.to_owned(),
            manifest: digest(manifest),
            config: digest(&format!("config of {manifest}")),
        }
    }

    /// Two images share the layer `base`; the second came by an index and has another name.
    fn inventory() -> Inventory {
        let mut inventory = Inventory::default();
        for (name, manifest, target) in [
            ("one:1", "m1", "m1"),
            ("two:1", "m2", "index"),
            ("two:2", "m2", "index"),
        ] {
            inventory.names.push(Name {
                image: image(name, manifest),
                target: digest(target),
            });
        }
        let object = |text| Parent::Object(blob(text));
        inventory.edges = vec![
            (object("index"), blob("m2")),
            (object("m1"), blob("config of m1")),
            (object("m1"), layer("base")),
            (object("m1"), layer("top1")),
            (object("m2"), blob("config of m2")),
            (object("m2"), layer("base")),
            (object("m2"), layer("top2")),
        ];
        for text in ["index", "m1", "m2", "config of m1", "config of m2"] {
            inventory.on_disk.insert(blob(text));
        }
        for text in ["base", "top1", "top2"] {
            inventory.on_disk.insert(layer(text));
        }
        inventory
    }

    /// Removes these names; the victims must be these.
    fn check(inventory: &Inventory, names: &[(&str, &str)], mounted: &[&str], want: &[Object]) {
        let names: Vec<_> = names.iter().map(|(name, of)| image(name, of)).collect();
        let mounted = mounted.iter().map(|text| DiffId(digest(text))).collect();
        let each = FileUse {
            inode: (0, 0),
            links: 1,
            bytes: 10,
        };
        let mut inode = 0;
        let plan = plan(inventory, &names, &mounted, |_object| {
            inode += 1;
            Ok(vec![FileUse {
                inode: (0, inode),
                ..each
            }])
        })
        .unwrap();
        let got: BTreeSet<_> = plan.victims.iter().map(|victim| &victim.object).collect();
        assert_eq!(got, want.iter().collect());
        assert_eq!(plan.bytes, 10 * want.len() as u64);
        assert_eq!(plan.names, names);
    }

    #[test]
    fn what_names_lead_to_stays() {
        check(&inventory(), &[], &[], &[]);
    }

    #[test]
    fn an_image_goes_with_its_last_name_but_for_what_others_share() {
        let inventory = inventory();
        let first = [blob("m1"), blob("config of m1"), layer("top1")];
        check(&inventory, &[("one:1", "m1")], &[], &first);
        check(&inventory, &[("two:1", "m2")], &[], &[]);
        let second = [
            blob("index"),
            blob("m2"),
            blob("config of m2"),
            layer("top2"),
        ];
        check(
            &inventory,
            &[("two:1", "m2"), ("two:2", "m2")],
            &[],
            &second,
        );
    }

    #[test]
    fn mounts_leases_and_writable_layers_keep_what_they_use() {
        let mut inventory = inventory();
        let remove = [("one:1", "m1")];
        let documents = [blob("m1"), blob("config of m1")];
        check(&inventory, &remove, &["top1"], &documents);
        inventory.leased.insert(layer("top1"));
        check(&inventory, &remove, &[], &documents);
        let writable = Parent::Writable("w".to_owned());
        inventory.edges.push((writable, blob("m1")));
        check(&inventory, &remove, &[], &[]);
    }

    #[test]
    fn content_without_a_record_and_records_without_content_go() {
        let mut inventory = inventory();
        inventory.on_disk.insert(layer("orphan"));
        inventory.layers.push(DiffId(digest("gone")));
        check(&inventory, &[], &[], &[layer("orphan"), layer("gone")]);
    }
}
