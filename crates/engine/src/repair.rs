//! Repairing a store, and scrubbing it: as verbs that own it.

use std::collections::{BTreeMap, BTreeSet};

use lapstrake_oci::{DiffId, Digest, Reference, Repo};
use lapstrake_store::check::{self as store_check, Facts, Part, Wanted};
use lapstrake_store::{HostId, Patience, Place};
use lapstrake_transfer::check::{
    CheckEvent, DeepOptions, Examined, ScrubOptions, examine_one, quick, scrub_next, wanted,
};
use lapstrake_transfer::repair::{Fetcher, Mended, repair_blob, repair_layer};

use crate::check::{CheckReport, Depth, is_settled};
use crate::error::Result;
use crate::{Engine, Opening, Surroundings};

/// Repositories that are asked for a document.
const REPOS_ASKED: usize = 10;

/// Checks the store deeply and repairs what can be repaired; what can't be is moved aside, so that
/// nobody is served it. With a `fetcher`, registries are asked for what is damaged.
///
/// # Errors
/// If there is no store, another process owns it for too long, or it refuses.
pub fn repair(
    around: &Surroundings,
    patience: Patience<'_>,
    fetcher: Option<&Fetcher>,
    options: DeepOptions,
    tell: &(dyn Fn(CheckEvent) + Sync),
) -> Result<CheckReport> {
    let Patience { at_most, tell: say } = patience;
    let foundations = store_check::foundations(&around.root)?;
    let mut mendings = Vec::new();
    if !foundations.is_empty() {
        let host = HostId::from_hostname(&around.hostname);
        let place = Place {
            root: &around.root,
            host: &host,
            boot_id: &around.boot_id,
        };
        let patience = Patience {
            at_most,
            tell: &mut *say,
        };
        mendings = store_check::mend_foundations(place, Some(patience), &foundations)?;
    }
    let patience = Patience { at_most, tell: say };
    let engine = Engine::open(around, Opening::Own(Some(patience)))?;
    let mut report = engine.repair(fetcher, options, tell)?;
    for mending in &mendings {
        // What is lost with a database stays lost.
        let lost = foundations.iter();
        let lost = lost.filter(|it| it.part == mending.part && !mending.is_exact);
        report.left.extend(lost.cloned());
    }
    let mended = mendings.into_iter().map(|mending| {
        let mended = Mended {
            done: vec![format!("{}; the old one is kept beside it", mending.done)],
            ..Mended::default()
        };
        (mending.part, mended)
    });
    report.repairs.splice(0..0, mended);
    report.findings.extend(foundations);
    report.findings.sort();
    report.left.sort();
    Ok(report)
}

/// Reads every layer that is due, the one that waited longest first, and repairs what is damaged if
/// there is a `fetcher`. It can be stopped at any time, and goes on where it was.
///
/// # Errors
/// If the store refuses.
pub fn scrub(
    engine: &Engine,
    fetcher: Option<&Fetcher>,
    options: &ScrubOptions,
    tell: &(dyn Fn(CheckEvent) + Sync),
) -> Result<CheckReport> {
    let facts = engine.store.facts()?;
    let mut report = CheckReport::default();
    while let Some(examined) = scrub_next(&engine.store, options, tell)? {
        report.layers += 1;
        let record = engine.store.state().layer(&examined.id)?;
        report.bytes += record.map_or(0, |record| record.data_len);
        if examined.findings.is_empty() {
            continue;
        }
        report.findings.extend(examined.findings.iter().cloned());
        if examined.why_not_served().is_some() {
            report.damaged.push(engine.damaged(&facts, &examined)?);
        }
        if fetcher.is_none() {
            report.left.extend(examined.findings.iter().cloned());
            continue;
        }
        let id = examined.id.clone();
        let mended = repair_layer(&engine.store, fetcher, examined, &options.pace)?;
        engine.forget_pages(&id, &mended)?;
        report.left.extend(mended.left.iter().cloned());
        report.repairs.push((Part::Layer(id), mended));
    }
    Ok(report)
}

