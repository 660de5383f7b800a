//! Pruning: images that nobody needs, and whatever nothing keeps alive.
//!
//! Docker's semantics, as its engine has them and not its manual: several `label` filters must all
//! match; an image is exempt by `label!` only if it has all that are named; `until` is compared with the
//! time when the image was built, and one that does not say so is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::SystemTime;

use lapstrake_oci::Digest;
use lapstrake_store::{ImageRecord, Inventory, Object, Parent};

use crate::Engine;
use crate::error::{Error, Result};
use crate::names::is_tagged;
use crate::remove::Removed;

/// Which images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those without a tag.
    Dangling,
    /// Those on which no writable layer lies. With them goes what was kept for a look: damaged content,
    /// and content that a lost state database knew.
    Unused,
}

/// A label to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Its key.
    pub key: String,
    /// Its value; with none, any.
    pub value: Option<String>,
}

/// What to prune.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prune {
    /// Which images.
    pub which: Which,
    /// Only images with all of these.
    pub labels: Vec<Label>,
    /// Only images that don't have all of these.
    pub not_labels: Vec<Label>,
    /// Only images that were built before.
    pub until: Option<SystemTime>,
}

/// Whether to do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Say what would be done.
    Nothing,
    /// Do it.
    It,
}

/// What a choice of images depends on.
#[derive(Debug, Clone)]
struct Candidate {
    names: Vec<ImageRecord>,
    labels: BTreeMap<String, String>,
    created: Option<SystemTime>,
    used: bool,
}

impl Engine {
    /// Removes images that nobody needs, and whatever else nothing keeps alive: layers of pulls that
    /// failed, finished or not, content that a crash left. The space is free when the trash was emptied.
    ///
    /// # Errors
    /// If the store can't be read or changed.
    pub fn prune(&self, prune: &Prune, doing: Doing, now: SystemTime) -> Result<Removed> {
        let collection = self.store.collect();
        let mut inventory = collection.inventory(now)?;
        if prune.which == Which::Unused {
            inventory = inventory.without_strays();
        }
        let names = choose(&self.candidates(&inventory, prune)?, prune);
        let mounted = self.run.in_use()?;
        let mut plan = collection.plan(&inventory, &names, &mounted)?;
        if prune.which == Which::Unused {
            plan = plan.and(collection.quarantined()?);
        }
        plan = plan.and_unfinished(collection.unfinished()?);
        if doing == Doing::Nothing {
            let objects: Vec<_> = plan
                .victims
                .iter()
                .map(|victim| victim.object.clone())
                .collect();
            let left = inventory.names.iter().map(|name| &name.image);
            let left = left.filter(|image| !plan.names.contains(image));
            let left = left.map(|image| &image.config);
            let removed = Removed::of(&plan.names, left, &objects, plan.bytes);
            return Ok(removed.with_layers(&self.going(&plan.names), &objects));
        }
        let going = self.going(&plan.names);
        let collected = collection.carry_out(&plan, now)?;
        if prune.which == Which::Unused && self.store.state().keeps_strays()? {
            self.store.state().keep_strays(false)?;
        }
        let removed = self.removed(&collected, &going)?;
        self.tell_pruned(removed.bytes);
        Ok(removed)
    }

    /// The images that a pruning chooses from.
    fn candidates(&self, inventory: &Inventory, prune: &Prune) -> Result<Vec<Candidate>> {
        let mut candidates = unread_candidates(inventory);
        for candidate in &mut candidates {
            if !prune.reads_configs() {
                break;
            }
            let facts = match self.facts_of(&candidate.names[0].config) {
                Ok(facts) => facts,
                // It can't be used, and nothing is known of it that would exempt it.
                Err(Error::Store(lapstrake_store::Error::Missing(_))) => continue,
                Err(error) => return Err(error),
            };
            candidate.labels.clone_from(&facts.labels);
            candidate.created = facts.created;
        }
        Ok(candidates)
    }
}

impl Prune {
    /// All of these, whatever their labels and age.
    pub const fn all_of(which: Which) -> Self {
        Self {
            which,
            labels: Vec::new(),
            not_labels: Vec::new(),
            until: None,
        }
    }

    fn reads_configs(&self) -> bool {
        !self.labels.is_empty() || !self.not_labels.is_empty() || self.until.is_some()
    }

    /// The names that would go, for one that asks for neither labels nor age.
    pub(crate) fn names(&self, inventory: &Inventory) -> Vec<ImageRecord> {
        choose(&unread_candidates(inventory), self)
    }
}

