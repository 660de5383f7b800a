//! Hard links: names of one file stay names of one file, and names of several stay apart.
//!
//! A layer can link only to what is in it. So a name that did not change is in the layer all the same if
//! it is one file with a name that did, or if the stack would tie it to a name that it is no longer
//! tied to.

use std::collections::{BTreeMap, BTreeSet};

use super::FileKind;
use super::merged::Identity;
use super::walk::Node;

/// Whether files that the layer must have, from where they are in the stack, have names that the walk did
/// not see. That is so where a directory was moved that had some of the names.
pub(super) fn reach_beyond(nodes: &[Node]) -> bool {
    let mut seen: BTreeMap<Identity, (u64, u64)> = BTreeMap::new();
    for node in nodes {
        if let Some(merge) = &node.merge
            && merge.kind != FileKind::Directory
            && matches!(merge.identity, Identity::Lower(_))
            && node.emit
        {
            seen.entry(merge.identity).or_insert((0, merge.links)).0 += 1;
        }
    }
    seen.values().any(|(names, links)| names < links)
}

/// Marks what must be in the layer for the sake of links.
pub(super) fn bring_together(nodes: &mut [Node]) {
    let files = files(nodes);
    // Whether every name is a node, as in a walk over a whole copy.
    let all_seen = nodes.iter().all(|node| node.seen_whole);
    loop {
        let before = count(nodes);
        together(nodes, &files);
        apart(nodes, &files, all_seen);
        if count(nodes) == before {
            return;
        }
    }
}

fn count(nodes: &[Node]) -> usize {
    nodes.iter().filter(|node| node.emit).count()
}

/// Positions of names that one inode has, for inodes that have or had more than one.
fn files(nodes: &[Node]) -> BTreeMap<Identity, Vec<usize>> {
    let mut files: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (at, node) in nodes.iter().enumerate() {
        if let Some(merge) = &node.merge
            && merge.kind != FileKind::Directory
            && (merge.links > 1 || node.base.is_some_and(|base| base.links > 1))
        {
            files.entry(merge.identity).or_default().push(at);
        }
    }
    files
}

/// If one name of a file is in the layer, all are.
fn together(nodes: &mut [Node], files: &BTreeMap<Identity, Vec<usize>>) {
    for names in files.values() {
        if names.iter().any(|at| nodes[*at].emit) {
            for at in names {
                nodes[*at].emit = true;
            }
        }
    }
}

/// Names that are left to the stack are tied there just as they are here.
fn apart(nodes: &mut [Node], files: &BTreeMap<Identity, Vec<usize>>, all_seen: bool) {
    // From a file of the stack to those that its names now are, and back.
    let mut below: BTreeMap<_, BTreeSet<Identity>> = BTreeMap::new();
    let mut above: BTreeMap<Identity, BTreeSet<_>> = BTreeMap::new();
    for (identity, names) in files {
        for at in names {
            let node = &nodes[*at];
            let Some(base) = node.base.filter(|_| !node.emit) else {
                continue;
            };
            let bases = below.entry(base.id).or_default();
            bases.insert(*identity);
            if !all_seen && matches!(identity, Identity::Upper(_)) && base.links > 1 {
                // Other names of the file below were not looked at; they still are that file.
                bases.insert(Identity::Lower(base.id));
            }
            above.entry(*identity).or_default().insert(base.id);
        }
    }
    for (identity, names) in files {
        for at in names {
            let node = &mut nodes[*at];
            let Some(base) = node.base.filter(|_| !node.emit) else {
                continue;
            };
            let several = |set: Option<usize>| set.is_some_and(|count| count > 1);
            node.emit = several(below.get(&base.id).map(BTreeSet::len))
                || several(above.get(identity).map(BTreeSet::len));
        }
    }
}
