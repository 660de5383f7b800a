//! Decides where everything goes, before anything is written.
//!
//! An index is, in this order: superblock and device table; inodes, each with its attributes and
//! what fits behind it; shared attributes; then blocks of directories and long symbolic links.
//! Inodes are in the order in which `ls -R` would meet them, a directory's entries together. What
//! must not cross a block boundary leaves a gap when it moves to the next block, and later inodes
//! fill the gaps; so the order is not exact, but nothing is wasted and it depends on the tree alone.
//!
//! Nothing here recurses: a tree may be deeper than a stack.

use std::collections::{HashMap, VecDeque};

use lapstrake_tree::model::{BLOCK, Content, Device, FileData, NodeId, Timestamp, Tree};

use crate::{
    Error,
    directory::{self, Entry},
    disk::{
        BLOCK_LEN, DataLayout, FileType, INODES_OFFSET, Inode, LINK_MAX, SLOT, Superblock,
        encode_device,
    },
    error::Unrepresentable,
    sparse,
    write::IndexOptions,
    xattr::{self, Shared},
};

/// A node's place in the index.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placed {
    pub(crate) nid: u64,
    /// For `..`.
    pub(crate) parent: NodeId,
    layout: DataLayout,
    links: u32,
    /// As the inode says it.
    size: u64,
    /// First of the node's own blocks, counted from the first block behind the attributes.
    own_block: u64,
    xattr_count: u16,
}

/// Where everything goes.
#[derive(Debug)]
pub(crate) struct Plan<'t> {
    tree: &'t Tree,
    pub(crate) superblock: Superblock,
    pub(crate) shared: Shared<'t>,
    /// Where the shared attributes begin.
    pub(crate) inodes_end: u64,
    /// Reachable nodes as they lie on disk.
    pub(crate) order: Vec<NodeId>,
    /// Nodes with blocks of their own, as those lie on disk.
    pub(crate) with_blocks: Vec<NodeId>,
    own_start: u64,
    /// By node number; nothing for nodes that no entry names.
    placed: Vec<Option<Placed>>,
}

impl<'t> Plan<'t> {
    /// Places every reachable node, or says which one EROFS has no form for.
    pub(crate) fn make(tree: &'t Tree, options: &IndexOptions) -> Result<Self, Error> {
        let walk = Walk::of(tree)?;
        let nodes = || walk.sequence.iter().map(|(id, _)| tree.node(*id));
        let epoch = most_common(nodes().map(|node| node.metadata.mtime));
        let data_blocks = options.data_len.div_ceil(BLOCK);
        let too_large = |index_blocks| Error::TooLarge {
            index_blocks,
            data_blocks,
        };
        let shared =
            Shared::choose(nodes().map(|node| &node.metadata)).ok_or(too_large(1 << 22))?;

        let mut placed = vec![None; tree.len()];
        let mut slots = Slots {
            end: INODES_OFFSET as u64,
            gaps: VecDeque::new(),
        };
        let mut with_blocks = Vec::new();
        let mut own_blocks = 0;
        let mut chunked = false;
        for (id, parent) in &walk.sequence {
            let shape = Shape::of(tree, *id, *parent, options.data_len, &shared)
                .map_err(|what| unrepresentable(tree, *id, what))?;
            let mut place = Placed {
                nid: 0,
                parent: *parent,
                layout: shape.layout,
                links: walk.links[id.index()],
                size: shape.size,
                own_block: own_blocks,
                xattr_count: shape.xattr_count,
            };
            let inode = place.inode(tree, *id, 0).len(epoch) as u64;
            let body = inode + shape.xattr_len;
            let inlined = body + shape.tail <= BLOCK && shape.tail > 0;
            place.layout = if inlined {
                DataLayout::Inline
            } else {
                shape.layout
            };
            let (len, whole) = match place.layout {
                DataLayout::Plain => (body, inode),
                DataLayout::Inline => (body + shape.tail, body + shape.tail),
                DataLayout::Chunked => (body + 4 * shape.chunks, inode),
            };
            chunked |= shape.layout == DataLayout::Chunked;
            place.nid = slots.take(len, whole) / SLOT;
            let blocks = shape.full_blocks + u64::from(shape.tail > 0 && !inlined);
            if blocks > 0 {
                with_blocks.push(*id);
                own_blocks += blocks;
            }
            placed[id.index()] = Some(place);
        }

        let own_start = (slots.end + shared.len()).div_ceil(BLOCK);
        let index_blocks = own_start + own_blocks;
        let blocks = u32::try_from(index_blocks).map_err(|_| too_large(index_blocks))?;
        let data_blocks = u32::try_from(data_blocks).map_err(|_| too_large(index_blocks))?;
        blocks
            .checked_add(data_blocks)
            .ok_or(too_large(index_blocks))?;
        let mut order: Vec<NodeId> = walk.sequence.iter().map(|(id, _)| *id).collect();
        let nid = |id: &NodeId| placed[id.index()].as_ref().map(|place: &Placed| place.nid);
        order.sort_unstable_by_key(nid);
        let superblock = Superblock {
            root_nid: u16::try_from(nid(&NodeId::ROOT).expect("the walk starts there"))
                .expect("the root is placed first, in one of the first two blocks"),
            inodes: order.len() as u64,
            epoch,
            blocks,
            xattr_block: u32::try_from(slots.end / BLOCK).expect("below the block count"),
            uuid: options.uuid,
            data_blocks,
            chunked,
        };
        Ok(Self {
            tree,
            superblock,
            shared,
            inodes_end: slots.end,
            order,
            with_blocks,
            own_start,
            placed,
        })
    }

