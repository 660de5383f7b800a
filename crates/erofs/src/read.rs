//! Reads an index back.
//!
//! Every offset and count is checked before use, and no two inodes may claim the same bytes: that
//! keeps the work within the length of the input even if the bytes are hostile.

use std::collections::{BTreeMap, HashMap};

use lapstrake_tree::model::{BLOCK, Content, FileData, Metadata, Node, NodeId, Timestamp, Tree};

use crate::{
    Error, directory,
    disk::{
        BLOCK_LEN, DataLayout, EXTENDED_LEN, FileType, Inode, LINK_MAX, SLOT, Superblock,
        decode_device,
    },
    sparse, xattr,
};

/// Bytes of attributes that one index may unfold to; shared ones count for each inode.
const ATTRIBUTES_MAX: usize = 256 << 20;

/// An index as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// The file system's UUID.
    pub uuid: [u8; 16],
    /// The time that compact inodes have.
    pub epoch: Timestamp,
    /// 4 KiB blocks of the index itself.
    pub index_blocks: u32,
    /// 4 KiB blocks of the data file; with 0 there is no device.
    pub data_blocks: u32,
    /// How many inodes there are.
    pub inodes: u64,
    /// The tree, its nodes numbered as they were met: equal to the tree written but for the order.
    pub tree: Tree,
}

/// Reads an index that [`write_index`](crate::write_index) wrote.
///
/// Other EROFS images, and indexes with any byte of meaning changed, are [`Error::Damaged`]. This
/// checks what a mount relies on; that the bytes are exactly those written is for a digest to say.
pub fn read_index(bytes: &[u8]) -> Result<Index, Error> {
    let damaged = |what, at: usize| Error::Damaged {
        what,
        at: at as u64,
    };
    let first = bytes
        .get(..BLOCK_LEN)
        .ok_or(damaged("shorter than a block", bytes.len()))?;
    let superblock = Superblock::decode(first).map_err(|(what, at)| damaged(what, at))?;
    if bytes.len() as u64 != u64::from(superblock.blocks) * BLOCK {
        return Err(damaged("the superblock says another length", bytes.len()));
    }
    let mut reader = Reader {
        bytes,
        superblock,
        tree: None,
        known: HashMap::new(),
        directories: Vec::new(),
        links: Vec::new(),
        unclaimed: bytes.len(),
        attributes_left: ATTRIBUTES_MAX,
    };
    let tree = reader.read()?;
    Ok(Index {
        uuid: superblock.uuid,
        epoch: superblock.epoch,
        index_blocks: superblock.blocks,
        data_blocks: superblock.data_blocks,
        inodes: superblock.inodes,
        tree,
    })
}

/// A directory whose entries are to be read.
struct Directory {
    id: NodeId,
    nid: u64,
    parent: u64,
    layout: DataLayout,
    size: usize,
    first_block: u32,
    tail_at: usize,
}

/// How often a node is named, and how often it says it is.
struct Links {
    found: u32,
    said: u32,
    at: u64,
}

/// Attributes as the model has them.
type Attributes = BTreeMap<Box<[u8]>, Box<[u8]>>;

struct Reader<'b> {
    bytes: &'b [u8],
    superblock: Superblock,
    tree: Option<Tree>,
    known: HashMap<u64, (NodeId, FileType)>,
    directories: Vec<Directory>,
    links: Vec<Links>,
    unclaimed: usize,
    attributes_left: usize,
}

impl<'b> Reader<'b> {
    fn read(&mut self) -> Result<Tree, Error> {
        let root = u64::from(self.superblock.root_nid);
        let (_, kind) = self.node(root, root)?;
        if kind != FileType::Directory {
            return Err(damaged("the root is not a directory", root * SLOT));
        }
        while let Some(directory) = self.directories.pop() {
            self.directory(&directory)?;
        }
        if let Some(links) = self.links.iter().find(|links| links.found != links.said) {
            return Err(damaged("an inode's link count is wrong", links.at));
        }
        if self.links.len() as u64 != self.superblock.inodes {
            return Err(damaged("the number of inodes is wrong", 0));
        }
        Ok(self.tree.take().expect("the root was read"))
    }

