//! Entries of a tar, one after another, into a tree.
//!
//! As unpacking does, but in memory: the last entry of a name wins; a directory over a directory
//! keeps what is in it and takes the new attributes; anything else replaces what was there, with all
//! that is below. Parents that no entry gives are made. Symbolic links in the parents of a name are
//! followed inside the layer, which cannot be left, as Docker and containerd do.

use std::collections::{BTreeMap, HashMap};

use crate::{
    error::{Error, show},
    limits::{DEPTH_MAX, Limits, SYMLINKS_FOLLOWED_MAX},
    model::{Content, Metadata, Node, NodeId, Timestamp, Tree},
    path::{components, refused},
    whiteout::{self, Hidden, Meaning},
};

/// Components looked at to find one entry's parent, symbolic links' targets included.
const STEPS_MAX: u64 = 8192;
/// Directories made for longer paths, for each entry: see [`Limits::implied_directories_base`].
const IMPLIED_DIRECTORIES_PER_ENTRY: u64 = 8;

/// An entry of a tar.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its name as written.
    pub(crate) name: Vec<u8>,
    pub(crate) metadata: Metadata,
    pub(crate) kind: Kind,
}

/// What an entry is.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A node of its own. A directory here is an empty one.
    Node(Content),
    /// One more name for a node that is there.
    HardLink { target: Vec<u8> },
}

/// A tree in the making.
#[derive(Debug)]
pub(crate) struct Builder {
    tree: Tree,
    hidden: Hidden,
    /// What AUFS kept for hard links, by name; not in the tree unless linked.
    aufs_links: HashMap<Box<[u8]>, NodeId>,
    /// How many directories were implied, and may be.
    implied: u64,
    implied_max: u64,
}

/// A directory that nothing describes: 0755, root's, at a fixed time.
fn plain_directory() -> Metadata {
    Metadata {
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: Timestamp {
            seconds: 0,
            nanoseconds: 0,
        },
        xattrs: BTreeMap::new(),
    }
}

impl Builder {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            tree: Tree::new(plain_directory()),
            hidden: Hidden::default(),
            aufs_links: HashMap::new(),
            implied: 0,
            implied_max: limits.implied_directories_base,
        }
    }

    /// The tree of all entries.
    pub(crate) fn finish(mut self) -> Tree {
        self.hidden.apply(&mut self.tree);
        self.tree.shrink();
        self.tree
    }

    /// Puts an entry into the tree. Entries are counted, and so bounded, by the caller.
    pub(crate) fn insert(&mut self, entry: Entry) -> Result<(), Error> {
        self.implied_max = self
            .implied_max
            .saturating_add(IMPLIED_DIRECTORIES_PER_ENTRY);
        let name = entry.name;
        let parts = components(&name)?;
        match whiteout::meaning(&parts, &name)? {
            Meaning::File => {}
            Meaning::Whiteout(hidden) => {
                let parent = self.parent(&parts, &name)?;
                self.hidden.hide(parent, hidden);
                return Ok(());
            }
            Meaning::Opaque => {
                let parent = self.parent(&parts, &name)?;
                self.hidden.hide_all(parent);
                return Ok(());
            }
            Meaning::AufsLink(link) => {
                if let Kind::Node(content @ Content::File { .. }) = entry.kind {
                    let node = self.tree.add(Node {
                        metadata: entry.metadata,
                        content,
                    });
                    self.aufs_links.insert(link.into(), node);
                }
                return Ok(());
            }
            Meaning::AufsRecord => return Ok(()),
        }
        let Some((last, _)) = parts.split_last() else {
            return self.set_root(&name, &entry.kind, entry.metadata);
        };
        let parent = self.parent(&parts, &name)?;
        match entry.kind {
            Kind::HardLink { target } => {
                let node = self.hard_link_target(&name, &target)?;
                self.tree.link(parent, last, node);
            }
            Kind::Node(content) => self.set(parent, last, content, entry.metadata),
        }
        Ok(())
    }

    fn set_root(&mut self, name: &[u8], kind: &Kind, metadata: Metadata) -> Result<(), Error> {
        match kind {
            Kind::Node(Content::Directory(_)) => {
                self.tree.node_mut(NodeId::ROOT).metadata = metadata;
            }
            Kind::Node(_) | Kind::HardLink { .. } => {
                return Err(refused(name, "the root of a layer can only be a directory"));
            }
        }
        Ok(())
    }

    /// Gives a directory an entry of that name, or changes the directory that is there.
    fn set(&mut self, parent: NodeId, name: &[u8], content: Content, metadata: Metadata) {
        if let (Some(there), Content::Directory(_)) = (self.tree.child(parent, name), &content)
            && self.is_directory(there)
        {
            self.tree.node_mut(there).metadata = metadata;
            return;
        }
        let node = self.tree.add(Node { metadata, content });
        self.tree.link(parent, name, node);
    }

    fn is_directory(&self, node: NodeId) -> bool {
        matches!(self.tree.node(node).content, Content::Directory(_))
    }

    /// The directory that the name lies in, made if it is missing.
    fn parent(&mut self, parts: &[&[u8]], name: &[u8]) -> Result<NodeId, Error> {
        let parents = &parts[..parts.len() - 1];
        let mut walk = Walk::new(name);
        for (at, part) in parents.iter().enumerate() {
            if let Some(target) = walk.step(&self.tree, part)? {
                // Rare: go on with the link's target before the rest.
                let rest = parents[at + 1..].iter().map(|part| part.to_vec());
                return self.parent_through_link(walk, &target, rest.collect());
            }
            self.imply(&mut walk, part)?;
        }
        Ok(walk.directory())
    }

    fn parent_through_link(
        &mut self,
        mut walk: Walk<'_>,
        target: &[u8],
        rest: Vec<Vec<u8>>,
    ) -> Result<NodeId, Error> {
        // The next component is last.
        let mut pending: Vec<_> = rest.into_iter().rev().collect();
        walk.follow(target, &mut pending)?;
        while let Some(part) = pending.pop() {
            match walk.step(&self.tree, &part)? {
                Some(target) => walk.follow(&target, &mut pending)?,
                None => self.imply(&mut walk, &part)?,
            }
        }
        Ok(walk.directory())
    }

    /// Makes the directory that the last step of a walk did not find.
    fn imply(&mut self, walk: &mut Walk<'_>, part: &[u8]) -> Result<(), Error> {
        if !walk.missing {
            return Ok(());
        }
        if self.implied >= self.implied_max {
            let what = "the number of directories without an entry of their own";
            return Err(limit(walk.name, what, self.implied_max));
        }
        self.implied += 1;
        let content = Content::Directory(BTreeMap::new());
        let node = self.tree.add(Node {
            metadata: plain_directory(),
            content,
        });
        self.tree.link(walk.directory(), part, node);
        walk.enter(node)
    }

    /// The file that a hard link names.
    fn hard_link_target(&self, name: &[u8], target: &[u8]) -> Result<NodeId, Error> {
        let refuse = |why| Error::HardLink {
            path: show(name),
            target: show(target),
            why,
        };
        let parts = components(target)?;
        let found = match whiteout::meaning(&parts, target)? {
            Meaning::AufsLink(link) => self.aufs_links.get(link).copied(),
            Meaning::File => self.find(&parts, name)?,
            Meaning::Whiteout(_) | Meaning::Opaque | Meaning::AufsRecord => None,
        };
        let node = found.ok_or_else(|| refuse("is not in this layer"))?;
        if self.is_directory(node) {
            return Err(refuse("is a directory"));
        }
        Ok(node)
    }

    /// What a name stands for; a symbolic link at its end is not followed.
    fn find(&self, parts: &[&[u8]], name: &[u8]) -> Result<Option<NodeId>, Error> {
        let Some((last, parents)) = parts.split_last() else {
            return Ok(Some(NodeId::ROOT));
        };
        let mut walk = Walk::new(name);
        let mut pending: Vec<_> = parents.iter().rev().map(|part| part.to_vec()).collect();
        while let Some(part) = pending.pop() {
            if let Some(target) = walk.step(&self.tree, &part)? {
                walk.follow(&target, &mut pending)?;
            } else if walk.missing {
                return Ok(None);
            }
        }
        Ok(self.tree.child(walk.directory(), last))
    }
}

