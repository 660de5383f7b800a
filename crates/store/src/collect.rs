//! Collecting: what nothing keeps alive is removed, beside pulls and mounts.
//!
//! Mark and sweep in the order of [`crate::claims`]: a [`Collection`] begins; roots, edges and
//! mounts are read into an [`Inventory`]; [`plan()`], a pure function, says what would go and what
//! that would free; [`Collection::carry_out`] does it. Per batch of victims: those that somebody
//! claimed since the beginning are spared; the records of the others are forgotten, and that is
//! synced; then they are renamed to the trash. A crash in between leaves content without a record,
//! which is found at the next start; never a record without content, and never a name that leads to
//! something removed.

mod inventory;
mod plan;

use std::collections::BTreeSet;
use std::time::SystemTime;

use lapstrake_oci::DiffId;

use crate::claims::Watch;
use crate::error::Result;
use crate::object::Object;
use crate::shared::Shared;
use crate::state::ImageRecord;
use crate::usage::{FileUse, freed};

pub(crate) use inventory::recorded;
pub use inventory::{Inventory, Name};
pub use plan::{Leftover, Plan, Quarantined, Victim, plan};

/// Victims that are condemned together: few enough that a claim never waits long.
const BATCH: usize = 64;

/// A collection that has begun. There is one at a time.
#[derive(Debug)]
pub struct Collection<'a> {
    shared: &'a Shared,
    watch: Watch<'a>,
}

/// What a collection removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Names that are gone.
    pub names: Vec<ImageRecord>,
    /// Objects that are gone.
    pub objects: Vec<Object>,
    /// Bytes that are free as soon as the trash is empty.
    pub bytes: u64,
    /// Objects that were spared because somebody began to use them meanwhile.
    pub spared: usize,
}

impl<'a> Collection<'a> {
    pub(crate) fn begin(shared: &'a Shared) -> Self {
        Self {
            shared,
            watch: shared.claims.begin(),
        }
    }

    /// What there is, and what keeps it alive. Layers that are mounted are for the caller to say,
    /// from now on: ask after the collection has begun.
    ///
    /// # Errors
    /// If the store can't be read, or holds images whose edges are not known.
    pub fn inventory(&self, now: SystemTime) -> Result<Inventory> {
        Inventory::take(self.shared, now)
    }

    /// Plans the removal of `names`, and of all that nothing else keeps alive.
    ///
    /// # Errors
    /// If files can't be looked at.
    pub fn plan(
        &self,
        inventory: &Inventory,
        names: &[ImageRecord],
        mounted: &BTreeSet<DiffId>,
    ) -> Result<Plan> {
        plan(inventory, names, mounted, |object| {
            self.shared.measure(object)
        })
    }

    /// The files of an object, with its index.
    ///
    /// # Errors
    /// If they can't be looked at.
    pub fn measure(&self, object: &Object) -> Result<Vec<FileUse>> {
        self.shared.measure(object)
    }

    /// The damaged objects that were kept for a look, for [`Plan::and`].
    ///
    /// # Errors
    /// If files can't be looked at.
    pub fn quarantined(&self) -> Result<Vec<Quarantined>> {
        self.shared.content.quarantined()
    }

    /// Layers that pulls left unfinished, for [`Plan::and_unfinished`].
    ///
    /// # Errors
    /// If files can't be looked at.
    pub fn unfinished(&self) -> Result<Vec<Leftover>> {
        self.shared.content.partials()
    }

    /// Carries out a plan; see the module's text. The space is free when the trash was emptied.
    ///
    /// # Errors
    /// If the state database or the file system refuses. What was not removed yet stays.
    pub fn carry_out(self, plan: &Plan, now: SystemTime) -> Result<Collected> {
        self.shared.leases.sweep_expired(now)?;
        let names = self.watch.condemn(|claimed| {
            let unclaimed = plan
                .names
                .iter()
                .filter(|image| !claimed(&Object::Blob(image.manifest.clone())));
            let unclaimed: Vec<_> = unclaimed.cloned().collect();
            if unclaimed.is_empty() {
                return Ok(Vec::new());
            }
            self.shared.state().remove_names(&unclaimed)
        })?;
        let mut collected = Collected {
            names,
            ..Collected::default()
        };
        let mut files = Vec::new();
        for batch in plan.victims.chunks(BATCH) {
            let gone = self.condemn(batch.iter().map(|victim| &victim.object))?;
            collected.spared += batch.len() - gone.len();
            let victims = batch.iter().filter(|victim| gone.contains(&victim.object));
            files.extend(victims.flat_map(|victim| &victim.files));
            collected.objects.extend(gone);
        }
        for damaged in &plan.quarantined {
            if self.shared.trash.take(&damaged.path)? {
                files.extend(&damaged.files);
            }
        }
        for left in &plan.unfinished {
            if self.shared.content.remove_partial(&left.path)? {
                files.extend(&left.files);
            }
        }
        collected.bytes = freed(files);
        Ok(collected)
    }

    /// Forgets objects and moves them to the trash, but for those that were claimed since this
    /// began; returns the others.
    pub(crate) fn condemn<'o>(
        &self,
        objects: impl Iterator<Item = &'o Object>,
    ) -> Result<Vec<Object>> {
        self.watch.condemn(|claimed| {
            let gone: Vec<_> = objects.filter(|object| !claimed(object)).cloned().collect();
            if !gone.is_empty() {
                self.shared.state().forget(&gone)?;
            }
            for object in &gone {
                self.shared.throw_away(object)?;
            }
            Ok(gone)
        })
    }
}
