//! What is wrong, from facts alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use lapstrake_oci::{DiffId, Digest};

use super::facts::{Facts, FileFacts};
use super::{Fault, Finding, Part};
use crate::state::{LayerRecord, LayerState};

/// What the images' documents ask for, as whoever can read them says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Documents, who asks for each, and its length where that is known.
    pub blobs: BTreeMap<Digest, (Part, Option<u64>)>,
    /// Layers, and who asks for each.
    pub layers: BTreeMap<DiffId, Part>,
}

/// Compares what is there with what should be. Findings come in the order of their parts.
pub fn plan(facts: &Facts, wanted: &Wanted) -> Vec<Finding> {
    let mut findings = Vec::new();
    documents(facts, wanted, &mut findings);
    for record in &facts.records {
        layer(facts, record, &mut findings);
    }
    let recorded: BTreeSet<_> = facts.records.iter().map(|layer| &layer.diff_id).collect();
    for (id, asker) in &wanted.layers {
        if !recorded.contains(id) && !facts.layers.contains_key(id) {
            let fault = Fault::Dangling(format!("layer {id}"));
            findings.push(Finding::new(asker.clone(), fault));
        }
    }
    for id in facts.layers.keys().filter(|id| !recorded.contains(id)) {
        // An image needs it, so it is the record that is gone.
        let finding = if wanted.layers.contains_key(id) {
            Finding::new(Part::Record(id.clone()), Fault::Missing)
        } else {
            Finding::new(Part::Layer(id.clone()), Fault::Unclaimed)
        };
        findings.push(finding);
    }
    let built: BTreeSet<_> = recorded.iter().map(|id| id.0.hex()).collect();
    for name in facts
        .indexes
        .keys()
        .filter(|name| !built.contains(name.as_str()))
    {
        let part = Part::Stray(Path::new("state/index").join(name));
        findings.push(Finding::new(part, Fault::Unclaimed));
    }
    let strays = facts.strays.iter().cloned().map(Part::Stray);
    findings.extend(strays.map(|part| Finding::new(part, Fault::Unclaimed)));
    findings.sort();
    findings.dedup();
    findings
}

fn documents(facts: &Facts, wanted: &Wanted, findings: &mut Vec<Finding>) {
    for (digest, (asker, length)) in &wanted.blobs {
        let part = Part::Blob(digest.clone());
        match (facts.blobs.get(digest), length) {
            (None, _) => {
                findings.push(Finding::new(part, Fault::Missing));
                let fault = Fault::Dangling(format!("blob {digest}"));
                findings.push(Finding::new(asker.clone(), fault));
            }
            (Some(got), Some(want)) if got != want => {
                let (got, want) = (*got, *want);
                findings.push(Finding::new(part, Fault::Length { want, got }));
            }
            (Some(0), None) => {
                let why = "it is empty, and no document is".to_owned();
                findings.push(Finding::new(part, Fault::Damaged(why)));
            }
            (Some(_), _) => {}
        }
    }
    for digest in facts.blobs.keys() {
        if !wanted.blobs.contains_key(digest) {
            findings.push(Finding::new(Part::Blob(digest.clone()), Fault::Unclaimed));
        }
    }
}

fn layer(facts: &Facts, record: &LayerRecord, findings: &mut Vec<Finding>) {
    let id = &record.diff_id;
    let Some(found) = facts.layers.get(id) else {
        findings.push(Finding::new(Part::Layer(id.clone()), Fault::Missing));
        return;
    };
    if record.state == LayerState::Doubtful {
        findings.push(Finding::new(Part::Layer(id.clone()), Fault::Doubtful));
    }
    let mut file = |part: fn(DiffId) -> Part, facts: &FileFacts, length: Option<u64>| {
        if let Some(fault) = fault(facts, length) {
            findings.push(Finding::new(part(id.clone()), fault));
        }
    };
    file(Part::Data, &found.data, Some(record.data_len));
    file(Part::Skeleton, &found.skeleton, None);
    if facts.sourced.contains(id) || found.spans != FileFacts::Missing {
        file(Part::Spans, &found.spans, None);
    }
    let want = record.index.len;
    let part = || Part::Index(id.clone());
    match facts.indexes.get(id.0.hex()) {
        None => findings.push(Finding::new(part(), Fault::Missing)),
        Some(got) if *got != want => {
            let got = *got;
            findings.push(Finding::new(part(), Fault::Length { want, got }));
        }
        Some(_) => {}
    }
}

