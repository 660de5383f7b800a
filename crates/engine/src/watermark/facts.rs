//! What a decision depends on, read while a collection is under way: what anybody begins to use from then on, the
//! collection spares.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use lapstrake_container::settings::MountKind;
use lapstrake_oci::{DiffId, Digest};
use lapstrake_store::{Collection, ImageRecord, Inventory, Object as Name, Parent};

use super::decide::{Candidate, Facts, Object};
use super::decision::{Subject, Why};
use super::policy::Policy;
use crate::Engine;
use crate::containers::{Phase, Record};
use crate::df::Held;
use crate::error::{Error, Result, io_error};
use crate::names::familiar;
use crate::writable;

/// Facts, and what a removal needs beside them.
pub(super) struct Gathered {
    pub(super) facts: Facts,
    pub(super) inventory: Inventory,
    pub(super) mounted: BTreeSet<DiffId>,
}

impl Gathered {
    /// All names of an image.
    pub(super) fn names(&self, manifest: &Digest) -> Vec<ImageRecord> {
        let names = self.inventory.names.iter();
        let names = names.filter(|name| name.image.manifest == *manifest);
        names.map(|name| name.image.clone()).collect()
    }
}

/// Looks at everything. What is in `busy`, by its key, stays.
pub(super) fn gather(
    engine: &Engine,
    collection: &Collection<'_>,
    policy: &Policy,
    busy: &BTreeSet<String>,
    now: SystemTime,
) -> Result<Gathered> {
    let inventory = collection.inventory(now)?;
    let roots = engine.run.roots()?;
    let roots: Vec<BTreeSet<DiffId>> = (roots.into_iter())
        .map(|root| root.layers.into_iter().collect())
        .collect();
    let mounted = roots.iter().flatten().cloned().collect();
    let containers = engine.container_records()?;
    let mut gathering = Gathering {
        engine,
        collection,
        policy,
        busy,
        mounted: &mounted,
        roots: &roots,
        inventory: &inventory,
        children: children(&inventory),
        others: engine.store.other_hosts()?,
        places: BTreeMap::new(),
        facts: Facts::default(),
    };
    gathering.images(&containers)?;
    gathering.writables(&containers, now)?;
    gathering.hold_what_is_in_use();
    gathering.loose()?;
    let facts = gathering.facts;
    Ok(Gathered {
        facts,
        inventory,
        mounted,
    })
}

/// Who uses an image, by its manifest or its config: ids, and names to tell.
type Users = BTreeMap<Digest, BTreeMap<String, String>>;

struct Gathering<'a> {
    engine: &'a Engine,
    collection: &'a Collection<'a>,
    policy: &'a Policy,
    busy: &'a BTreeSet<String>,
    mounted: &'a BTreeSet<DiffId>,
    /// The layers of each mounted root.
    roots: &'a [BTreeSet<DiffId>],
    inventory: &'a Inventory,
    children: BTreeMap<&'a Parent, Vec<&'a Name>>,
    /// Other hosts that may use the same content.
    others: Vec<String>,
    places: BTreeMap<Name, usize>,
    facts: Facts,
}