    /// A reachable node's place.
    pub(crate) fn place(&self, id: NodeId) -> &Placed {
        self.placed[id.index()]
            .as_ref()
            .expect("only reachable nodes are written")
    }

    /// A reachable node's inode.
    pub(crate) fn inode(&self, id: NodeId) -> Inode {
        self.place(id).inode(self.tree, id, self.first_block(id))
    }

    /// Number of a node's first block, counted from the start of the index, or across into data.
    fn first_block(&self, id: NodeId) -> u32 {
        let block = match &self.tree.node(id).content {
            Content::File {
                size: 1..,
                data: FileData::Contiguous { data_offset },
            } => u64::from(self.superblock.blocks) + data_offset / BLOCK,
            Content::Directory(_) | Content::Symlink(_) => {
                self.own_start + self.place(id).own_block
            }
            Content::File { .. }
            | Content::CharDevice(_)
            | Content::BlockDevice(_)
            | Content::Fifo => 0,
        };
        u32::try_from(block).expect("make checked the sum of all blocks")
    }
}

impl Placed {
    fn inode(&self, tree: &Tree, id: NodeId, first_block: u32) -> Inode {
        let node = tree.node(id);
        // Linux gives every link the same, whatever a tar says.
        let permissions = match &node.content {
            Content::Symlink(_) => 0o777,
            Content::Directory(_)
            | Content::File { .. }
            | Content::CharDevice(_)
            | Content::BlockDevice(_)
            | Content::Fifo => node.metadata.mode,
        };
        let device = |device: &Device| encode_device(*device).expect("checked with the shape");
        let place = match &node.content {
            Content::File {
                data: FileData::Sparse { chunk_bits, .. },
                ..
            } => sparse::format(*chunk_bits),
            Content::CharDevice(numbers) | Content::BlockDevice(numbers) => device(numbers),
            Content::Directory(_) | Content::Symlink(_)
                if self.layout == DataLayout::Inline && self.size < BLOCK =>
            {
                0
            }
            Content::Directory(_) | Content::File { .. } | Content::Symlink(_) | Content::Fifo => {
                first_block
            }
        };
        Inode {
            layout: self.layout,
            xattr_count: self.xattr_count,
            mode: file_type(&node.content).mode_bits() | permissions,
            links: self.links,
            size: self.size,
            place,
            number: u32::try_from(self.nid & u64::from(u32::MAX)).expect("masked"),
            uid: node.metadata.uid,
            gid: node.metadata.gid,
            mtime: node.metadata.mtime,
        }
    }
}

