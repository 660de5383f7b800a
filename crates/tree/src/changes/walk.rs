//! The walk over a merged root and the stack: which names there are to speak of, and how each differs.
//!
//! Nodes come parents first and in the order of their names. In a directory that overlay merges with the
//! one of the same path below, names that only the stack has are the same without a look; the walk
//! passes over them unless it is to see everything.

use std::collections::BTreeSet;

use crate::{limits::NAME_BYTES_MAX, whiteout};

use super::merged::{Identity, Merge, Merged, look};
use super::{Error, FileId, FileKind, Found, Place, View, io_error, join};

/// How much is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// All that may differ.
    WhatMayDiffer,
    /// Every name.
    Everything,
}

/// How a name differs from the stack's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Difference {
    /// Not at all. What is below a directory may still differ.
    None,
    /// In a way that a list does not show: the time of a directory.
    Unlisted,
    /// It is another file, or its attributes are others.
    Modified,
    /// The stack has nothing of that path.
    Added,
}

/// A name of the merged root, or one that is gone.
#[derive(Debug)]
pub(super) struct Node {
    /// Position of the directory that it is in; the root's is its own.
    pub(super) parent: usize,
    pub(super) path: Box<[u8]>,
    /// What it leads to; nothing if it is gone.
    pub(super) merge: Option<Merge>,
    /// What the stack has of that path.
    pub(super) base: Option<Base>,
    pub(super) difference: Difference,
    /// Whether an entry of the layer is made for it. For a name that is gone: a whiteout.
    pub(super) emit: bool,
    /// For a directory: whether every name in it is a node.
    pub(super) seen_whole: bool,
}

/// What the stack has of a path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Base {
    pub(super) is_directory: bool,
    pub(super) id: FileId,
    pub(super) links: u64,
}

impl Node {
    pub(super) fn is(&self, kind: &FileKind) -> bool {
        self.merge.as_ref().is_some_and(|merge| merge.kind == *kind)
    }

    /// Whether a layer has to hide what the stack has here. No layer holds a socket, but it may be where
    /// something else was.
    pub(super) fn is_gone(&self) -> bool {
        self.base.is_some() && (self.merge.is_none() || self.is(&FileKind::Socket))
    }
}

pub(super) fn walk<U: View, L: View>(
    merged: &Merged<'_, U, L>,
    extent: Extent,
) -> Result<Vec<Node>, Error> {
    let mut walk = Walk {
        merged,
        extent,
        nodes: Vec::new(),
    };
    let root = merged.root()?;
    let base = look(merged.lower, b"")?;
    let mut pending = vec![walk.node(0, Box::default(), Some(root), base, false)?];
    while let Some((node, whole)) = pending.pop() {
        let at = walk.nodes.len();
        walk.nodes.push(node);
        let mut children = walk.children(at, whole)?;
        children.reverse();
        pending.append(&mut children);
    }
    Ok(walk.nodes)
}

struct Walk<'a, 'b, U, L> {
    merged: &'b Merged<'a, U, L>,
    extent: Extent,
    nodes: Vec<Node>,
}

type Names = BTreeSet<Box<[u8]>>;
/// A node, and whether all below it has to be in the layer.
type Pending = (Node, bool);

impl<U: View, L: View> Walk<'_, '_, U, L> {
    /// What is in the directory at that position, if it is one.
    fn children(&mut self, at: usize, whole: bool) -> Result<Vec<Pending>, Error> {
        let node = &self.nodes[at];
        if !node.is(&FileKind::Directory) {
            return Ok(Vec::new());
        }
        if let Some(children) = self.children_of(at, whole)? {
            return Ok(children);
        }
        // A name is gone that is too long for a whiteout: the directory is to hide all that is
        // below it, and so must have all that is not gone.
        self.nodes[at].emit = true;
        let children = self.children_of(at, true)?;
        Ok(children.expect("nothing is whited out in a directory that is whole"))
    }

    fn children_of(&mut self, at: usize, whole: bool) -> Result<Option<Vec<Pending>>, Error> {
        let see_all = whole || self.extent == Extent::Everything;
        let (names, seen_whole) = self.names(at, see_all)?;
        let node = &self.nodes[at];
        let merge = node.merge.as_ref().expect("a directory is there");
        let has_base = node.base.is_some_and(|base| base.is_directory);
        let (path, sources) = (node.path.clone(), merge.sources.clone());
        let mut children = Vec::with_capacity(names.len());
        for name in names {
            let path_of = join(&path, &name);
            let merge = self.merged.child(&path, &sources, &name)?;
            let base = if has_base {
                look(self.merged.lower, &path_of)?
            } else {
                None
            };
            // No layer can have brought a socket, nor take it away.
            let base = base.filter(|base| base.kind != FileKind::Socket);
            if merge.is_none() && base.is_none() {
                continue;
            }
            let child = self.node(at, path_of, merge, base, whole)?;
            if child.0.is_gone() && !whole && !whiteout::can_hide(&name) {
                return Ok(None);
            }
            children.push(child);
        }
        self.nodes[at].seen_whole = seen_whole;
        Ok(Some(children))
    }

