//! Checking a store, as verbs: from its foundations to every digest in it.
//!
//! What holds: a check only reads, beside whoever owns the store. A repair owns the store; it finds
//! as a check does, repairs what can be repaired, and then looks again: what is left is what it says.

use std::collections::BTreeSet;

use lapstrake_oci::DiffId;
use lapstrake_store::check::{self as store_check, Facts, Fault, Finding, Part};
use lapstrake_store::{Object, Parent};
use lapstrake_transfer::check::{
    CheckEvent, DamagedFiles, DeepOptions, Examined, damaged_files, deep, quick,
};
use lapstrake_transfer::repair::Mended;

use crate::error::Result;
use crate::{Engine, Opening, Surroundings};

/// How thorough a check is.
#[derive(Debug)]
pub enum Depth {
    /// Names, lengths and holes; no layer is read.
    Quick,
    /// Every digest.
    Deep(DeepOptions),
}

/// What a check found.
#[derive(Debug, Default)]
pub struct CheckReport {
    /// Everything that is wrong, in the order of what it is wrong with.
    pub findings: Vec<Finding>,
    /// Layers that must not be used as they are, and what that means.
    pub damaged: Vec<DamagedLayer>,
    /// Layers that were looked at.
    pub layers: usize,
    /// Bytes of layers that were read.
    pub bytes: u64,
    /// What a repair did, and why it could not do more.
    pub repairs: Vec<(Part, Mended)>,
    /// What was wrong after it; without one, what is wrong.
    pub left: Vec<Finding>,
}

/// A damaged layer, and who suffers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedLayer {
    /// Which.
    pub id: DiffId,
    /// Which of its files are damaged.
    pub files: DamagedFiles,
    /// Images that have it.
    pub images: Vec<String>,
    /// Writable layers that lie on it.
    pub writable: Vec<String>,
    /// Whether a root that has it is mounted now.
    pub mounted: bool,
}

/// What is to be said of a store in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was damaged.
    Sound,
    /// Something was, and all of it was repaired.
    Repaired,
    /// Something is.
    Damaged,
}

impl CheckReport {
    /// Whether something is lost, or may be.
    pub fn verdict(&self) -> Verdict {
        let damage = |findings: &[Finding]| findings.iter().any(|it| it.fault.is_damage());
        if damage(&self.left) {
            Verdict::Damaged
        } else if damage(&self.findings) {
            Verdict::Repaired
        } else {
            Verdict::Sound
        }
    }
}

/// Checks the store, beside whoever owns it, and changes nothing.
///
/// # Errors
/// If there is no store, or it can't be read at all.
pub fn check(
    around: &Surroundings,
    depth: &Depth,
    tell: &(dyn Fn(CheckEvent) + Sync),
) -> Result<CheckReport> {
    let findings = store_check::foundations(&around.root)?;
    if !findings.is_empty() {
        return Ok(CheckReport {
            left: findings.clone(),
            findings,
            ..CheckReport::default()
        });
    }
    let engine = Engine::open(around, Opening::ReadOnly)?;
    let mut report = engine.look(depth, tell)?.0;
    report.left.clone_from(&report.findings);
    Ok(report)
}

impl Engine {
    /// What is wrong, and what was seen of each layer if they were read.
    pub(crate) fn look(
        &self,
        depth: &Depth,
        tell: &(dyn Fn(CheckEvent) + Sync),
    ) -> Result<(CheckReport, Vec<Examined>)> {
        let facts = self.store.facts()?;
        let mut report = CheckReport {
            findings: quick(&self.store)?,
            layers: facts.layers.len(),
            ..CheckReport::default()
        };
        let Depth::Deep(options) = depth else {
            return Ok((report, Vec::new()));
        };
        let checked = deep(&self.store, &facts, options, tell)?;
        let read = checked.layers.iter().map(|layer| &layer.id).collect();
        report
            .findings
            .retain(|finding| !is_settled(finding, &read));
        report.findings.extend(checked.blobs.iter().cloned());
        for examined in &checked.layers {
            report.findings.extend(examined.findings.iter().cloned());
            if examined.why_not_served().is_some() {
                report.damaged.push(self.damaged(&facts, examined)?);
            }
        }
        report.bytes = facts.records.iter().map(|layer| layer.data_len).sum();
        report.findings.sort();
        report.findings.dedup();
        Ok((report, checked.layers))
    }

    /// What damage to a layer means.
    pub(crate) fn damaged(&self, facts: &Facts, examined: &Examined) -> Result<DamagedLayer> {
        let id = &examined.id;
        let mut records = facts.records.iter();
        let stamp = records.find(|record| record.diff_id == *id);
        let stamp = stamp.map(|record| &record.index);
        let layer = Object::Layer(id.clone());
        let holders = || facts.claims.iter().filter(|(_, child)| *child == layer);
        let manifests: BTreeSet<_> = holders()
            .filter_map(|(parent, _)| match parent {
                Parent::Object(Object::Blob(manifest)) => Some(manifest),
                _ => None,
            })
            .collect();
        let images = facts.images.iter();
        let images = images.filter(|image| manifests.contains(&image.manifest));
        let writable = holders().filter_map(|(parent, _)| match parent {
            Parent::Writable(name) => Some(name.clone()),
            Parent::Object(_) => None,
        });
        Ok(DamagedLayer {
            id: id.clone(),
            files: damaged_files(&self.store, examined, stamp),
            images: images.map(|image| image.reference.clone()).collect(),
            writable: writable.collect(),
            mounted: self.run.in_use()?.contains(id),
        })
    }
}

/// Whoever reads a layer knows better than whoever looks at its lengths and holes.
pub(crate) fn is_settled(finding: &Finding, read: &BTreeSet<&DiffId>) -> bool {
    let is_of_files = matches!(
        finding.part,
        Part::Data(_) | Part::Skeleton(_) | Part::Spans(_) | Part::Index(_)
    );
    let can_be = is_of_files || finding.fault == Fault::Doubtful;
    can_be && finding.part.layer().is_some_and(|id| read.contains(id))
}
