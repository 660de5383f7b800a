//! From how names differ to what is in the layer, and in the list.

use std::collections::{BTreeMap, btree_map};

use super::merged::{Identity, Merge};
use super::walk::{Difference, Node};
use super::{Change, ChangeKind, Changes, Entry, FileKind, What};

/// What is known of a node once all below it is.
#[derive(Debug, Clone, Copy, Default)]
struct Below {
    /// Something in it is in the layer, or gone.
    emits: bool,
    /// Something in it is in the list.
    lists: bool,
    /// A name in it is gone.
    hides: bool,
    /// Something in it is left to the stack.
    relies: bool,
}

pub(super) fn decide(nodes: Vec<Node>) -> Changes {
    let below = from_below(&nodes);
    let opaque = opaque(&nodes, &below);
    let mut changes = Changes::default();
    let mut first_names: BTreeMap<_, Box<[u8]>> = BTreeMap::new();
    for (at, node) in nodes.into_iter().enumerate() {
        changes.list.extend(change(at, &node, below[at]));
        // In an opaque directory, or below one, there is nothing to hide.
        if node.is_gone() && !opaque[node.parent].hidden() {
            changes.entries.push(Entry {
                path: node.path.clone(),
                what: What::Whiteout,
            });
        }
        let Some(merge) = node.merge else { continue };
        if merge.kind == FileKind::Socket {
            changes.skipped.push(node.path);
        } else if node.emit || below[at].emits {
            let first = first_name(&mut first_names, &merge, &node.path);
            let opaque = opaque[at] == Opaque::Itself;
            changes.entries.push(Entry {
                path: node.path,
                what: what(merge, first, opaque),
            });
        }
    }
    changes
}

/// The name under which a file is in the tar already, if it is.
pub(super) fn first_name(
    first_names: &mut BTreeMap<Identity, Box<[u8]>>,
    merge: &Merge,
    path: &[u8],
) -> Option<Box<[u8]>> {
    if merge.kind == FileKind::Directory || merge.links == 1 {
        return None;
    }
    match first_names.entry(merge.identity) {
        btree_map::Entry::Occupied(first) => Some(first.get().clone()),
        btree_map::Entry::Vacant(none) => {
            none.insert(path.into());
            None
        }
    }
}

/// What a tar has for a name: one more name for an entry, or an entry.
pub(super) fn what(merge: Merge, first: Option<Box<[u8]>>, opaque: bool) -> What {
    let metadata = merge.metadata;
    if let Some(target) = first {
        return What::HardLink { target, metadata };
    }
    match merge.kind {
        FileKind::Directory => What::Directory { metadata, opaque },
        FileKind::File { size } => What::File {
            metadata,
            size,
            bytes: merge.bytes,
        },
        kind => What::Other { metadata, kind },
    }
}

/// Sums up from the leaves: children come after their parents.
fn from_below(nodes: &[Node]) -> Vec<Below> {
    let mut below = vec![Below::default(); nodes.len()];
    for (at, node) in nodes.iter().enumerate().rev() {
        let is_gone = node.is_gone();
        let is_directory = node.is(&FileKind::Directory);
        let emits = node.emit && !node.is(&FileKind::Socket);
        if is_directory && !node.seen_whole {
            below[at].relies = true;
        }
        let mine = below[at];
        if at == 0 {
            break;
        }
        let up = &mut below[node.parent];
        up.emits |= mine.emits || emits || is_gone;
        up.lists |= mine.lists || is_listed(node);
        up.hides |= mine.hides || is_gone;
        // A directory is left to the stack only as far as what is in it is.
        up.relies |= if is_directory {
            mine.relies || (!node.emit && !mine.emits)
        } else {
            !node.emit && !is_gone
        };
    }
    below
}

fn is_listed(node: &Node) -> bool {
    matches!(node.difference, Difference::Modified | Difference::Added)
}

/// Whether a directory hides what is below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opaque {
    No,
    Itself,
    Parent,
}

impl Opaque {
    fn hidden(self) -> bool {
        self != Self::No
    }
}

/// One mark instead of a whiteout for each name that is gone, where nothing is left to the stack.
fn opaque(nodes: &[Node], below: &[Below]) -> Vec<Opaque> {
    let mut opaque = vec![Opaque::No; nodes.len()];
    for (at, node) in nodes.iter().enumerate() {
        let has_base = node.base.is_some_and(|base| base.is_directory);
        opaque[at] = if at > 0 && opaque[node.parent].hidden() {
            Opaque::Parent
        } else if node.merge.is_some() && has_base && below[at].hides && !below[at].relies {
            Opaque::Itself
        } else {
            Opaque::No
        };
    }
    opaque
}

/// How a list tells it.
fn change(at: usize, node: &Node, below: Below) -> Option<Change> {
    let kind = match (&node.merge, node.difference) {
        // The root is never listed.
        _ if at == 0 => return None,
        (None, _) => ChangeKind::Deleted,
        (Some(_), Difference::Added) => ChangeKind::Added,
        (Some(_), Difference::Modified) => ChangeKind::Modified,
        (Some(_), Difference::None | Difference::Unlisted) if below.lists => ChangeKind::Modified,
        (Some(_), Difference::None | Difference::Unlisted) => return None,
    };
    Some(Change {
        path: node.path.clone(),
        kind,
    })
}
