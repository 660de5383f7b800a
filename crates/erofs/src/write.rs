//! Writes a tree as an index.

use std::{collections::BTreeMap, io::Write};

use lapstrake_tree::model::{BLOCK, Content, FileData, NodeId, Tree};

use crate::{
    Error, directory,
    disk::{self, BLOCK_LEN, DataLayout, INODES_OFFSET, SLOT},
    layout::{Plan, file_type},
    sparse, xattr,
};

/// What an index says besides the tree.
#[derive(Debug, Clone, Copy)]
pub struct IndexOptions {
    /// The file system's UUID: derive it from the diff id, so that the same layer is the same file
    /// system on every host.
    pub uuid: [u8; 16],
    /// Length of the layer's `data` file in bytes. With 0 the index has no extra device, and is
    /// mounted without one.
    pub data_len: u64,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Length of the index; a multiple of 4,096.
    pub bytes: u64,
    /// Attributes that EROFS has no number for, and that the kernel would not show: worth a warning.
    /// In order of their names.
    pub dropped: Vec<DroppedAttribute>,
}

/// A name of attributes that are not in the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedAttribute {
    /// Full name.
    pub name: Box<[u8]>,
    /// How many inodes have it.
    pub inodes: u64,
}

/// Writes the index of a tree.
///
/// Attributes are kept in the namespaces `user.`, `trusted.` and `security.`, and as POSIX ACLs;
/// others are left out and reported. Everything else is kept or an error. The output is written
/// from start to end in pieces of about 64 KiB; on an error what was written is worthless.
pub fn write_index(
    tree: &Tree,
    options: &IndexOptions,
    out: &mut impl Write,
) -> Result<Written, Error> {
    let plan = Plan::make(tree, options)?;
    let mut sink = Sink {
        out,
        buffer: vec![0; INODES_OFFSET],
        flushed: 0,
    };
    plan.superblock.encode(&mut sink.buffer);
    for id in &plan.order {
        sink.pad_to(plan.place(*id).nid * SLOT);
        inode(tree, &plan, *id, &mut sink.buffer);
        sink.settle()?;
    }
    sink.pad_to(plan.inodes_end);
    for entry in plan.shared.entries() {
        sink.buffer.extend(entry);
        sink.settle()?;
    }
    sink.pad_to_block();
    for id in &plan.with_blocks {
        own_blocks(tree, &plan, *id, &mut sink)?;
    }
    sink.pad_to_block();
    sink.flush()?;
    debug_assert_eq!(sink.flushed, u64::from(plan.superblock.blocks) * BLOCK);
    Ok(Written {
        bytes: sink.flushed,
        dropped: dropped(tree, &plan.order),
    })
}

/// Appends an inode and all that follows it.
fn inode(tree: &Tree, plan: &Plan<'_>, id: NodeId, out: &mut Vec<u8>) {
    let node = tree.node(id);
    let inode = plan.inode(id);
    inode.encode(plan.superblock.epoch, out);
    let first = plan.inodes_end % BLOCK / 4;
    let first = u32::try_from(first).expect("a block has 1024 words");
    plan.shared.body(&node.metadata).encode(first, out);
    match &node.content {
        Content::Directory(_) if inode.layout == DataLayout::Inline => {
            let entries = directory::entries(tree, id, plan.place(id).parent);
            let last = directory::blocks(&entries)
                .last()
                .expect("`.` and `..` are there");
            directory::encode(last, |id| target(tree, plan, id), out);
        }
        Content::Symlink(link) if inode.layout == DataLayout::Inline => {
            out.extend_from_slice(link);
        }
        Content::File {
            size,
            data:
                FileData::Sparse {
                    chunk_bits,
                    extents,
                },
        } => {
            let chunks = sparse::chunks(*size, *chunk_bits);
            sparse::encode(chunks, *chunk_bits, extents, plan.superblock.blocks, out);
        }
        Content::Directory(_)
        | Content::Symlink(_)
        | Content::File { .. }
        | Content::CharDevice(_)
        | Content::BlockDevice(_)
        | Content::Fifo => {}
    }
}

/// Writes the blocks of a directory or link that are not behind its inode.
fn own_blocks<W: Write>(
    tree: &Tree,
    plan: &Plan<'_>,
    id: NodeId,
    sink: &mut Sink<'_, W>,
) -> Result<(), Error> {
    if let Content::Symlink(link) = &tree.node(id).content {
        sink.buffer.extend_from_slice(link);
        sink.pad_to_block();
        return sink.settle();
    }
    let entries = directory::entries(tree, id, plan.place(id).parent);
    let inlined = plan.inode(id).layout == DataLayout::Inline;
    let mut blocks = directory::blocks(&entries).peekable();
    while let Some(block) = blocks.next() {
        if blocks.peek().is_none() && inlined {
            break;
        }
        directory::encode(block, |id| target(tree, plan, id), &mut sink.buffer);
        sink.pad_to_block();
        sink.settle()?;
    }
    Ok(())
}

/// What a directory entry says of its inode.
fn target(tree: &Tree, plan: &Plan<'_>, id: NodeId) -> (u64, u8) {
    (
        plan.place(id).nid,
        file_type(&tree.node(id).content).entry_code(),
    )
}

fn dropped(tree: &Tree, order: &[NodeId]) -> Vec<DroppedAttribute> {
    let mut counts: BTreeMap<&[u8], u64> = BTreeMap::new();
    for name in order
        .iter()
        .flat_map(|id| tree.node(*id).metadata.xattrs.keys())
    {
        if xattr::split_name(name).is_none() {
            *counts.entry(name).or_default() += 1;
        }
    }
    let named = |(name, inodes): (&[u8], u64)| DroppedAttribute {
        name: name.into(),
        inodes,
    };
    counts.into_iter().map(named).collect()
}

/// Collects bytes into larger writes, and seals the first block.
struct Sink<'w, W> {
    out: &'w mut W,
    buffer: Vec<u8>,
    flushed: u64,
}

impl<W: Write> Sink<'_, W> {
    /// Large enough that the first block is whole when it goes.
    const FULL: usize = 64 << 10;

    fn pad_to(&mut self, at: u64) {
        let len = usize::try_from(at - self.flushed).expect("a gap is less than a block");
        debug_assert!(len >= self.buffer.len(), "places ascend and do not overlap");
        self.buffer.resize(len, 0);
    }

    fn pad_to_block(&mut self) {
        self.pad_to((self.flushed + self.buffer.len() as u64).next_multiple_of(BLOCK));
    }

    fn settle(&mut self) -> Result<(), Error> {
        if self.buffer.len() >= Self::FULL {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.flushed == 0 {
            disk::seal(&mut self.buffer[..BLOCK_LEN]);
        }
        self.out.write_all(&self.buffer).map_err(Error::Output)?;
        self.flushed += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