fn fault(facts: &FileFacts, want: Option<u64>) -> Option<Fault> {
    match facts {
        FileFacts::Missing => Some(Fault::Missing),
        FileFacts::Unreadable(why) => Some(Fault::Unreadable(why.clone())),
        FileFacts::File { len, .. } if want.is_some_and(|want| want != *len) => {
            let (want, got) = (want.unwrap_or_default(), *len);
            Some(Fault::Length { want, got })
        }
        FileFacts::File { len: 0, .. } if want.is_none() => {
            Some(Fault::Damaged("it is empty".to_owned()))
        }
        FileFacts::File { hole, .. } => hole.map(|at| Fault::Hole { at }),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use lapstrake_oci::Algorithm;

    use super::super::FoundLayer;
    use super::*;
    use crate::index::IndexStamp;

    fn id() -> DiffId {
        DiffId(Algorithm::Sha256.digest(b"layer"))
    }

    fn digest(text: &str) -> Digest {
        Algorithm::Sha256.digest(text.as_bytes())
    }

    fn app() -> Part {
        Part::Image("app".to_owned())
    }

    fn file(len: u64) -> FileFacts {
        FileFacts::File { len, hole: None }
    }

    /// A store with one image of one layer, in order.
    fn sound() -> (Facts, Wanted) {
        let found = FoundLayer {
            data: file(4096),
            skeleton: file(100),
            spans: file(100),
        };
        let record = LayerRecord {
            diff_id: id(),
            tar_len: 10_240,
            data_len: 4096,
            index: IndexStamp {
                len: 8192,
                blake3: "00".to_owned(),
            },
            state: LayerState::Proved,
        };
        let facts = Facts {
            images: Vec::new(),
            claims: Vec::new(),
            records: vec![record],
            sourced: [id()].into(),
            layers: [(id(), found)].into(),
            blobs: [(digest("manifest"), 8), (digest("config"), 6)].into(),
            indexes: [(id().0.hex().to_owned(), 8192)].into(),
            strays: Vec::new(),
        };
        let wanted = Wanted {
            blobs: [
                (digest("manifest"), (app(), None)),
                (digest("config"), (app(), Some(6))),
            ]
            .into(),
            layers: [(id(), app())].into(),
        };
        (facts, wanted)
    }

    /// What is found after `change`, as people read it.
    #[track_caller]
    fn check(change: impl FnOnce(&mut Facts), expected: &[&str]) {
        let (mut facts, wanted) = sound();
        change(&mut facts);
        let short = |finding: &Finding| {
            let text = finding.to_string();
            let text = text.replace(&id().to_string(), "L");
            let text = text.replace(&digest("manifest").to_string(), "M");
            text.replace(&digest("config").to_string(), "C")
        };
        let findings: Vec<_> = plan(&facts, &wanted).iter().map(short).collect();
        assert_eq!(findings, expected);
    }

    fn found(facts: &mut Facts) -> &mut FoundLayer {
        facts.layers.get_mut(&id()).unwrap()
    }

    #[test]
    fn a_sound_store_has_no_findings() {
        check(|_| {}, &[]);
    }

    #[test]
    fn files_are_compared_with_the_record() {
        check(
            |it| found(it).data = file(4095),
            &["data of layer L has 4095 bytes instead of 4096"],
        );
        check(
            |it| {
                found(it).data = FileFacts::File {
                    len: 4096,
                    hole: Some(512),
                }
            },
            &["data of layer L has a hole at byte 512"],
        );
        check(
            |it| found(it).skeleton = FileFacts::Missing,
            &["skeleton of layer L is missing"],
        );
        check(
            |it| found(it).spans = file(0),
            &["spans of layer L is damaged: it is empty"],
        );
        check(
            |it| found(it).data = FileFacts::Unreadable("it is not a file".to_owned()),
            &["data of layer L cannot be read: it is not a file"],
        );
        check(|it| it.layers.clear(), &["layer L is missing"]);
        check(|it| it.indexes.clear(), &["index of layer L is missing"]);
        check(
            |it| it.indexes.values_mut().for_each(|len| *len = 1),
            &["index of layer L has 1 bytes instead of 8192"],
        );
    }

    #[test]
    fn a_layer_that_was_never_a_blob_needs_no_spans() {
        check(
            |it| {
                it.sourced.clear();
                found(it).spans = FileFacts::Missing;
            },
            &[],
        );
    }

    #[test]
    fn an_empty_layer_has_an_empty_data_file() {
        check(
            |it| {
                it.records[0].data_len = 0;
                found(it).data = file(0);
            },
            &[],
        );
    }

    #[test]
    fn what_a_name_needs_is_looked_for() {
        check(
            |it| {
                it.blobs.remove(&digest("config"));
            },
            &[
                "image app refers to blob C, which is not here",
                "blob C is missing",
            ],
        );
        check(
            |it| {
                it.blobs.insert(digest("config"), 5);
            },
            &["blob C has 5 bytes instead of 6"],
        );
        check(
            |it| {
                it.blobs.insert(digest("manifest"), 0);
            },
            &["blob M is damaged: it is empty, and no document is"],
        );
        check(
            |it| {
                it.records.clear();
                it.layers.clear();
                it.indexes.clear();
            },
            &["image app refers to layer L, which is not here"],
        );
        check(
            |it| {
                it.records.clear();
                it.indexes.clear();
            },
            &["record of layer L is missing"],
        );
    }

    #[test]
    fn what_nothing_needs_is_no_damage() {
        let (mut facts, _) = sound();
        facts.records.clear();
        facts.strays.push(PathBuf::from("/s/x"));
        let findings = plan(&facts, &Wanted::default());
        assert_eq!(findings.len(), 5);
        assert!(findings.iter().all(|finding| !finding.fault.is_damage()));
    }

    #[test]
    fn a_doubtful_layer_is_worth_a_look() {
        check(
            |it| it.records[0].state = LayerState::Doubtful,
            &["layer L was not known to be on disk before a crash"],
        );
    }
}
