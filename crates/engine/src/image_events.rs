//! What is told of images when something happened to them.
//!
//! An image that went to or came from a registry is called by its name, everything else by its id. Labels that can't
//! be read any more are left out: what happened has happened.

use std::collections::{BTreeMap, BTreeSet};

use lapstrake_oci::{ChainId, Config, DiffId, Digest, Reference, chain_ids};
use lapstrake_store::{ImageRecord, Object};

use crate::Engine;
use crate::events::{Action, Kind};
use crate::names::ImageName;
use crate::remove::{DeletedImage, Removed};

/// What is known of images that are about to go, by id.
pub(crate) type Going = BTreeMap<Digest, Config>;

impl Engine {
    /// Tells what happened to an image.
    pub(crate) fn tell_image(
        &self,
        action: Action,
        id: &Digest,
        name: &str,
        labels: &BTreeMap<String, String>,
    ) {
        let mut attributes = labels.clone();
        attributes.insert("name".to_owned(), name.to_owned());
        self.events
            .publish(Kind::Image, action, id.to_string(), attributes);
    }

    /// The same of one that is here, without another name than its id.
    pub(crate) fn tell_by_id(&self, action: Action, id: &Digest) {
        let labels = id.to_string().parse::<ImageName>().ok();
        let labels = labels.and_then(|name| self.resolve(name).ok());
        let labels = labels.and_then(|image| self.config(&image).ok());
        let labels = labels.map(|config| config.value().config.labels.clone());
        self.tell_image(action, id, &id.to_string(), &labels.unwrap_or_default());
    }

    /// Tells that an image came from a registry or went to one.
    pub(crate) fn tell_moved(&self, reference: &Reference, action: Action) {
        let image = self.resolve(reference).ok();
        let config = image.and_then(|image| self.config(&image).ok());
        let labels = config.map(|config| config.value().config.labels.clone());
        let mut attributes = labels.unwrap_or_default();
        attributes.insert("name".to_owned(), reference.repo().familiar());
        (self.events).publish(Kind::Image, action, reference.familiar(), attributes);
    }

    /// Tells that what nobody needed was removed.
    pub(crate) fn tell_pruned(&self, bytes: u64) {
        let reclaimed = BTreeMap::from([("reclaimed".to_owned(), bytes.to_string())]);
        self.events
            .publish(Kind::Image, Action::Prune, "", reclaimed);
    }

    /// Looks up what is not there any more when the images under these names are gone.
    pub(crate) fn going(&self, names: &[ImageRecord]) -> Going {
        let mut going = Going::new();
        for image in names {
            if let std::collections::btree_map::Entry::Vacant(place) =
                going.entry(image.config.clone())
                && let Ok(config) = self.config(image)
            {
                place.insert(config.value().clone());
            }
        }
        going
    }

    /// Tells which names and images are gone.
    pub(crate) fn tell_removed(&self, removed: &Removed, going: &Going, names: &[ImageRecord]) {
        let none = BTreeMap::new();
        let labels = |id: &Digest| {
            let config = going.get(id);
            config.map_or(&none, |config| &config.config.labels)
        };
        for name in names {
            let id = &name.config;
            self.tell_image(Action::Untag, id, &id.to_string(), labels(id));
        }
        for id in &removed.images {
            self.tell_image(Action::Delete, id, &id.to_string(), labels(id));
        }
    }
}

impl Removed {
    /// With the layers of each image that go with it.
    pub(crate) fn with_layers(self, going: &Going, objects: &[Object]) -> Self {
        let objects: BTreeSet<_> = objects.iter().collect();
        let gone = |layer: &DiffId| objects.contains(&Object::Layer(layer.clone()));
        let deleted = self.images.iter().map(|id| DeletedImage {
            id: id.clone(),
            layers: going.get(id).map_or_else(Vec::new, |config| {
                gone_chains(&config.rootfs.diff_ids, gone)
            }),
        });
        Self {
            deleted: deleted.collect(),
            ..self
        }
    }
}

/// The chains of those layers that are gone, the highest first.
fn gone_chains(layers: &[DiffId], gone: impl Fn(&DiffId) -> bool) -> Vec<ChainId> {
    let chains = chain_ids(layers);
    let mut chains: Vec<_> = (layers.iter().zip(chains))
        .filter(|(layer, _)| gone(layer))
        .map(|(_, chain)| chain)
        .collect();
    chains.reverse();
    chains
}
