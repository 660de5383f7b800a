//! One file tree: what a layer's tar describes, after every rule of the format was applied.
//!
//! Nodes live in an arena and are named by [`NodeId`]; a hard link is a second directory entry with
//! the same id. The contents of regular files are not here: they are ranges of the layer's `data`
//! file, each at a multiple of [`BLOCK`]. Whiteouts and opaque directories are already in the form
//! that overlay reads (a character device 0:0; an attribute), so no reader needs to know of them.

use std::collections::BTreeMap;

/// Alignment of file contents in a layer's `data` file, in bytes; also the index's block size.
pub const BLOCK: u64 = 4096;

/// Names one node of a [`Tree`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

impl NodeId {
    /// The root directory of every tree.
    pub const ROOT: Self = Self(0);

    /// Position in arena order: the root is 0, later insertions count up.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A point in time as tar can say it: seconds since 1970 (negative before), and nanoseconds after
/// that second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Whole seconds since the epoch, rounded down.
    pub seconds: i64,
    /// Nanoseconds past `seconds`, below 1,000,000,000.
    pub nanoseconds: u32,
}

/// Extended attributes by full name (`user.mime_type`, `security.capability`).
pub type Xattrs = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// What every kind of node has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Permission bits, setuid, setgid and sticky: `0o7777` at most.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of last change of the contents.
    pub mtime: Timestamp,
    /// Extended attributes.
    pub xattrs: Xattrs,
}

/// A device's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// A run of a sparse file that has bytes: whole chunks of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Where in the file, in bytes; a multiple of the chunk size.
    pub file_offset: u64,
    /// Where in `data`, in bytes; a multiple of [`BLOCK`].
    pub data_offset: u64,
    /// How many bytes; a multiple of the chunk size, but for the last run of a file, which may end
    /// at the file's size.
    pub length: u64,
}

/// Where a regular file's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileData {
    /// The whole file, from this offset of `data` on. Meaningless for an empty file.
    Contiguous {
        /// In bytes, a multiple of [`BLOCK`].
        data_offset: u64,
    },
    /// Runs in ascending order; everything between them reads as zeros.
    Sparse {
        /// log2 of the chunk size in bytes: 12 or more. Every run starts at a multiple of it.
        chunk_bits: u8,
        /// The runs.
        extents: Box<[Extent]>,
    },
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Entries by name, in byte order. Names are never empty, `.`, `..`, and have no `/` or NUL.
    Directory(BTreeMap<Box<[u8]>, NodeId>),
    /// A regular file.
    File {
        /// In bytes.
        size: u64,
        /// Where its bytes are.
        data: FileData,
    },
    /// A symbolic link and its target.
    Symlink(Box<[u8]>),
    /// A character device; 0:0 is overlay's whiteout.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
}

/// A node: what it is and its attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Attributes.
    pub metadata: Metadata,
    /// What it is.
    pub content: Content,
}

pub use crate::whiteout::steers_overlay;

/// The tree of one layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    nodes: Vec<Node>,
}

impl Tree {
    /// A tree of one empty root directory.
    pub fn new(root: Metadata) -> Self {
        Self {
            nodes: vec![Node {
                metadata: root,
                content: Content::Directory(BTreeMap::new()),
            }],
        }
    }

    /// The node behind an id of this tree.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// The node behind an id, to change.
    pub fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.index()]
    }

    /// The entries of a directory in byte order; nothing for anything else.
    pub fn children(&self, id: NodeId) -> impl Iterator<Item = (&[u8], NodeId)> {
        match &self.node(id).content {
            Content::Directory(entries) => Some(entries.iter().map(|(name, id)| (&**name, *id))),
            _ => None,
        }
        .into_iter()
        .flatten()
    }

    /// The entry of that name in a directory.
    pub fn child(&self, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        match &self.node(parent).content {
            Content::Directory(entries) => entries.get(name).copied(),
            _ => None,
        }
    }

    /// Adds a node that no directory names yet; [`Self::link`] gives it a name.
    pub fn add(&mut self, node: Node) -> NodeId {
        let id =
            NodeId(u32::try_from(self.nodes.len()).expect("callers bound the number of entries"));
        self.nodes.push(node);
        id
    }

    /// Names `id` in `parent`, replacing an entry of that name. Returns the entry replaced.
    ///
    /// # Panics
    /// If `parent` is not a directory.
    pub fn link(&mut self, parent: NodeId, name: &[u8], id: NodeId) -> Option<NodeId> {
        match &mut self.node_mut(parent).content {
            Content::Directory(entries) => entries.insert(name.into(), id),
            _ => panic!("link into something that is not a directory"),
        }
    }

    /// Gives back memory that was kept for more nodes.
    pub(crate) fn shrink(&mut self) {
        self.nodes.shrink_to_fit();
    }

    /// How many nodes were added, including ones that no entry names any more.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Never: a tree has its root.
    pub fn is_empty(&self) -> bool {
        false
    }
}
