//! Files that starting a container makes in its writable layer, for something to be mounted on.
//!
//! Docker has them in a layer of their own, below the container's changes. Here they are taken out of what changed:
//! neither `docker diff` nor a commit has them.

use std::collections::BTreeSet;

use lapstrake_tree::changes::{Change, ChangeKind, Changes};

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

/// Takes stubs out of what changed, and their directory if nothing else in it did.
pub(super) fn hide(changes: &mut Changes) {
    let hidden = hidden(&changes.list);
    changes.list.retain(|change| !hidden.contains(&change.path));
    changes
        .entries
        .retain(|entry| !hidden.contains(&entry.path));
    if changes.list.is_empty() {
        // What is left is what stubs lay in.
        changes.entries.clear();
    }
}

fn hidden(list: &[Change]) -> BTreeSet<Box<[u8]>> {
    let is_stub = |change: &Change| {
        change.kind == ChangeKind::Added
            && STUBS.iter().any(|stub| stub.as_bytes() == &*change.path)
    };
    let below = |change: &&Change| change.path.starts_with(b"etc/");
    let (stubs, rest): (Vec<_>, Vec<_>) = list.iter().partition(|change| is_stub(change));
    let mut hidden: BTreeSet<_> = stubs.iter().map(|change| change.path.clone()).collect();
    if stubs.iter().any(below) && !rest.iter().any(below) {
        let is_parent = |change: &&&Change| {
            change.kind != ChangeKind::Deleted && PARENT.as_bytes() == &*change.path
        };
        hidden.extend(
            rest.iter()
                .filter(is_parent)
                .map(|change| change.path.clone()),
        );
    }
    hidden
}

#[cfg(test)]
mod tests {
    use lapstrake_tree::changes::{Entry, What};

    use super::*;

    fn check(list: &[(ChangeKind, &str)], left: &[&str]) {
        let changes = list.iter().map(|(kind, path)| Change {
            path: path.as_bytes().into(),
            kind: *kind,
        });
        let list: Vec<_> = changes.collect();
        // A layer has the directories of what changed, too.
        let paths = [Box::default()].into_iter();
        let paths = paths.chain(list.iter().map(|change| change.path.clone()));
        let entries = paths.map(|path| Entry {
            path,
            what: What::Whiteout,
        });
        let mut changes = Changes {
            entries: entries.collect(),
            list,
            ..Changes::default()
        };
        hide(&mut changes);
        let of_layer = if left.is_empty() { 0 } else { left.len() + 1 };
        assert_eq!(changes.entries.len(), of_layer);
        let paths = (changes.list.iter()).map(|change| String::from_utf8_lossy(&change.path));
        assert_eq!(paths.collect::<Vec<_>>(), left);
    }

    #[test]
    fn only_what_the_engine_made_is_hidden() {
        use ChangeKind::{Added, Deleted, Modified};
        check(
            &[(Modified, "etc"), (Added, "etc/hosts"), (Added, "x")],
            &["x"],
        );
        check(
            &[(Modified, "etc"), (Added, "etc/hosts"), (Added, "etc/own")],
            &["etc", "etc/own"],
        );
        check(&[(Added, "dev"), (Modified, "etc")], &["etc"]);
        check(&[(Modified, "etc"), (Added, "etc/hosts")], &[]);
        check(
            &[(Modified, "etc"), (Modified, "etc/hosts")],
            &["etc", "etc/hosts"],
        );
        check(&[(Modified, "etc")], &["etc"]);
        check(&[(Deleted, "etc")], &["etc"]);
    }
}