/// Images as far as they are known without their configs.
fn unread_candidates(inventory: &Inventory) -> Vec<Candidate> {
    let mut images: BTreeMap<&Digest, Vec<ImageRecord>> = BTreeMap::new();
    for name in &inventory.names {
        let image = &name.image;
        let names = images.entry(&image.manifest).or_default();
        names.push(image.clone());
    }
    let used: BTreeSet<_> = (inventory.edges.iter())
        .filter_map(|(parent, child)| match (parent, child) {
            (Parent::Writable(_), Object::Blob(manifest)) => Some(manifest),
            _ => None,
        })
        .collect();
    let candidate = |(manifest, names)| Candidate {
        names,
        labels: BTreeMap::new(),
        created: None,
        used: used.contains(manifest),
    };
    images.into_iter().map(candidate).collect()
}

/// The names that are to go.
fn choose(candidates: &[Candidate], prune: &Prune) -> Vec<ImageRecord> {
    let chosen = candidates.iter().filter(|image| {
        let old = prune
            .until
            .is_none_or(|until| image.created.is_some_and(|created| created < until));
        let tagged = image.names.iter().any(is_tagged);
        !image.used
            && (prune.which == Which::Unused || !tagged)
            && old
            && has_all(&image.labels, &prune.labels)
            && (prune.not_labels.is_empty() || !has_all(&image.labels, &prune.not_labels))
    });
    chosen.flat_map(|image| &image.names).cloned().collect()
}

pub(crate) fn has_all(labels: &BTreeMap<String, String>, wanted: &[Label]) -> bool {
    wanted.iter().all(|label| label.is_one_of(labels))
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            None => f.write_str(&self.key),
            Some(value) => write!(f, "{}={value}", self.key),
        }
    }
}

impl Label {
    /// Whether it is among these.
    pub fn is_one_of(&self, labels: &BTreeMap<String, String>) -> bool {
        match &self.value {
            None => labels.contains_key(&self.key),
            Some(value) => labels.get(&self.key) == Some(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use lapstrake_oci::Algorithm;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn candidate(name: &str, labels: &[(&str, &str)], created: Option<u64>) -> Candidate {
        let digest = Algorithm::Sha256.digest(name.as_bytes());
        let reference = match name.strip_suffix('@') {
            Some(repo) => format!("docker.io/library/{repo}@{digest}"),
            None => format!("docker.io/library/{name}"),
        };
        Candidate {
            names: vec![ImageRecord {
                reference,
                manifest: digest.clone(),
                config: digest,
            }],
            labels: (labels.iter())
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            created: created.map(at),
            used: false,
        }
    }

    fn candidates() -> Vec<Candidate> {
        let mut used = candidate("used:1", &[], Some(10));
        used.used = true;
        vec![
            candidate("old:1", &[("a", "1")], Some(10)),
            candidate("new:1", &[("a", "2"), ("b", "")], Some(100)),
            candidate("undated:1", &[], None),
            candidate("dangling@", &[("a", "1"), ("b", "")], Some(10)),
            used,
        ]
    }

    fn label(text: &str) -> Label {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (text, None),
        };
        Label {
            key: key.to_owned(),
            value,
        }
    }

    /// Which repositories go.
    fn check(which: Which, labels: &[&str], not: &[&str], until: Option<u64>, want: &[&str]) {
        let prune = Prune {
            which,
            labels: labels.iter().map(|text| label(text)).collect(),
            not_labels: not.iter().map(|text| label(text)).collect(),
            until: until.map(at),
        };
        let chosen = choose(&candidates(), &prune);
        let repo = |image: &ImageRecord| {
            let name = image.reference.strip_prefix("docker.io/library/").unwrap();
            name.split([':', '@']).next().unwrap().to_owned()
        };
        assert_eq!(chosen.iter().map(repo).collect::<Vec<_>>(), want);
    }

    #[test]
    fn only_what_has_no_tag_unless_all_are_meant_and_never_what_is_used() {
        check(Which::Dangling, &[], &[], None, &["dangling"]);
        let all = ["old", "new", "undated", "dangling"];
        check(Which::Unused, &[], &[], None, &all);
    }

    #[test]
    fn labels_must_all_match() {
        check(
            Which::Unused,
            &["a"],
            &[],
            None,
            &["old", "new", "dangling"],
        );
        check(Which::Unused, &["a=1"], &[], None, &["old", "dangling"]);
        check(Which::Unused, &["a=1", "b"], &[], None, &["dangling"]);
        check(Which::Unused, &["c"], &[], None, &[]);
    }

    #[test]
    fn only_all_named_labels_exempt() {
        check(Which::Unused, &[], &["b"], None, &["old", "undated"]);
        let but_new = ["old", "undated", "dangling"];
        check(Which::Unused, &[], &["a=2", "b"], None, &but_new);
    }

    #[test]
    fn until_takes_what_was_built_before_and_leaves_what_does_not_say() {
        check(Which::Unused, &[], &[], Some(100), &["old", "dangling"]);
        check(Which::Unused, &[], &[], Some(10), &[]);
    }
}