    /// Names to look at in the directory at that position, and whether these are all.
    fn names(&self, at: usize, see_all: bool) -> Result<(Names, bool), Error> {
        let node = &self.nodes[at];
        let merge = node.merge.as_ref().expect("a directory is there");
        let mut names = Names::new();
        if merge.sources.upper {
            names.extend(list(self.merged.upper, &node.path)?);
        }
        // Where overlay merges with the same path, what only the stack has is not changed.
        let same = merge.sources.lower.as_ref() == Some(&node.path);
        if let Some(below) = merge.sources.lower.as_ref().filter(|_| !same || see_all) {
            names.extend(list(self.merged.lower, below)?);
        }
        if !same && node.base.is_some_and(|base| base.is_directory) {
            names.extend(list(self.merged.lower, &node.path)?);
        }
        debug_assert!(names.iter().all(|name| name.len() as u64 <= NAME_BYTES_MAX));
        Ok((names, !same || see_all))
    }

    fn node(
        &self,
        parent: usize,
        path: Box<[u8]>,
        merge: Option<Merge>,
        base: Option<Found>,
        whole: bool,
    ) -> Result<Pending, Error> {
        let difference = self.difference(&path, merge.as_ref(), base.as_ref())?;
        let node = Node {
            parent,
            path,
            emit: whole || difference != Difference::None,
            merge,
            base: base.map(|base| Base {
                is_directory: base.kind == FileKind::Directory,
                id: base.id,
                links: base.links,
            }),
            difference,
            seen_whole: true,
        };
        Ok((node, whole))
    }

    fn difference(
        &self,
        path: &[u8],
        merge: Option<&Merge>,
        base: Option<&Found>,
    ) -> Result<Difference, Error> {
        let (Some(merge), Some(base)) = (merge, base) else {
            return Ok(match merge {
                Some(_) => Difference::Added,
                None => Difference::Modified,
            });
        };
        if merge.identity == Identity::Lower(base.id) && merge.bytes == Place::Lower(path.into()) {
            return Ok(Difference::None);
        }
        let (ours, theirs) = (&merge.metadata, &base.metadata);
        let is_link = matches!(merge.kind, FileKind::Symlink(_));
        let same_attributes = (is_link || ours.mode == theirs.mode)
            && (ours.uid, ours.gid) == (theirs.uid, theirs.gid)
            && ours.xattrs == theirs.xattrs;
        if merge.kind != base.kind || !same_attributes {
            return Ok(Difference::Modified);
        }
        match (ours.mtime == theirs.mtime, &merge.kind) {
            (true, FileKind::File { size }) if !self.same_bytes(path, merge, *size)? => {
                Ok(Difference::Modified)
            }
            (true, _) => Ok(Difference::None),
            (false, FileKind::Directory) => Ok(Difference::Unlisted),
            (false, _) => Ok(Difference::Modified),
        }
    }

    /// Whether a file has the bytes that the stack has at its path.
    fn same_bytes(&self, path: &[u8], merge: &Merge, size: u64) -> Result<bool, Error> {
        let Place::Upper(ours) = &merge.bytes else {
            let Place::Lower(ours) = &merge.bytes else {
                return Ok(false);
            };
            let ours = open(self.merged.lower, ours)?;
            return equal(&ours, &open(self.merged.lower, path)?, size, path);
        };
        let ours = open(self.merged.upper, ours)?;
        equal(&ours, &open(self.merged.lower, path)?, size, path)
    }
}

pub(super) fn list<V: View>(view: &V, path: &[u8]) -> Result<Vec<Box<[u8]>>, Error> {
    view.list(path).map_err(io_error("list", path))
}

fn open<V: View>(view: &V, path: &[u8]) -> Result<V::File, Error> {
    view.open(path).map_err(io_error("open", path))
}

fn equal(
    a: &impl crate::read_at::ReadAt,
    b: &impl crate::read_at::ReadAt,
    size: u64,
    path: &[u8],
) -> Result<bool, Error> {
    const STEP: usize = 64 << 10;
    let (mut ours, mut theirs) = (vec![0; STEP], vec![0; STEP]);
    let mut at = 0;
    while at < size {
        let step = usize::try_from(size - at).map_or(STEP, |left| left.min(STEP));
        let read = a.read_exact_at(at, &mut ours[..step]);
        read.and_then(|()| b.read_exact_at(at, &mut theirs[..step]))
            .map_err(io_error("read", path))?;
        if ours[..step] != theirs[..step] {
            return Ok(false);
        }
        at += step as u64;
    }
    Ok(true)
}
