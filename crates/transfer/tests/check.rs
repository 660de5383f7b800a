//! Damage of every kind, and what a check says of it.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure is the test's"
)]

mod shared;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use lapstrake_store::check::{Finding, Part};
use lapstrake_transfer::check::{Checked, DamagedFiles, DeepOptions, Pace, damaged_files};
use lapstrake_transfer::check::{deep, quick};
use shared::Scene;

fn read_all(scene: &Scene) -> Checked {
    let store = scene.store();
    let options = DeepOptions {
        parallel: 2,
        pace: Pace::unlimited(),
    };
    deep(&store, &store.facts().unwrap(), &options, &|_event| {}).unwrap()
}

/// Changes one byte.
fn flip(path: &Path, at: u64) {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

fn parts(findings: &[Finding]) -> Vec<Part> {
    findings
        .iter()
        .map(|finding| finding.part.clone())
        .collect()
}

#[test]
fn a_sound_store_is_sound_both_ways() {
    let scene = Scene::pulled();
    assert_eq!(quick(&scene.store()).unwrap(), []);
    let checked = read_all(&scene);
    assert_eq!(checked.blobs, []);
    assert_eq!(checked.layers.len(), 3);
    for examined in checked.layers {
        assert_eq!(examined.findings, []);
    }
}

/// Damages a file of the first layer; a deep check must find that part, and only it.
#[track_caller]
fn check(damage: impl FnOnce(&Scene), part: Part, served: bool, files: &DamagedFiles) {
    let scene = Scene::pulled();
    damage(&scene);
    let checked = read_all(&scene);
    let id = scene.id(0);
    let found: Vec<_> = checked
        .layers
        .iter()
        .flat_map(|examined| parts(&examined.findings))
        .collect();
    assert_eq!(found, [part]);
    let examined = checked.layers.iter().find(|layer| layer.id == id).unwrap();
    assert_eq!(examined.why_not_served().is_none(), served);
    let store = scene.store();
    let stamp = store.state().layer(&id).unwrap().unwrap().index;
    assert_eq!(damaged_files(&store, examined, Some(&stamp)), *files);
}

fn these(paths: &[&str]) -> DamagedFiles {
    DamagedFiles::These(paths.iter().map(ToString::to_string).collect())
}

fn any_of(paths: &[&str]) -> DamagedFiles {
    DamagedFiles::AnyOf(paths.iter().map(ToString::to_string).collect())
}

const FILES: [&str; 3] = ["/big", "/dir/other", "/small"];

#[test]
fn a_wrong_bit_is_told_by_file() {
    let id = Scene::pulled().id(0);
    check(
        |scene| flip(&scene.files(0).data, 3),
        Part::Data(id.clone()),
        false,
        &these(&["/big"]),
    );
    check(
        |scene| flip(&scene.files(0).data, scene.data_of("/dir/other")),
        Part::Data(id.clone()),
        false,
        // A span has what lies next to it, too: nobody knows which of its bytes it is.
        &these(&FILES),
    );
    check(
        |scene| flip(&scene.files(0).skeleton, 70),
        Part::Skeleton(id.clone()),
        false,
        &any_of(&FILES),
    );
    check(
        |scene| flip(&scene.files(0).spans, 90),
        Part::Spans(id.clone()),
        true,
        &these(&[]),
    );
    check(
        |scene| flip(&scene.index(0), 1300),
        Part::Index(id),
        true,
        &these(&[]),
    );
}

#[test]
fn bytes_after_the_end_of_a_file_are_damage_too() {
    let id = Scene::pulled().id(0);
    check(
        |scene| flip(&scene.files(0).data, scene.data_of("/small") + 100),
        Part::Data(id),
        false,
        &these(&["/small"]),
    );
}

#[test]
fn what_is_gone_is_told() {
    let id = Scene::pulled().id(0);
    check(
        |scene| fs::remove_file(scene.files(0).data).unwrap(),
        Part::Data(id.clone()),
        false,
        &any_of(&FILES),
    );
    check(
        |scene| fs::remove_file(scene.files(0).skeleton).unwrap(),
        Part::Skeleton(id),
        false,
        &any_of(&FILES),
    );
}

#[test]
fn a_damaged_document_is_told() {
    let scene = Scene::pulled();
    let digest = scene.image.config.digest.clone();
    flip(&scene.blob(&digest), 5);
    assert_eq!(parts(&read_all(&scene).blobs), [Part::Blob(digest.clone())]);
    assert_eq!(parts(&quick(&scene.store()).unwrap()), [Part::Blob(digest)]);
}