fn limit(name: &[u8], what: &'static str, limit: u64) -> Error {
    Error::Limit {
        entry: show(name),
        what,
        limit,
    }
}

/// A walk from the root down, as in a chroot of the layer.
struct Walk<'a> {
    /// The entry it is for, for messages.
    name: &'a [u8],
    /// Directories from the root to where the walk is.
    directories: Vec<NodeId>,
    /// Whether the last step found nothing.
    missing: bool,
    steps: u64,
    links: u64,
}

impl<'a> Walk<'a> {
    fn new(name: &'a [u8]) -> Self {
        let mut directories = Vec::with_capacity(16);
        directories.push(NodeId::ROOT);
        Self {
            name,
            directories,
            missing: false,
            steps: 0,
            links: 0,
        }
    }

    fn directory(&self) -> NodeId {
        *self
            .directories
            .last()
            .expect("the root is never taken off")
    }

    fn enter(&mut self, directory: NodeId) -> Result<(), Error> {
        if self.directories.len() as u64 >= DEPTH_MAX {
            return Err(limit(self.name, "the depth of its directory", DEPTH_MAX));
        }
        self.directories.push(directory);
        self.missing = false;
        Ok(())
    }

    /// Goes down one component. The target of a symbolic link is returned instead.
    fn step(&mut self, tree: &Tree, part: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return Err(limit(
                self.name,
                "the number of components on its way",
                STEPS_MAX,
            ));
        }
        self.missing = false;
        if part == b".." {
            // Only a link's target has one. The root's parent is the root.
            self.directories.truncate(self.directories.len().max(2) - 1);
            return Ok(None);
        }
        let Some(node) = tree.child(self.directory(), part) else {
            self.missing = true;
            return Ok(None);
        };
        match &tree.node(node).content {
            Content::Directory(_) => self.enter(node).map(|()| None),
            Content::Symlink(target) => Ok(Some(target.to_vec())),
            _ => Err(Error::ParentNotDirectory {
                path: show(self.name),
                parent: show(part),
            }),
        }
    }

    /// Puts a link's target before what is still to be walked.
    fn follow(&mut self, target: &[u8], pending: &mut Vec<Vec<u8>>) -> Result<(), Error> {
        self.links += 1;
        if self.links > SYMLINKS_FOLLOWED_MAX {
            return Err(limit(
                self.name,
                "the number of symbolic links on its way",
                SYMLINKS_FOLLOWED_MAX,
            ));
        }
        if target.first() == Some(&b'/') {
            self.directories.truncate(1);
        }
        let parts = target.split(|byte| *byte == b'/').rev();
        pending.extend(
            parts
                .filter(|part| !matches!(*part, b"" | b"."))
                .map(<[u8]>::to_vec),
        );
        Ok(())
    }
}