impl Engine {
    fn repair(
        &self,
        fetcher: Option<&Fetcher>,
        options: DeepOptions,
        tell: &(dyn Fn(CheckEvent) + Sync),
    ) -> Result<CheckReport> {
        let depth = Depth::Deep(options);
        let (mut report, examined) = self.look(&depth, tell)?;
        let Depth::Deep(options) = depth else {
            return Ok(report);
        };
        self.repair_blobs(fetcher, &mut report)?;
        // Only now all documents that can be had say what they want.
        let facts = self.store.facts()?;
        let wanted = wanted(&self.store, &facts).0;
        let mut sound = BTreeSet::new();
        let mut left = Vec::new();
        for examined in self.to_repair(&facts, &wanted, examined, &options, &mut sound)? {
            let id = examined.id.clone();
            let mended = repair_layer(&self.store, fetcher, examined, &options.pace)?;
            self.forget_pages(&id, &mended)?;
            if mended.left.is_empty() {
                sound.insert(id.clone());
            } else if mended.quarantined.is_none() {
                left.extend(mended.left.iter().cloned());
            }
            report.repairs.push((Part::Layer(id), mended));
        }
        let sound = sound.iter().collect();
        let after = quick(&self.store)?.into_iter();
        left.extend(after.filter(|finding| !is_settled(finding, &sound)));
        left.sort();
        left.dedup();
        report.left = left;
        Ok(report)
    }

    fn repair_blobs(&self, fetcher: Option<&Fetcher>, report: &mut CheckReport) -> Result<()> {
        // A manifest that came again may say that its config is damaged or missing too.
        let mut tried = BTreeSet::new();
        loop {
            let facts = self.store.facts()?;
            let wanted = wanted(&self.store, &facts).0;
            let found = quick(&self.store)?;
            let damaged = report.findings.iter().chain(&found);
            let damaged: BTreeSet<_> = damaged
                .filter(|finding| finding.fault.is_damage())
                .filter_map(|finding| match &finding.part {
                    Part::Blob(digest) if !tried.contains(digest) => Some(digest.clone()),
                    _ => None,
                })
                .collect();
            if damaged.is_empty() {
                return Ok(());
            }
            for digest in damaged {
                let repos = repos(&digest, &facts, &wanted);
                let mended = repair_blob(&self.store, fetcher, &digest, &repos)?;
                report.repairs.push((Part::Blob(digest.clone()), mended));
                tried.insert(digest);
            }
        }
    }

    /// Layers of which something is wrong, and those that are wanted and not here. Layers without a
    /// record that nobody wants are left to the sweep, unless this database knows that it is not
    /// the one that knew them.
    fn to_repair(
        &self,
        facts: &Facts,
        wanted: &Wanted,
        examined: Vec<Examined>,
        options: &DeepOptions,
        sound: &mut BTreeSet<DiffId>,
    ) -> Result<Vec<Examined>> {
        let adopts = self.store.state().keeps_strays()?;
        let records: BTreeMap<_, _> = facts
            .records
            .iter()
            .map(|record| (&record.diff_id, record))
            .collect();
        let (mut todo, mut seen) = (Vec::new(), BTreeSet::new());
        for examined in examined {
            let id = examined.id.clone();
            let record = records.get(&id);
            let is_sound = examined.findings.is_empty();
            let is_ours = record.is_some() || adopts || wanted.layers.contains_key(&id);
            let is_proved =
                record.is_some_and(|record| record.state == lapstrake_store::LayerState::Proved);
            if is_ours && !(is_sound && is_proved) {
                todo.push(examined);
            } else if is_sound {
                sound.insert(id.clone());
            }
            seen.insert(id);
        }
        for id in wanted.layers.keys().filter(|id| !seen.contains(*id)) {
            todo.push(examine_one(
                &self.store,
                id,
                None,
                &options.pace,
                &|_event| {},
            ));
        }
        Ok(todo)
    }

    /// Lets go of what the kernel holds in memory of a mounted layer that was repaired.
    fn forget_pages(&self, id: &DiffId, mended: &Mended) -> Result<()> {
        if !mended.done.is_empty() && self.run.in_use()?.contains(id) {
            self.run.forget_pages(id)?;
        }
        Ok(())
    }
}

/// Repositories that may have a document: those of the image that asks for it, then the others'.
fn repos(digest: &Digest, facts: &Facts, wanted: &Wanted) -> Vec<Repo> {
    let asker = match wanted.blobs.get(digest) {
        Some((Part::Image(name), _)) => Some(name),
        Some(_) => None,
        None => return Vec::new(),
    };
    let names = facts.images.iter().map(|image| &image.reference);
    let mut repos: Vec<Repo> = Vec::new();
    for name in asker.into_iter().chain(names) {
        if let Ok(reference) = name.parse::<Reference>()
            && !repos.contains(reference.repo())
        {
            repos.push(reference.repo().clone());
        }
    }
    repos.truncate(REPOS_ASKED);
    repos
}
