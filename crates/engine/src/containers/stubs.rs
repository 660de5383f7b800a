//! Files that starting a container makes in its writable layer, for something to be mounted on.
//!
//! Docker has them in a layer of their own, below the container's changes. Here they are taken out of what changed:
//! neither `docker diff` nor a commit has them.

use std::collections::BTreeSet;

use lapstrake_tree::changes::{Change, ChangeKind, Changes, Entry, What};

/// What the engine mounts on.
const STUBS: [&str; 6] = [
    "dev",
    "etc/hostname",
    "etc/hosts",
    "etc/resolv.conf",
    "proc",
    "sys",
];
const PARENT: &str = "etc";

/// Takes stubs out of what changed, and their directory out of the list if nothing else in it did. In the layer it
/// stays: its attributes may have been changed.
pub(super) fn hide(changes: &mut Changes) {
    let stubs: BTreeSet<_> = stubs(&changes.entries).cloned().collect();
    let is_stub =
        |change: &Change| change.kind == ChangeKind::Added && stubs.contains(&change.path);
    let below = |change: &Change| change.path.starts_with(b"etc/");
    let made_some = (changes.list.iter()).any(|change| is_stub(change) && below(change));
    let shown = (changes.list.iter()).filter(|change| is_stub(change));
    let shown: BTreeSet<_> = shown.map(|change| change.path.clone()).collect();
    changes.entries.retain(|entry| !shown.contains(&entry.path));
    changes.list.retain(|change| !is_stub(change));
    if made_some && !changes.list.iter().any(below) {
        let is_parent = |change: &Change| {
            change.kind != ChangeKind::Deleted && PARENT.as_bytes() == &*change.path
        };
        changes.list.retain(|change| !is_parent(change));
    }
}

/// What the engine mounts on, and nobody filled.
fn stubs(entries: &[Entry]) -> impl Iterator<Item = &Box<[u8]>> {
    let named = entries
        .iter()
        .filter(|entry| STUBS.iter().any(|stub| stub.as_bytes() == &*entry.path));
    let empty = named.filter(move |entry| match &entry.what {
        What::File { size, .. } => *size == 0,
        What::Directory { .. } => !entries
            .iter()
            .any(|other| is_below(&other.path, &entry.path)),
        What::Whiteout | What::Other { .. } | What::HardLink { .. } => false,
    });
    empty.map(|entry| &entry.path)
}

fn is_below(path: &[u8], dir: &[u8]) -> bool {
    let rest = path.strip_prefix(dir);
    rest.is_some_and(|rest| rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use lapstrake_tree::changes::Place;
    use lapstrake_tree::model::{Metadata, Timestamp, Xattrs};

    use super::*;

    use ChangeKind::{Added, Deleted, Modified};

    fn plain() -> Metadata {
        Metadata {
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: Timestamp {
                seconds: 0,
                nanoseconds: 0,
            },
            xattrs: Xattrs::default(),
        }
    }

    /// Of each path what is in it: `/` for a directory, else the size of a file.
    fn check(list: &[(ChangeKind, &str, &str)], left: &[&str], in_layer: &[&str]) {
        let entry = |path: &str, what: &str| Entry {
            path: path.as_bytes().into(),
            what: match what {
                "/" => What::Directory {
                    metadata: plain(),
                    opaque: false,
                },
                size => What::File {
                    metadata: plain(),
                    size: size.parse().unwrap(),
                    bytes: Place::Upper(path.as_bytes().into()),
                },
            },
        };
        let mut changes = Changes {
            entries: (list.iter())
                .map(|(_, path, what)| entry(path, what))
                .collect(),
            list: (list.iter())
                .map(|(kind, path, _)| Change {
                    path: path.as_bytes().into(),
                    kind: *kind,
                })
                .collect(),
            ..Changes::default()
        };
        hide(&mut changes);
        let text = |path: &[u8]| String::from_utf8(path.to_vec()).unwrap();
        let paths: Vec<_> = changes
            .list
            .iter()
            .map(|change| text(&change.path))
            .collect();
        assert_eq!(paths, left);
        let paths: Vec<_> = changes
            .entries
            .iter()
            .map(|entry| text(&entry.path))
            .collect();
        assert_eq!(paths, in_layer);
    }

    #[test]
    fn only_what_the_engine_made_is_hidden() {
        let etc = (Modified, "etc", "/");
        let hosts = (Added, "etc/hosts", "0");
        check(&[etc, hosts, (Added, "x", "0")], &["x"], &["etc", "x"]);
        check(
            &[etc, hosts, (Added, "etc/own", "0")],
            &["etc", "etc/own"],
            &["etc", "etc/own"],
        );
        check(&[(Added, "dev", "/"), etc], &["etc"], &["etc"]);
        check(&[etc, hosts], &[], &["etc"]);
        check(&[etc], &["etc"], &["etc"]);
        check(&[(Deleted, "etc", "0")], &["etc"], &["etc"]);
    }

    #[test]
    fn what_somebody_filled_is_not_hidden() {
        let filled = [
            (Modified, "etc", "/"),
            (Added, "etc/hosts", "9"),
            (Added, "dev", "/"),
            (Added, "dev/own", "0"),
        ];
        let all = ["etc", "etc/hosts", "dev", "dev/own"];
        check(&filled, &all, &all);
        let written = [(Modified, "etc", "/"), (Modified, "etc/hosts", "0")];
        check(&written, &["etc", "etc/hosts"], &["etc", "etc/hosts"]);
    }
}
