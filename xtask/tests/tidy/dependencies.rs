//! What we depend on: licences, registries, and one version of each.

use std::collections::BTreeMap;

use crate::metadata::{Metadata, Package};

/// Licences that go with Apache-2.0 in a binary.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "bzip2-1.0.6",
];

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Packages of which several versions are built, and why that is borne.
const SEVERAL_VERSIONS: &[(&str, &str)] = &[
    (
        "getrandom",
        "ring stays with 0.2 while everything else has moved on",
    ),
    (
        "syn",
        "derive macros move from 2 to 3 one by one; neither is in our binary",
    ),
];

fn others() -> Vec<Package> {
    let packages = Metadata::load().packages();
    packages
        .into_iter()
        .filter(|package| package.source.is_some())
        .collect()
}

#[test]
fn every_dependency_comes_from_the_registry() {
    let mut strange = others();
    strange.retain(|package| package.source.as_deref() != Some(REGISTRY));
    let strange = strange
        .iter()
        .map(|package| package.name.as_str())
        .collect::<Vec<_>>();
    assert_eq!(strange, [""; 0]);
}

#[test]
fn every_dependency_has_a_licence_that_we_may_use() {
    let mut refused = Vec::new();
    for package in others() {
        let licence = package.license.unwrap_or_default();
        if !allowed(&licence) {
            refused.push(format!("{} {}: {licence:?}", package.name, package.version));
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn every_dependency_is_built_once() {
    let mut versions = BTreeMap::<String, Vec<String>>::new();
    for package in others() {
        versions
            .entry(package.name)
            .or_default()
            .push(package.version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    for (name, why) in SEVERAL_VERSIONS {
        assert!(
            versions.remove(*name).is_some(),
            "{name} is listed for nothing ({why})"
        );
    }
    assert!(
        versions.is_empty(),
        "several versions, and no reason given: {versions:?}"
    );
}

/// Whether an SPDX expression can be met. `/` is how old manifests said OR.
fn allowed(expression: &str) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut words = spaced
        .split_whitespace()
        .collect::<Vec<_>>()
        .into_iter()
        .peekable();
    any(&mut words) && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::vec::IntoIter<&'a str>>;

fn any(words: &mut Words<'_>) -> bool {
    let mut met = all(words);
    while words.next_if_eq(&"OR").is_some() {
        met |= all(words);
    }
    met
}

fn all(words: &mut Words<'_>) -> bool {
    let mut met = one(words);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words);
    }
    met
}

fn one(words: &mut Words<'_>) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let met = any(words);
        return words.next() == Some(")") && met;
    }
    let mut name = words.next().unwrap_or_default().to_owned();
    if words.next_if_eq(&"WITH").is_some() {
        name = format!("{name} WITH {}", words.next().unwrap_or_default());
    }
    LICENCES.contains(&name.as_str())
}

#[test]
fn licence_expressions_are_understood() {
    for good in [
        "MIT",
        "MIT/Apache-2.0",
        "GPL-3.0 OR MIT",
        "(MIT OR GPL-2.0) AND ISC",
    ] {
        assert!(allowed(good), "{good}");
    }
    for bad in [
        "",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(MIT",
        "MIT MIT",
        "Apache-2.0 WITH other",
    ] {
        assert!(!allowed(bad), "{bad}");
    }
}
