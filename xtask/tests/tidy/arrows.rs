//! Which crate is built on which. A new arrow is a decision: it is made here.

use std::collections::{BTreeMap, BTreeSet};

use crate::metadata::Metadata;

/// From the kernel up, as in `ARCHITECTURE.md`.
const ARROWS: &[(&str, &[&str])] = &[
    ("oci", &[]),
    ("sys", &[]),
    ("tree", &[]),
    ("erofs", &["tree"]),
    ("distribution", &["oci"]),
    ("store", &["oci", "sys"]),
    ("fill", &["oci", "sys", "tree"]),
    ("snapshot", &["oci", "sys", "tree"]),
    ("drivers", &["oci", "snapshot", "sys", "tree"]),
    ("container", &["oci", "sys", "tree"]),
    ("monitor", &["sys"]),
    ("bridge", &[]),
    ("registry-client", &["bridge", "distribution", "oci"]),
    (
        "transfer",
        &[
            "bridge",
            "erofs",
            "fill",
            "oci",
            "registry-client",
            "store",
            "tree",
        ],
    ),
    (
        "engine",
        &[
            "bridge",
            "container",
            "drivers",
            "monitor",
            "oci",
            "registry-client",
            "snapshot",
            "store",
            "sys",
            "transfer",
            "tree",
        ],
    ),
    ("api", &["bridge", "engine", "oci"]),
    ("cli", &["api", "engine", "oci"]),
    (
        "testkit",
        &["erofs", "oci", "snapshot", "store", "sys", "tree"],
    ),
    ("xtask", &["oci", "snapshot", "testkit"]),
];

/// Disks block: these crates are plain threads.
const BELOW_THE_LINE: &[&str] = &[
    "sys",
    "oci",
    "tree",
    "erofs",
    "store",
    "fill",
    "snapshot",
    "drivers",
    "container",
    "monitor",
    "distribution",
];

#[test]
fn arrows_between_crates_are_those_of_the_table() {
    let table = ARROWS.iter().map(|(from, to)| {
        (
            (*from).to_owned(),
            to.iter()
                .map(|to| (*to).to_owned())
                .collect::<BTreeSet<_>>(),
        )
    });
    let table = table.collect::<BTreeMap<_, _>>();
    let real = Metadata::load().arrows();
    let mut differences = Vec::new();
    for name in table.keys().chain(real.keys()).collect::<BTreeSet<_>>() {
        if table.get(name) != real.get(name) {
            let (table, real) = (table.get(name), real.get(name));
            differences.push(format!(
                "{name}: the table says {table:?}, Cargo.toml {real:?}"
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn no_tokio_below_the_line() {
    let metadata = Metadata::load();
    let mut with_tokio = BELOW_THE_LINE.to_vec();
    with_tokio.retain(|name| metadata.everything_below(name).contains("tokio"));
    assert_eq!(with_tokio, [""; 0]);
}