    /// The node behind an inode number, read when it is met first.
    fn node(&mut self, nid: u64, parent: u64) -> Result<(NodeId, FileType), Error> {
        if let Some(known) = self.known.get(&nid) {
            return Ok(*known);
        }
        let at = nid
            .checked_mul(SLOT)
            .ok_or(damaged("an inode number is too large", 0))?;
        let fail = |what| damaged(what, at);
        let bytes = usize::try_from(at)
            .ok()
            .and_then(|start| self.bytes.get(start..));
        let bytes = bytes.ok_or(fail("an inode is outside the index"))?;
        let epoch = self.superblock.epoch;
        let (inode, inode_len) = Inode::decode(&bytes[..bytes.len().min(EXTENDED_LEN)], epoch)
            .ok_or(fail("an inode has an unknown form"))?;
        let kind = FileType::from_mode(inode.mode).ok_or(fail("an inode has an unknown type"))?;
        let rest = &bytes[inode_len..];
        let body_len = xattr::body_len(inode.xattr_count);
        let body = rest
            .get(..body_len)
            .ok_or(fail("attributes are outside the index"))?;
        self.claim(inode_len + body_len, at)?;
        let metadata = Metadata {
            mode: inode.mode & 0o7777,
            uid: inode.uid,
            gid: inode.gid,
            mtime: inode.mtime,
            xattrs: self.attributes(body, at)?,
        };
        if metadata.mtime.nanoseconds >= 1_000_000_000 {
            return Err(fail("a time has too many nanoseconds"));
        }
        let behind = usize::try_from(at).unwrap_or(usize::MAX) + inode_len + body_len;
        let content = self.content(&inode, kind, behind)?;
        let found = if kind == FileType::Directory { 2 } else { 0 };
        let id = self.add(Node { metadata, content });
        self.links.push(Links {
            found,
            said: inode.links,
            at,
        });
        self.known.insert(nid, (id, kind));
        if kind == FileType::Directory {
            self.directories.push(Directory {
                id,
                nid,
                parent,
                layout: inode.layout,
                size: usize::try_from(inode.size).map_err(|_| fail("a directory is too large"))?,
                first_block: inode.place,
                tail_at: behind,
            });
        }
        Ok((id, kind))
    }

    fn add(&mut self, node: Node) -> NodeId {
        match &mut self.tree {
            Some(tree) => tree.add(node),
            None => {
                self.tree = Some(Tree::new(node.metadata));
                NodeId::ROOT
            }
        }
    }

    /// Takes bytes out of those that nothing else may claim.
    fn claim(&mut self, len: usize, at: u64) -> Result<(), Error> {
        self.unclaimed = self
            .unclaimed
            .checked_sub(len)
            .ok_or(damaged("inodes claim more bytes than there are", at))?;
        Ok(())
    }

    fn attributes(&mut self, body: &'b [u8], at: u64) -> Result<Attributes, Error> {
        let area = u64::from(self.superblock.xattr_block) * BLOCK;
        let area = usize::try_from(area)
            .ok()
            .and_then(|start| self.bytes.get(start..));
        let found = area
            .and_then(|area| xattr::decode(body, area))
            .ok_or(damaged("attributes are not as they are written", at))?;
        let mut attributes = BTreeMap::new();
        for (name, value) in found {
            self.attributes_left = self
                .attributes_left
                .checked_sub(name.len() + value.len())
                .ok_or(damaged("attributes unfold to more than 256 MiB", at))?;
            if attributes.insert(name, value.into()).is_some() {
                return Err(damaged("an attribute is there twice", at));
            }
        }
        Ok(attributes)
    }

    fn content(&mut self, inode: &Inode, kind: FileType, behind: usize) -> Result<Content, Error> {
        let fail = |what| damaged(what, behind as u64);
        let allowed = match kind {
            FileType::Directory | FileType::Symlink => inode.layout != DataLayout::Chunked,
            FileType::Regular => inode.layout != DataLayout::Inline,
            FileType::CharDevice | FileType::BlockDevice | FileType::Fifo => {
                inode.layout == DataLayout::Plain && inode.size == 0
            }
        };
        if !allowed {
            return Err(fail("an inode's layout is not one that its type has"));
        }
        Ok(match kind {
            FileType::Directory => Content::Directory(BTreeMap::new()),
            FileType::CharDevice => Content::CharDevice(decode_device(inode.place)),
            FileType::BlockDevice => Content::BlockDevice(decode_device(inode.place)),
            FileType::Fifo => Content::Fifo,
            FileType::Symlink => {
                let len = usize::try_from(inode.size).unwrap_or(usize::MAX);
                if len == 0 || len > LINK_MAX {
                    return Err(fail("a link's length is out of range"));
                }
                let target = match inode.layout {
                    DataLayout::Inline => self.inside(behind, len)?,
                    DataLayout::Plain | DataLayout::Chunked => {
                        self.inside(block_start(inode.place), len)?
                    }
                };
                Content::Symlink(target.into())
            }
            FileType::Regular => {
                let size = inode.size;
                if i64::try_from(size).is_err() {
                    return Err(fail("a file's size is out of range"));
                }
                let data = match inode.layout {
                    DataLayout::Chunked => self.chunks(inode, behind)?,
                    DataLayout::Plain | DataLayout::Inline => self.range(inode, behind)?,
                };
                Content::File { size, data }
            }
        })
    }

