//! What every source file has, and what none may say.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::files::repository;

/// Every Rust file below `dir`.
fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn crate_dirs() -> Vec<PathBuf> {
    let crates = repository().join("crates");
    let mut dirs = fs::read_dir(crates)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut dirs = dirs
        .by_ref()
        .filter(|dir| dir.join("Cargo.toml").is_file())
        .collect::<Vec<_>>();
    dirs.push(repository().join("xtask"));
    dirs
}

fn all_sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for dir in crate_dirs() {
        rust_files(&dir, &mut found);
    }
    assert!(found.len() > 20, "only {} sources found", found.len());
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(repository())
        .unwrap()
        .display()
        .to_string()
}

/// The files for which `broken` is true must be none.
fn none_of(files: &[PathBuf], rule: &str, broken: impl Fn(&Path, &str) -> bool) {
    let mut offenders = files.to_vec();
    offenders.retain(|path| broken(path, &fs::read_to_string(path).unwrap()));
    let offenders = offenders
        .iter()
        .map(|path| relative(path))
        .collect::<Vec<_>>();
    assert!(offenders.is_empty(), "{rule}: {}", offenders.join(", "));
}

#[test]
fn every_module_begins_with_its_doc() {
    none_of(&all_sources(), "no module doc in", |_, text| {
        !text.starts_with("//!")
    });
}

#[test]
fn every_root_but_sys_forbids_unsafe() {
    let mut roots = Vec::new();
    for dir in crate_dirs() {
        let files = ["src/lib.rs", "src/main.rs"].map(|root| dir.join(root));
        roots.extend(files.into_iter().filter(|path| path.is_file()));
    }
    none_of(&roots, "no `forbid(unsafe_code)` in", |path, text| {
        !text.contains("#![forbid(unsafe_code)]") && !relative(path).starts_with("crates/sys/")
    });
}

#[test]
fn only_tree_knows_the_names_of_whiteouts() {
    let name = concat!(".w", "h.");
    none_of(&all_sources(), "whiteout names in", |path, text| {
        let path = relative(path);
        // Tests and the image maker write layers; they must spell the names that `tree` reads.
        let exempt = ["crates/tree/", "crates/testkit/", "xtask/"];
        let is_test = path.contains("/tests/") || path.ends_with("tests.rs");
        let product = text.split("#[cfg(test)]").next().unwrap_or_default();
        !is_test && !exempt.iter().any(|dir| path.starts_with(dir)) && product.contains(name)
    });
}

#[test]
fn nothing_committed_names_a_developers_machine() {
    let listed = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(repository())
        .output();
    let Some(listed) = listed.ok().filter(|output| output.status.success()) else {
        eprintln!("SKIPPED: this is no git checkout");
        return;
    };
    let places = [concat!("/wo", "rk/"), concat!("/var/", "tmp/w")];
    let mut offenders = Vec::new();
    for name in String::from_utf8(listed.stdout)
        .unwrap()
        .split_terminator('\0')
    {
        // Files of other kinds than text, or deleted since, say nothing.
        let Ok(text) = fs::read_to_string(repository().join(name)) else {
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            if places.iter().any(|place| names_absolute(line, place)) {
                offenders.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(
        offenders.is_empty(),
        "paths of one machine:\n{}",
        offenders.join("\n")
    );
}

/// Whether `place` stands in `line` as an absolute path, not as the end of another.
fn names_absolute(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| c.is_whitespace() || "\"'`(=:<,".contains(c))
    })
}