/// What kind of file a node is.
pub(crate) fn file_type(content: &Content) -> FileType {
    match content {
        Content::Directory(_) => FileType::Directory,
        Content::File { .. } => FileType::Regular,
        Content::Symlink(_) => FileType::Symlink,
        Content::CharDevice(_) => FileType::CharDevice,
        Content::BlockDevice(_) => FileType::BlockDevice,
        Content::Fifo => FileType::Fifo,
    }
}

/// How much of what a node needs.
struct Shape {
    /// Unless the tail fits behind the inode.
    layout: DataLayout,
    size: u64,
    xattr_count: u16,
    xattr_len: u64,
    /// Blocks of its own that are full.
    full_blocks: u64,
    /// Bytes that go behind the inode, or into one more block.
    tail: u64,
    chunks: u64,
}

impl Shape {
    fn of(
        tree: &Tree,
        id: NodeId,
        parent: NodeId,
        data_len: u64,
        shared: &Shared<'_>,
    ) -> Result<Self, Unrepresentable> {
        let node = tree.node(id);
        if node.metadata.mode > 0o7777 {
            return Err(Unrepresentable::Mode(node.metadata.mode));
        }
        if node.metadata.mtime.nanoseconds >= 1_000_000_000 {
            return Err(Unrepresentable::Nanoseconds(
                node.metadata.mtime.nanoseconds,
            ));
        }
        xattr::check(&node.metadata)?;
        let body = shared.body(&node.metadata);
        let mut shape = Self {
            layout: DataLayout::Plain,
            size: 0,
            xattr_count: body.count()?,
            xattr_len: body.len(),
            full_blocks: 0,
            tail: 0,
            chunks: 0,
        };
        match &node.content {
            Content::Directory(_) => shape.directory(&directory::entries(tree, id, parent)),
            Content::Symlink(target) => {
                if target.is_empty() || target.len() > LINK_MAX || target.contains(&0) {
                    return Err(Unrepresentable::LinkTarget(target.len()));
                }
                shape.size = target.len() as u64;
                shape.tail = shape.size;
            }
            Content::File { size, data } => shape.file(*size, data, data_len)?,
            Content::CharDevice(device) | Content::BlockDevice(device) => {
                let Device { major, minor } = *device;
                encode_device(*device).ok_or(Unrepresentable::DeviceNumber { major, minor })?;
            }
            Content::Fifo => {}
        }
        Ok(shape)
    }

