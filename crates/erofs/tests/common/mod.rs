//! Trees for tests: small literals, and a form in which two can be compared.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, reason = "test support: a failure is the test's")]

use std::collections::{BTreeMap, HashMap};

use lapstrake_erofs::{Error, IndexOptions, Written, read_index, write_index};
use lapstrake_tree::model::{Content, Extent, FileData, Metadata, Node, NodeId, Timestamp, Tree};

pub(crate) const UUID: [u8; 16] = *b"lapstrake  tests";

/// Metadata of root's file of the given mode.
pub(crate) fn metadata(mode: u16) -> Metadata {
    Metadata {
        mode,
        uid: 0,
        gid: 0,
        mtime: Timestamp {
            seconds: 1_600_000_000,
            nanoseconds: 0,
        },
        xattrs: BTreeMap::new(),
    }
}

pub(crate) fn empty_tree() -> Tree {
    Tree::new(metadata(0o755))
}

/// Adds a node under one name.
pub(crate) fn put(tree: &mut Tree, parent: NodeId, name: &str, node: Node) -> NodeId {
    let id = tree.add(node);
    tree.link(parent, name.as_bytes(), id);
    id
}

pub(crate) fn directory() -> Node {
    Node {
        metadata: metadata(0o755),
        content: Content::Directory(BTreeMap::new()),
    }
}

pub(crate) fn symlink(target: &[u8]) -> Node {
    Node {
        metadata: metadata(0o777),
        content: Content::Symlink(target.into()),
    }
}

pub(crate) fn file(size: u64, data_offset: u64) -> Node {
    let data = FileData::Contiguous { data_offset };
    Node {
        metadata: metadata(0o644),
        content: Content::File { size, data },
    }
}

pub(crate) fn write(tree: &Tree, data_len: u64) -> Result<(Vec<u8>, Written), Error> {
    let mut bytes = Vec::new();
    let written = write_index(
        tree,
        &IndexOptions {
            uuid: UUID,
            data_len,
        },
        &mut bytes,
    )?;
    assert_eq!(written.bytes, bytes.len() as u64);
    Ok((bytes, written))
}

/// Writes a tree, reads it back and compares.
pub(crate) fn check_round_trip(tree: &Tree, data_len: u64) -> Vec<u8> {
    let (bytes, _) = write(tree, data_len).unwrap();
    let index = read_index(&bytes).unwrap();
    assert_eq!(canonical(&index.tree), canonical(tree));
    assert_eq!(u64::from(index.data_blocks), data_len.div_ceil(4096));
    assert_eq!(index.uuid, UUID);
    assert_eq!(
        write(tree, data_len).unwrap().0,
        bytes,
        "the same tree gives the same bytes"
    );
    bytes
}

/// The same tree with nodes in order of a walk, adjacent extents joined, and nothing that an index
/// leaves out.
pub(crate) fn canonical(tree: &Tree) -> Tree {
    let mut copy = Tree::new(node(tree, NodeId::ROOT).metadata);
    let mut copied = HashMap::from([(NodeId::ROOT, NodeId::ROOT)]);
    let mut waiting = vec![(NodeId::ROOT, NodeId::ROOT)];
    while let Some((from, to)) = waiting.pop() {
        for (name, id) in tree.children(from) {
            let new = *copied.entry(id).or_insert_with(|| {
                let new = copy.add(node(tree, id));
                waiting.push((id, new));
                new
            });
            copy.link(to, name, new);
        }
    }
    copy
}

fn node(tree: &Tree, id: NodeId) -> Node {
    let mut node = tree.node(id).clone();
    node.metadata.xattrs.retain(|name, _| {
        [
            &b"user."[..],
            b"trusted.",
            b"security.",
            b"system.posix_acl_",
        ]
        .iter()
        .any(|prefix| name.starts_with(prefix) && name.len() > prefix.len())
    });
    match &mut node.content {
        Content::Directory(entries) => entries.clear(),
        Content::Symlink(_) => node.metadata.mode = 0o777,
        Content::File {
            size: 0,
            data: FileData::Contiguous { data_offset },
        } => *data_offset = 0,
        Content::File {
            size,
            data: FileData::Sparse { extents, .. },
        } => {
            *extents = joined(extents, *size);
        }
        _ => {}
    }
    node
}

fn joined(extents: &[Extent], size: u64) -> Box<[Extent]> {
    let mut runs: Vec<Extent> = Vec::new();
    for extent in extents {
        let length = extent.length.min(size - extent.file_offset);
        match runs.last_mut() {
            Some(last)
                if last.file_offset + last.length == extent.file_offset
                    && last.data_offset + last.length == extent.data_offset =>
            {
                last.length += length;
            }
            _ => runs.push(Extent { length, ..*extent }),
        }
    }
    runs.into()
}
