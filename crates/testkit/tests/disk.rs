//! What a disk that loses power may have kept.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure is the test's"
)]

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use lapstrake_store::{Commit, Disk};
use lapstrake_testkit::disk::{CrashDisk, Loss};

/// Every state that the last cut of some steps may leave: names, with what is in the files.
fn states(steps: impl FnOnce(&CrashDisk, &Path)) -> BTreeSet<String> {
    let base = tempfile::tempdir().unwrap();
    let disk = CrashDisk::over(base.path());
    steps(&disk, base.path());
    let cut = disk.cuts().pop().unwrap();
    let losses = Loss::plain().into_iter().chain((0..60).map(Loss::random));
    let state = |loss| {
        let left = tempfile::tempdir().unwrap();
        cut.write_to(left.path(), &loss);
        let mut found = Vec::new();
        list(left.path(), "", &mut found);
        found.sort();
        found.join(" ")
    };
    losses.map(state).collect()
}

fn list(dir: &Path, prefix: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            found.push(format!("{name}/"));
            list(&entry.path(), &format!("{name}/"), found);
        } else {
            let bytes = std::fs::read(entry.path()).unwrap();
            found.push(format!("{name}={}", String::from_utf8_lossy(&bytes)));
        }
    }
}

#[track_caller]
fn check(steps: impl FnOnce(&CrashDisk, &Path), want: &[&str]) {
    let want = want.iter().map(|state| (*state).to_owned()).collect();
    assert_eq!(states(steps), want);
}

fn create(disk: &CrashDisk, path: &Path, text: &str) -> File {
    let mut file = disk.create(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[test]
fn what_was_synced_with_its_name_is_there() {
    let steps = |disk: &CrashDisk, base: &Path| {
        let file = create(disk, &base.join("a"), "1");
        disk.sync_file(&file).unwrap();
        disk.sync_dir(base).unwrap();
    };
    check(steps, &["a=1"]);
}

#[test]
fn a_file_that_was_synced_may_have_no_name() {
    let steps = |disk: &CrashDisk, base: &Path| {
        disk.sync_file(&create(disk, &base.join("a"), "1")).unwrap();
    };
    check(steps, &["", "a=1"]);
}

#[test]
fn bytes_that_were_not_synced_are_there_or_missing_or_zeros() {
    let steps = |disk: &CrashDisk, base: &Path| {
        create(disk, &base.join("a"), "1");
        disk.sync_dir(base).unwrap();
    };
    check(steps, &["a=", "a=1", "a=\0"]);
}

#[test]
fn bytes_behind_those_that_were_synced_may_be_lost_and_those_stay() {
    let steps = |disk: &CrashDisk, base: &Path| {
        let mut file = create(disk, &base.join("a"), "1");
        disk.sync_file(&file).unwrap();
        disk.sync_dir(base).unwrap();
        file.write_all(b"2").unwrap();
        // Bytes are looked at after each step.
        disk.sync_dir(base).unwrap();
    };
    check(steps, &["a=1", "a=12", "a=1\0"]);
}

#[test]
fn names_change_in_any_order_until_their_directory_is_synced() {
    let steps = |disk: &CrashDisk, base: &Path| {
        for name in ["a", "b"] {
            disk.make_dir(&base.join(name)).unwrap();
        }
    };
    check(steps, &["", "a/", "b/", "a/ b/"]);
}

#[test]
fn a_directory_that_moved_is_in_one_place() {
    let steps = |disk: &CrashDisk, base: &Path| {
        disk.make_dir(&base.join("a")).unwrap();
        disk.rename_new(&base.join("a"), &base.join("b")).unwrap();
    };
    check(steps, &["", "a/", "b/"]);
}

#[test]
fn a_synced_directory_takes_along_what_its_names_rest_on() {
    let steps = |disk: &CrashDisk, base: &Path| {
        disk.make_dir(&base.join("from")).unwrap();
        disk.make_dir(&base.join("to")).unwrap();
        disk.sync_dir(base).unwrap();
        create(disk, &base.join("from/a"), "");
        disk.rename_new(&base.join("from/a"), &base.join("to/b"))
            .unwrap();
        disk.sync_dir(&base.join("to")).unwrap();
    };
    check(steps, &["from/ to/ to/b="]);
}

#[test]
fn a_file_that_was_replaced_is_the_old_one_or_the_new_one() {
    let steps = |disk: &CrashDisk, base: &Path| {
        for name in ["a", "b"] {
            disk.sync_file(&create(disk, &base.join(name), name))
                .unwrap();
        }
        disk.sync_dir(base).unwrap();
        disk.replace(&base.join("b"), &base.join("a")).unwrap();
    };
    check(steps, &["a=a b=b", "a=b"]);
}

#[test]
fn a_removal_may_not_have_happened() {
    let steps = |disk: &CrashDisk, base: &Path| {
        disk.sync_file(&create(disk, &base.join("a"), "1")).unwrap();
        disk.sync_dir(base).unwrap();
        disk.remove_file(&base.join("a")).unwrap();
    };
    check(steps, &["", "a=1"]);
}

#[test]
fn commits_are_lost_from_the_end_down_to_the_last_synced_one() {
    let steps = |disk: &CrashDisk, base: &Path| {
        let path = base.join("db");
        let mut database = File::create(&path).unwrap();
        let commits = [
            ("0", Commit::Lazy),
            ("1", Commit::Synced),
            ("2", Commit::Lazy),
        ];
        for (text, commit) in commits {
            database.write_all(text.as_bytes()).unwrap();
            disk.committed(&path, commit).unwrap();
        }
    };
    check(steps, &["db-wal= db=01", "db-wal= db=012"]);
}

#[test]
fn each_step_is_a_cut_and_the_first_cut_is_before_them_all() {
    let base = tempfile::tempdir().unwrap();
    let disk = CrashDisk::over(base.path());
    disk.make_dir(&base.path().join("a")).unwrap();
    disk.sync_dir(base.path()).unwrap();
    let after: Vec<_> = disk.cuts().into_iter().map(|cut| cut.after).collect();
    assert_eq!(
        after,
        ["nothing", "make the directory a", "sync the directory "]
    );
    assert_eq!(disk.steps(), 2);
}