    /// A contiguous file's place in the data.
    fn range(&self, inode: &Inode, at: usize) -> Result<FileData, Error> {
        if inode.size == 0 {
            return Ok(FileData::Contiguous { data_offset: 0 });
        }
        let outside = || damaged("a file is outside the data", at as u64);
        let block = inode
            .place
            .checked_sub(self.superblock.blocks)
            .ok_or_else(outside)?;
        let end = u64::from(block) + inode.size.div_ceil(BLOCK);
        if end > u64::from(self.superblock.data_blocks) {
            return Err(outside());
        }
        Ok(FileData::Contiguous {
            data_offset: u64::from(block) * BLOCK,
        })
    }

    fn chunks(&mut self, inode: &Inode, at: usize) -> Result<FileData, Error> {
        let fail = |what| damaged(what, at as u64);
        let chunk_bits =
            sparse::chunk_bits(inode.place).ok_or(fail("a chunk format is not known"))?;
        let len = sparse::chunks(inode.size, chunk_bits).checked_mul(4);
        let len = len.and_then(|len| usize::try_from(len).ok());
        let len = len.ok_or(fail("chunks are outside the index"))?;
        let addresses = self.bytes.get(at..).and_then(|rest| rest.get(..len));
        let addresses = addresses.ok_or(fail("chunks are outside the index"))?;
        self.claim(len, at as u64)?;
        let first = self.superblock.blocks;
        let extents = sparse::decode(addresses, inode.size, chunk_bits, first)
            .ok_or(fail("a chunk is outside the data"))?;
        let data_len = u64::from(self.superblock.data_blocks) * BLOCK;
        let outside = |end: u64| end > data_len;
        if extents
            .iter()
            .any(|extent| outside(extent.data_offset + extent.length))
        {
            return Err(fail("a chunk is outside the data"));
        }
        Ok(FileData::Sparse {
            chunk_bits,
            extents,
        })
    }

    /// Bytes that must lie in one block.
    fn inside(&mut self, at: usize, len: usize) -> Result<&'b [u8], Error> {
        let fail = |what| damaged(what, at as u64);
        if len > BLOCK_LEN || at % BLOCK_LEN + len > BLOCK_LEN {
            return Err(fail("inline bytes cross a block boundary"));
        }
        self.claim(len, at as u64)?;
        let bytes = self.bytes.get(at..).and_then(|rest| rest.get(..len));
        bytes.ok_or(fail("a block is outside the index"))
    }

    fn directory(&mut self, directory: &Directory) -> Result<(), Error> {
        let mut left = directory.size;
        let mut block = directory.first_block;
        let mut previous: Option<&[u8]> = None;
        let mut dots = 0;
        while left > 0 {
            let len = left.min(BLOCK_LEN);
            let inlined = directory.layout == DataLayout::Inline && left <= BLOCK_LEN;
            let at = if inlined {
                directory.tail_at
            } else {
                block_start(block)
            };
            let fail = |what| damaged(what, at as u64);
            let bytes = self.inside(at, len)?;
            let entries =
                directory::decode(bytes).ok_or(fail("a directory block is not well formed"))?;
            for (name, nid, code) in entries {
                if previous.is_some_and(|previous| previous >= name) {
                    return Err(fail("a directory is not sorted"));
                }
                previous = Some(name);
                let own = match name {
                    b"." => Some(directory.nid),
                    b".." => Some(directory.parent),
                    _ => None,
                };
                match own {
                    Some(own) if own != nid || code != FileType::Directory.entry_code() => {
                        return Err(fail("`.` or `..` is wrong"));
                    }
                    Some(_) => dots += 1,
                    None => self.entry(directory, name, nid, code, at)?,
                }
            }
            left -= len;
            block = block.saturating_add(1);
        }
        if dots != 2 {
            return Err(damaged("`.` or `..` is missing", directory.nid * SLOT));
        }
        Ok(())
    }

    fn entry(
        &mut self,
        directory: &Directory,
        name: &[u8],
        nid: u64,
        code: u8,
        at: usize,
    ) -> Result<(), Error> {
        let fail = |what| damaged(what, at as u64);
        if !directory::is_name(name) {
            return Err(fail("a name is not a file name"));
        }
        let seen = self.known.contains_key(&nid);
        let (id, kind) = self.node(nid, directory.nid)?;
        if kind.entry_code() != code {
            return Err(fail("an entry and its inode differ in type"));
        }
        let counted = if kind == FileType::Directory {
            if seen {
                return Err(fail("a directory is there twice"));
            }
            directory.id
        } else {
            id
        };
        let links = &mut self.links[counted.index()];
        links.found = links.found.checked_add(1).ok_or(fail("too many links"))?;
        let tree = self.tree.as_mut().expect("the root was read");
        tree.link(directory.id, name, id);
        Ok(())
    }
}

/// Where a block starts; beyond the input for numbers that no index has.
fn block_start(block: u32) -> usize {
    usize::try_from(u64::from(block) * BLOCK).unwrap_or(usize::MAX)
}

fn damaged(what: &'static str, at: u64) -> Error {
    Error::Damaged { what, at }
}
