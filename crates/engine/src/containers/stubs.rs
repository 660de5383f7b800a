//! Files that starting a container makes in its writable layer, for something to be mounted on.
//!
//! Docker has them in a layer of their own, below the container's changes. Here they are hidden from the list of
//! changes; in a commit they are empty files, which mean nothing.

use lapstrake_tree::changes::{Change, ChangeKind};

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

/// Takes stubs out of a list, and their directory if nothing else in it changed.
pub(super) fn hide(list: &mut Vec<Change>) {
    let is_stub = |change: &Change| {
        change.kind == ChangeKind::Added
            && STUBS.iter().any(|stub| stub.as_bytes() == &*change.path)
    };
    let below = |change: &Change| change.path.starts_with(b"etc/");
    let made_some = list.iter().any(|change| is_stub(change) && below(change));
    list.retain(|change| !is_stub(change));
    if made_some && !list.iter().any(below) {
        let is_parent = |change: &Change| {
            change.kind != ChangeKind::Deleted && PARENT.as_bytes() == &*change.path
        };
        list.retain(|change| !is_parent(change));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(list: &[(ChangeKind, &str)], left: &[&str]) {
        let changes = list.iter().map(|(kind, path)| Change {
            path: path.as_bytes().into(),
            kind: *kind,
        });
        let mut changes: Vec<_> = changes.collect();
        hide(&mut changes);
        let paths = changes
            .iter()
            .map(|change| String::from_utf8_lossy(&change.path));
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
        check(
            &[(Modified, "etc"), (Modified, "etc/hosts")],
            &["etc", "etc/hosts"],
        );
        check(&[(Modified, "etc")], &["etc"]);
        check(&[(Deleted, "etc")], &["etc"]);
    }
}