impl Gathering<'_> {
    fn images(&mut self, containers: &[Record]) -> Result<()> {
        let used = self.engine.store.state().used()?;
        let all_users = self.users(containers);
        let mut images: BTreeMap<&Digest, Vec<_>> = BTreeMap::new();
        for name in &self.inventory.names {
            let names = images.entry(&name.image.manifest).or_default();
            names.push(name);
        }
        for (manifest, names) in images {
            let targets = names.iter().map(|name| Name::Blob(name.target.clone()));
            let roots = targets.chain([Name::Blob(manifest.clone())]);
            let has = self.lead_to(roots.collect());
            let config = &names[0].image.config;
            let subject = Subject::Image {
                id: config.clone(),
                manifest: manifest.clone(),
                names: (names.iter())
                    .map(|name| familiar(&name.image.reference))
                    .collect(),
            };
            let (labels, unreadable) = self.labels(config)?;
            let hindrance = self.hindrance(&subject, &has);
            let users = [manifest, config].map(|digest| all_users.get(digest));
            let users = users.into_iter().flatten().flatten();
            let users = users.map(|(id, name)| (id.clone(), name.clone())).collect();
            let holds = self.places(&has)?;
            self.facts.candidates.push(Candidate {
                subject,
                // Whatever gives an image its name writes down that it is used.
                used: used.get(manifest).copied().unwrap_or(UNIX_EPOCH),
                labels,
                hindrance: hindrance.or(unreadable),
                users,
                holds,
                own: Held::default(),
            });
        }
        Ok(())
    }

    /// An image's labels; if they can't be read and one could protect it, it stays.
    fn labels(&self, config: &Digest) -> Result<(BTreeMap<String, String>, Option<Why>)> {
        match self.engine.facts_of(config) {
            Ok(facts) => Ok((facts.labels.clone(), None)),
            Err(Error::Store(
                lapstrake_store::Error::Missing(_) | lapstrake_store::Error::Damaged(_),
            )) => {
                let may_protect = !self.policy.protect.is_empty();
                Ok((BTreeMap::new(), may_protect.then_some(Why::Unreadable)))
            }
            Err(error) => Err(error),
        }
    }

    fn hindrance(&self, image: &Subject, has: &BTreeSet<Name>) -> Option<Why> {
        let leased =
            |one: &Name| matches!(one, Name::Blob(_)) && self.inventory.leased.contains(one);
        let layers = has.iter().filter_map(|one| match one {
            Name::Layer(id) => Some(id),
            Name::Blob(_) => None,
        });
        let is_it = |root: &BTreeSet<DiffId>| root.iter().eq(layers.clone());
        if !self.others.is_empty() {
            Some(Why::OtherHosts(self.others.clone()))
        } else if self.busy.contains(&image.key()) {
            Some(Why::Busy)
        } else if self.roots.iter().any(is_it) {
            Some(Why::Mounted)
        } else if has.iter().any(leased) {
            Some(Why::Leased)
        } else {
            None
        }
    }

    /// Who lies on images, or has them mounted when it runs.
    fn users(&self, containers: &[Record]) -> Users {
        let names: BTreeMap<&str, &str> = (containers.iter())
            .map(|record| (record.id.as_str(), record.name.as_str()))
            .collect();
        let mut users = Users::new();
        for (parent, child) in &self.inventory.edges {
            if let (Parent::Writable(id), Name::Blob(manifest)) = (parent, child) {
                let name = match names.get(id.as_str()) {
                    Some(name) => format!("container {name}"),
                    None => format!("writable layer {id}"),
                };
                let of = users.entry(manifest.clone()).or_default();
                of.insert(id.clone(), name);
            }
        }
        for record in containers {
            let mounts = record.settings.host.mounts.iter();
            let images = mounts.filter(|point| point.kind == MountKind::Image);
            let images = images.filter_map(|point| point.name.as_ref()?.parse().ok());
            for config in images {
                let name = format!("container {}", record.name);
                let of = users.entry(config).or_default();
                of.insert(record.id.clone(), name);
            }
        }
        users
    }

    /// Containers, if they may go; else, and of writable layers that are no containers', what they hold is held.
    fn writables(&mut self, containers: &[Record], now: SystemTime) -> Result<()> {
        let mut holds: BTreeMap<&str, Vec<Name>> = BTreeMap::new();
        for (parent, child) in &self.inventory.edges {
            if let Parent::Writable(id) = parent {
                holds.entry(id).or_default().push(child.clone());
            }
        }
        let elsewhere = device(&self.engine.root().join("content"))?
            != device(&writable::containers(self.engine.root()))?;
        let candidates = containers.iter().filter(|_| self.policy.containers);
        for record in candidates {
            let has = self.lead_to(holds.remove(record.id.as_str()).unwrap_or_default());
            let holds = self.places(&has)?;
            let subject = Subject::Container {
                id: record.id.clone(),
                name: record.name.clone(),
            };
            let hindrance = match record.state.phase {
                _ if record.state.phase.is_active() => Some(Why::Running),
                Phase::Removing => Some(Why::Busy),
                _ if self.busy.contains(&subject.key()) => Some(Why::Busy),
                _ if elsewhere => Some(Why::Elsewhere),
                _ => None,
            };
            self.facts.candidates.push(Candidate {
                used: match hindrance {
                    Some(Why::Running) => now,
                    _ => record.last_used(),
                },
                own: match hindrance {
                    None => self.engine.takes(record)?,
                    Some(_) => Held::default(),
                },
                labels: record.settings.execution.labels.clone(),
                subject,
                hindrance,
                users: BTreeMap::new(),
                holds,
            });
        }
        let rest: Vec<Name> = holds.into_values().flatten().collect();
        let held = self.lead_to(rest);
        self.hold(&held);
        Ok(())
    }

    /// Leases hold what they lead to, mounts their layers.
    fn hold_what_is_in_use(&mut self) {
        let leased = self.lead_to(self.inventory.leased.iter().cloned().collect());
        self.hold(&leased);
        let mounted: BTreeSet<_> = self.mounted.iter().cloned().map(Name::Layer).collect();
        self.hold(&mounted);
    }

    /// What nothing keeps alive goes with the first that goes, unless other hosts may know it.
    fn loose(&mut self) -> Result<()> {
        if !self.others.is_empty() || self.busy.contains(&Subject::Loose.key()) {
            return Ok(());
        }
        let plan = self.collection.plan(self.inventory, &[], self.mounted)?;
        for victim in plan.victims {
            self.facts.objects.push(Object {
                is_layer: matches!(victim.object, Name::Layer(_)),
                files: victim.files,
                held: false,
            });
        }
        Ok(())
    }

    /// All that these lead to, themselves included.
    fn lead_to(&self, mut found: Vec<Name>) -> BTreeSet<Name> {
        let mut all = BTreeSet::new();
        while let Some(one) = found.pop() {
            if all.insert(one.clone())
                && let Some(children) = self.children.get(&Parent::Object(one))
            {
                found.extend(children.iter().map(|child| (*child).clone()));
            }
        }
        all
    }

    fn places(&mut self, names: &BTreeSet<Name>) -> Result<Vec<usize>> {
        let mut places = Vec::new();
        for name in names {
            let place = match self.places.get(name) {
                Some(place) => *place,
                None => {
                    self.facts.objects.push(Object {
                        files: self.collection.measure(name)?,
                        is_layer: matches!(name, Name::Layer(_)),
                        held: false,
                    });
                    let place = self.facts.objects.len() - 1;
                    self.places.insert(name.clone(), place);
                    place
                }
            };
            places.push(place);
        }
        Ok(places)
    }

    /// Something holds these that is no candidate.
    fn hold(&mut self, names: &BTreeSet<Name>) {
        for place in names.iter().filter_map(|name| self.places.get(name)) {
            self.facts.objects[*place].held = true;
        }
    }
}

fn children(inventory: &Inventory) -> BTreeMap<&Parent, Vec<&Name>> {
    let mut children: BTreeMap<&Parent, Vec<&Name>> = BTreeMap::new();
    for (parent, child) in &inventory.edges {
        children.entry(parent).or_default().push(child);
    }
    children
}

/// The file system that a directory is on; if it is not there, that of what it would be in.
fn device(path: &Path) -> Result<u64> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(metadata.dev()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => match path.parent() {
            Some(parent) => device(parent),
            None => Err(io_error("look at", path)(error)),
        },
        Err(error) => Err(io_error("look at", path)(error)),
    }
}
