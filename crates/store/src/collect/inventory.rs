//! What a store holds and what keeps it alive, as facts.

use std::collections::BTreeSet;
use std::time::SystemTime;

use lapstrake_oci::{DiffId, Digest};

use crate::error::{Error, Result};
use crate::object::Object;
use crate::shared::Shared;
use crate::state::{ImageRecord, Parent};

/// A name, and what it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The image.
    pub image: ImageRecord,
    /// The document that the name was resolved to: the manifest, or an index that led to it.
    pub target: Digest,
}

/// The facts that a plan is made from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Names.
    pub names: Vec<Name>,
    /// What keeps what alive.
    pub edges: Vec<(Parent, Object)>,
    /// Layers that have a record.
    pub layers: Vec<DiffId>,
    /// What is on disk, with a record or without.
    pub on_disk: BTreeSet<Object>,
    /// What is on disk without a record and is kept all the same ([`crate::State::keeps_strays`]);
    /// a plan leaves it alone.
    pub strays: BTreeSet<Object>,
    /// What leases cover.
    pub leased: BTreeSet<Object>,
}

impl Inventory {
    pub(super) fn take(shared: &Shared, now: SystemTime) -> Result<Self> {
        let mut on_disk = shared.content.objects()?;
        let leased = shared.leases.covered(now)?.into_iter().collect();
        let state = shared.state();
        if let Some(image) = state.unlinked_images()?.into_iter().next() {
            return Err(Error::Unlinked(image.reference));
        }
        let names: Vec<_> = (state.names()?.into_iter())
            .map(|(image, target)| Name { image, target })
            .collect();
        let (edges, layers) = (state.edges()?, state.layer_ids()?);
        let mut strays = BTreeSet::new();
        if state.keeps_strays()? {
            let recorded = recorded(&names, &edges, &layers);
            (on_disk, strays) = (on_disk.into_iter()).partition(|object| recorded.contains(object));
        }
        Ok(Self {
            names,
            edges,
            layers,
            on_disk,
            strays,
            leased,
        })
    }

    /// Lets strays be removed like anything else that nothing keeps alive.
    #[must_use]
    pub fn without_strays(mut self) -> Self {
        self.on_disk.append(&mut self.strays);
        self
    }
}

/// Every object that a record speaks of.
pub(crate) fn recorded(
    names: &[Name],
    edges: &[(Parent, Object)],
    layers: &[DiffId],
) -> BTreeSet<Object> {
    let documents = names.iter().flat_map(|Name { image, target }| {
        [&image.manifest, &image.config, target].map(|digest| Object::Blob(digest.clone()))
    });
    let layers = layers.iter().cloned().map(Object::Layer);
    let mut recorded: BTreeSet<_> = documents.chain(layers).collect();
    for (parent, child) in edges {
        if let Parent::Object(parent) = parent {
            recorded.insert(parent.clone());
        }
        // A layer that only an edge speaks of may be fetched again: what is known of it is not here.
        if let Object::Blob(_) = child {
            recorded.insert(child.clone());
        }
    }
    recorded
}
