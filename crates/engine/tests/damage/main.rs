//! Damage at random: every file of a store, changed in every way, is found, and repaired or named;
//! nothing damaged is ever served.
#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene fails")]
#![expect(clippy::disallowed_methods, reason = "nothing here has to last")]

mod harm;
mod mounted;
mod scene;

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use harm::Harm;
use lapstrake_engine::{CheckReport, Mended, Part, Verdict};
use scene::Scene;

/// Does harm with these seeds, repairs without and with a source, and looks at what is served.
fn check(seeds: std::ops::Range<u64>, has_source: bool) {
    let scene = Scene::new();
    for seed in seeds {
        let files = scene.files();
        let harm = Harm::choose(seed, &files);
        scene.restore();
        if !harm.apply(scene.root()) {
            // The file is as it was: zeros over zeros, say.
            continue;
        }
        scene.hide_the_hand();
        let told = |report: &dyn std::fmt::Debug| format!("seed {seed}: {harm:?}: {report:#?}");
        let found = match scene.check() {
            Ok(found) => found,
            Err(error) => {
                // A store that may be of a newer version is refused with words, and left alone.
                assert!(harm.is_of("format.json"), "{}", told(&error));
                continue;
            }
        };
        if found.verdict() == Verdict::Sound {
            // Damage that changes nothing is none.
            let may_be = harm.is_of("state.db.seal") || harm.is_of("format.json");
            assert!(may_be, "{}", told(&found));
            assert_eq!(&scene.records(), scene.records_before(), "{}", told(&found));
            continue;
        }
        let repaired = scene.repair(has_source);
        assert_ne!(repaired.verdict(), Verdict::Sound, "{}", told(&repaired));
        scene.assert_nothing_damaged_is_served(&told(&repaired));
        let may_be_left = !has_source || lost_names(&repaired);
        if !may_be_left || repaired.verdict() == Verdict::Repaired {
            assert_eq!(repaired.verdict(), Verdict::Repaired, "{}", told(&repaired));
            scene.assert_whole(&told(&repaired));
            continue;
        }
        // With a source again, everything comes back.
        let again = scene.repair(true);
        scene.pull();
        let sound = scene.check().unwrap();
        assert_eq!(
            sound.verdict(),
            Verdict::Sound,
            "{}{sound:#?}",
            told(&again)
        );
        scene.assert_whole(&told(&again));
    }
}

fn lost_names(report: &CheckReport) -> bool {
    let mut left = report.left.iter();
    left.any(|finding| matches!(finding.part, Part::Database(_)))
}

/// Harms in a test: several tests run side by side.
const HARMS: u64 = 50;

macro_rules! harms {
    ($($name:ident $part:literal $has_source:literal;)*) => {
        $(
            #[test]
            fn $name() {
                check($part * HARMS..($part + 1) * HARMS, $has_source);
            }
        )*
    };
}

harms! {
    random_damage_with_a_source_is_repaired_0 0 true;
    random_damage_with_a_source_is_repaired_1 1 true;
    random_damage_with_a_source_is_repaired_2 2 true;
    random_damage_with_a_source_is_repaired_3 3 true;
    random_damage_with_a_source_is_repaired_4 4 true;
    random_damage_without_a_source_is_never_served_5 5 false;
    random_damage_without_a_source_is_never_served_6 6 false;
    random_damage_without_a_source_is_never_served_7 7 false;
    random_damage_without_a_source_is_never_served_8 8 false;
    random_damage_without_a_source_is_never_served_9 9 false;
}

/// Does one thing by hand, repairs it with a source, and expects all to be as it was.
#[track_caller]
fn check_one(harm: impl FnOnce(&Path)) -> CheckReport {
    let scene = Scene::new();
    scene.restore();
    harm(scene.root());
    let repaired = scene.repair(true);
    let told = format!("{repaired:#?}");
    scene.assert_nothing_damaged_is_served(&told);
    if !lost_names(&repaired) {
        assert_eq!(repaired.verdict(), Verdict::Repaired, "{told}");
        scene.assert_whole(&told);
    }
    repaired
}

fn remove(root: &Path, name: &str) {
    let path = root.join(name);
    if path.is_dir() {
        std::fs::remove_dir_all(path).unwrap();
    } else {
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_missing_directory_comes_back() {
    for name in ["content/layers", "content/blobs", "state/index"] {
        check_one(|root| remove(root, name));
    }
}

#[test]
fn a_lost_database_is_made_anew_and_says_what_is_lost() {
    let repaired = check_one(|root| remove(root, "state/state.db"));
    // There was a copy.
    assert_eq!(repaired.verdict(), Verdict::Repaired);
    let repaired = check_one(|root| {
        remove(root, "state/state.db");
        remove(root, "state/state.db.kept");
    });
    assert_eq!(repaired.verdict(), Verdict::Damaged);
    let done: Vec<_> = repaired.repairs.iter().map(|it| &it.1.done).collect();
    assert!(done[0][0].contains("names of images"), "{done:?}");
}

#[test]
fn a_source_that_lies_is_not_believed() {
    let scene = Scene::new();
    let data = scene.big_data();
    let file = std::fs::File::options().write(true).open(&data).unwrap();
    file.write_all_at(b"wrong", 10).unwrap();
    scene.lie(20);
    let left = scene.repair(true);
    assert_eq!(left.verdict(), Verdict::Damaged, "{left:#?}");
    assert!(!data.exists());
    let Mended { failures, .. } = &left.repairs[0].1;
    assert!(
        failures.iter().any(|why| why.contains("digest")),
        "{failures:?}"
    );
}

#[test]
fn a_scrub_reads_what_is_due_and_repairs_it() {
    let scene = Scene::new();
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let first = scene.scrub(at(100), at(100));
    assert_eq!((first.layers, first.verdict()), (3, Verdict::Sound));
    let again = scene.scrub(at(100), at(150));
    assert_eq!(again.layers, 0);
    let file = std::fs::File::options().write(true).open(scene.big_data());
    file.unwrap().write_all_at(b"wrong", 10).unwrap();
    let found = scene.scrub(at(200), at(200));
    assert_eq!((found.layers, found.verdict()), (3, Verdict::Repaired));
    scene.assert_whole(&format!("{found:#?}"));
}
