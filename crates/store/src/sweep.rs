//! Sweeping: what dead owners left is found when a store is opened, and removed.
//!
//! - Content without a record, of a publication or a removal that a crash cut short. If the state
//!   database was made anew beside content that was there already, such *strays* are kept instead: they
//!   may be all that is left of a store.
//! - Records of layers without content.
//! - Indexes of layers without a record, and unfinished ones; unfinished leases.
//!
//! Nothing is published before the sweep is over (see [`Store::lease`]), so whatever has no record
//! is from before. Only names are read, no file is opened, so it takes milliseconds for thousands
//! of layers; opening a store doesn't wait for it all the same.

use std::collections::BTreeSet;

use lapstrake_oci::DiffId;

use crate::collect::{Collection, Name, recorded};
use crate::error::Result;
use crate::object::Object;
use crate::shared::Shared;

/// What a sweep found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Objects without a record that went to the trash.
    pub orphans: Vec<Object>,
    /// Objects without a record that were kept.
    pub strays: BTreeSet<Object>,
    /// Layers whose records were forgotten, for they have no content.
    pub lost: Vec<DiffId>,
    /// Files of indexes that were removed.
    pub indexes: usize,
}

/// Sweeps a store.
pub(crate) fn sweep(shared: &Shared) -> Result<Swept> {
    let collection = Collection::begin(shared);
    let on_disk = shared.content.objects()?;
    let (names, edges, layers, keep) = {
        let state = shared.state();
        (
            state.names()?,
            state.edges()?,
            state.layer_ids()?,
            state.keeps_strays()?,
        )
    };
    let names: Vec<_> = (names.into_iter())
        .map(|(image, target)| Name { image, target })
        .collect();
    let recorded = recorded(&names, &edges, &layers);
    let orphans: BTreeSet<_> = on_disk.difference(&recorded).cloned().collect();
    let mut swept = Swept::default();
    if keep {
        swept.strays = orphans;
    } else {
        swept.orphans = collection.condemn(orphans.iter())?;
    }
    let lost: Vec<_> = (layers.iter().cloned().map(Object::Layer))
        .filter(|object| !on_disk.contains(object))
        .collect();
    let lost = collection.condemn(lost.iter())?.into_iter();
    swept.lost = lost
        .filter_map(|object| match object {
            Object::Layer(id) => Some(id),
            Object::Blob(_) => None,
        })
        .collect();
    swept.indexes = sweep_indexes(shared)?;
    shared.leases.sweep_unfinished(shared.opened)?;
    Ok(swept)
}

/// Removes indexes of layers without a record, and unfinished ones of dead processes.
fn sweep_indexes(shared: &Shared) -> Result<usize> {
    let layers = shared.state().layer_ids()?;
    let living: BTreeSet<_> = layers.iter().map(|id| id.0.hex()).collect();
    let mut removed = 0;
    for name in shared.indexes.names()? {
        let is_dead = if name.starts_with('.') {
            shared.opened.is_after(&name)
        } else {
            !living.contains(name.as_str())
        };
        if is_dead {
            shared.indexes.remove_name(&name)?;
            removed += 1;
        }
    }
    Ok(removed)
}