    fn directory(&mut self, entries: &[Entry<'_>]) {
        let mut blocks = 0;
        for block in directory::blocks(entries) {
            blocks += 1;
            self.tail = directory::used(block) as u64;
        }
        self.full_blocks = blocks - 1;
        self.size = self.full_blocks * BLOCK + self.tail;
    }

    fn file(&mut self, size: u64, data: &FileData, data_len: u64) -> Result<(), Unrepresentable> {
        if i64::try_from(size).is_err() {
            return Err(Unrepresentable::Size(size));
        }
        self.size = size;
        match data {
            FileData::Contiguous { data_offset } => {
                let fits = data_offset
                    .checked_add(size)
                    .is_some_and(|end| end <= data_len);
                if size > 0 && !(fits && data_offset.is_multiple_of(BLOCK)) {
                    return Err(Unrepresentable::DataRange);
                }
            }
            FileData::Sparse {
                chunk_bits,
                extents,
            } => {
                self.layout = DataLayout::Chunked;
                self.chunks = sparse::check(size, *chunk_bits, extents, data_len)?;
            }
        }
        Ok(())
    }
}

/// Every reachable node once, in order, with the directory that named it first.
struct Walk {
    sequence: Vec<(NodeId, NodeId)>,
    /// By node number.
    links: Vec<u32>,
}

impl Walk {
    fn of(tree: &Tree) -> Result<Self, Error> {
        let is_directory = |id| matches!(tree.node(id).content, Content::Directory(_));
        let mut walk = Self {
            sequence: Vec::with_capacity(tree.len()),
            links: vec![0; tree.len()],
        };
        walk.sequence.push((NodeId::ROOT, NodeId::ROOT));
        walk.links[NodeId::ROOT.index()] = 2;
        let mut waiting = vec![NodeId::ROOT];
        while let Some(parent) = waiting.pop() {
            let first_waiting = waiting.len();
            for (name, id) in tree.children(parent) {
                let fail = |what| Err(unrepresentable(tree, parent, what));
                if !directory::is_name(name) {
                    return fail(Unrepresentable::Name);
                }
                let seen = walk.links[id.index()];
                if is_directory(id) {
                    if seen > 0 {
                        return fail(Unrepresentable::DirectoryLinkedTwice);
                    }
                    walk.links[id.index()] = 2;
                    walk.links[parent.index()] += 1;
                    waiting.push(id);
                } else {
                    let Some(links) = seen.checked_add(1) else {
                        return fail(Unrepresentable::Links);
                    };
                    walk.links[id.index()] = links;
                }
                if seen == 0 {
                    walk.sequence.push((id, parent));
                }
            }
            waiting[first_waiting..].reverse();
        }
        Ok(walk)
    }
}

/// The most frequent time, the earliest of several.
fn most_common(times: impl Iterator<Item = Timestamp>) -> Timestamp {
    let mut counts: HashMap<Timestamp, u64> = HashMap::new();
    for time in times {
        *counts.entry(time).or_default() += 1;
    }
    let most = counts
        .into_iter()
        .max_by_key(|(time, count)| (*count, std::cmp::Reverse(*time)));
    most.map_or(
        Timestamp {
            seconds: 0,
            nanoseconds: 0,
        },
        |(time, _)| time,
    )
}

fn unrepresentable(tree: &Tree, id: NodeId, what: Unrepresentable) -> Error {
    Error::Unrepresentable {
        path: path_of(tree, id),
        what,
    }
}

/// A path to a node, for messages.
fn path_of(tree: &Tree, wanted: NodeId) -> String {
    let mut named_by: HashMap<NodeId, (NodeId, &[u8])> = HashMap::new();
    let mut waiting = vec![NodeId::ROOT];
    while let Some(parent) = waiting.pop() {
        for (name, id) in tree.children(parent) {
            named_by.entry(id).or_insert_with(|| {
                waiting.push(id);
                (parent, name)
            });
        }
    }
    let mut path = String::new();
    let mut at = wanted;
    while at != NodeId::ROOT {
        let Some((parent, name)) = named_by.get(&at) else {
            break;
        };
        path = format!("/{}{path}", String::from_utf8_lossy(name));
        at = *parent;
    }
    if path.is_empty() { "/".into() } else { path }
}

/// Hands out places for inodes.
struct Slots {
    end: u64,
    /// Free places before `end`, each inside one block.
    gaps: VecDeque<(u64, u64)>,
}

impl Slots {
    /// Gaps worth looking through.
    const GAPS_MAX: usize = 16;

    /// A place for `len` bytes of which the first `whole` lie in one block.
    fn take(&mut self, len: u64, whole: u64) -> u64 {
        let len = len.next_multiple_of(SLOT);
        if let Some(index) = self.gaps.iter().position(|(_, room)| *room >= len) {
            let (at, room) = self.gaps[index];
            if room == len {
                self.gaps.remove(index);
            } else {
                self.gaps[index] = (at + len, room - len);
            }
            return at;
        }
        let room = BLOCK - self.end % BLOCK;
        if whole > room {
            if self.gaps.len() == Self::GAPS_MAX {
                self.gaps.pop_front();
            }
            self.gaps.push_back((self.end, room));
            self.end += room;
        }
        let at = self.end;
        self.end += len;
        at
    }
}

const _: () = assert!(INODES_OFFSET < BLOCK_LEN && INODES_OFFSET.is_multiple_of(32));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_filled() {
        let mut slots = Slots {
            end: 4000,
            gaps: VecDeque::new(),
        };
        assert_eq!(slots.take(64, 64), 4000);
        assert_eq!(slots.take(64, 64), 4096, "32 bytes are left");
        assert_eq!(slots.take(1, 1), 4064);
        assert_eq!(
            slots.take(5000, 32),
            4160,
            "only the inode must be in one block"
        );
        assert_eq!(slots.end, 9184);
    }

    #[test]
    fn the_earliest_of_equally_common_times_wins() {
        let time = |seconds| Timestamp {
            seconds,
            nanoseconds: 0,
        };
        assert_eq!(most_common([3, 1, 2, 1, 3].into_iter().map(time)), time(1));
    }
}
