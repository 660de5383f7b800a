//! One step: looks, decides, and removes the first that goes.

use std::collections::BTreeSet;
use std::fs::File;
use std::time::SystemTime;

use super::decide::{Asked, Stage, decide};
use super::decision::{Decision, Goes, Subject};
use super::facts::gather;
use super::policy::Policy;
use super::space::Space;
use crate::Engine;
use crate::error::{Result, io_error};

/// What a step did.
#[derive(Debug)]
pub(super) enum Step {
    /// Nothing: nothing goes.
    Nothing,
    /// An image or loose content was removed, and that freed so many bytes.
    Removed(Goes, u64),
    /// Somebody began to use it: it stays.
    Spared(Subject),
    /// This container is to be removed.
    Container(Goes),
}

impl Engine {
    /// What the watermark policy would decide now. Nothing is removed.
    ///
    /// # Errors
    /// If the store or the file system can't be read.
    pub fn watermark(&self, policy: &Policy, now: SystemTime) -> Result<Decision> {
        let collection = self.store.collect();
        let gathered = gather(self, &collection, policy, &BTreeSet::new(), now)?;
        let asked = Asked {
            policy,
            now,
            space: self.space()?,
            stage: Stage::Watching,
        };
        Ok(decide(asked, &gathered.facts))
    }

    /// What is free where content is.
    pub(super) fn space(&self) -> Result<Space> {
        Space::at(&self.root().join("content"))
    }

    /// Decides what is so now, and removes the first image that goes; its space is free afterwards. `busy` stays.
    pub(super) fn watermark_step(
        &self,
        policy: &Policy,
        stage: Stage,
        busy: &BTreeSet<String>,
        now: SystemTime,
    ) -> Result<(Decision, Step)> {
        let collection = self.store.collect();
        let gathered = gather(self, &collection, policy, busy, now)?;
        let asked = Asked {
            policy,
            now,
            space: self.space()?,
            stage,
        };
        let decision = decide(asked, &gathered.facts);
        let Some(first) = decision.goes.first().cloned() else {
            return Ok((decision, Step::Nothing));
        };
        let names = match &first.subject {
            Subject::Container { .. } => return Ok((decision, Step::Container(first))),
            Subject::Loose => Vec::new(),
            Subject::Image { manifest, .. } => gathered.names(manifest),
        };
        let plan = collection.plan(&gathered.inventory, &names, &gathered.mounted)?;
        let going = self.going(&plan.names);
        let collected = collection.carry_out(&plan, now)?;
        self.removed(&collected, &going)?;
        self.free_now()?;
        let spared = match &first.subject {
            // One of several names that was claimed meanwhile keeps the image.
            Subject::Image { .. } => collected.names.len() < names.len(),
            Subject::Loose | Subject::Container { .. } => collected.objects.is_empty(),
        };
        let step = match spared {
            true => Step::Spared(first.subject),
            false => Step::Removed(first, collected.bytes),
        };
        Ok((decision, step))
    }

    /// Waits until what was removed is free, and the file system says so: some count it only with their next commit.
    pub(super) fn free_now(&self) -> Result<()> {
        self.empty_trash()?;
        let content = self.root().join("content");
        let synced = File::open(&content).and_then(|dir| Ok(rustix::fs::syncfs(&dir)?));
        synced.map_err(io_error("sync", &content))
    }
}
