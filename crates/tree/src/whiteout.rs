//! What a layer takes away: the one place that knows how tars and overlay spell it.
//!
//! In a tar, `.wh.NAME` hides NAME of the layers below and `.wh..wh..opq` hides everything below its
//! directory. Both speak of lower layers only, wherever in the tar they stand. In a tree they are what
//! overlay reads: a character device 0:0, and an attribute of the directory. Where the same layer
//! gives a hidden name again, the entry wins; if it is a directory, it becomes opaque.
//!
//! Other names that begin with `.wh..wh.` are AUFS' own records and are no files; only hard links may
//! name what is in `.wh..wh.plnk`.
//!
//! Attributes that steer overlay are never taken from a tar: they would let a layer point at any file.

use std::collections::HashSet;

use crate::{
    changes::FileKind,
    error::Error,
    limits::NAME_BYTES_MAX,
    model::{Content, Device, Metadata, Node, NodeId, Timestamp, Tree, Xattrs},
    path::refused,
};

const PREFIX: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const AUFS_PREFIX: &[u8] = b".wh..wh.";
const AUFS_LINKS: &[u8] = b".wh..wh.plnk";
const OPAQUE_XATTR: &[u8] = b"trusted.overlay.opaque";

/// What a name means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning<'a> {
    /// A file of the layer.
    File,
    /// This name of the parent is hidden.
    Whiteout(&'a [u8]),
    /// Everything of the parent is hidden.
    Opaque,
    /// A file that AUFS keeps for hard links to it.
    AufsLink(&'a [u8]),
    /// Something else of AUFS: no file.
    AufsRecord,
}

/// What the name means whose components these are; `name` is the whole one, for messages.
pub(crate) fn meaning<'a>(components: &[&'a [u8]], name: &[u8]) -> Result<Meaning<'a>, Error> {
    let Some((last, parents)) = components.split_last() else {
        return Ok(Meaning::File);
    };
    if let [AUFS_LINKS] = parents {
        return Ok(Meaning::AufsLink(last));
    }
    for parent in parents {
        if parent.starts_with(AUFS_PREFIX) {
            return Ok(Meaning::AufsRecord);
        }
        if parent.starts_with(PREFIX) {
            return Err(refused(name, "lies below a whiteout"));
        }
    }
    match last.strip_prefix(PREFIX) {
        None => Ok(Meaning::File),
        Some(_) if *last == OPAQUE => Ok(Meaning::Opaque),
        Some(_) if last.starts_with(AUFS_PREFIX) => Ok(Meaning::AufsRecord),
        Some(b"" | b"." | b"..") => Err(refused(name, "a whiteout of no name")),
        Some(hidden) => Ok(Meaning::Whiteout(hidden)),
    }
}

/// What a tar calls an entry that hides the last name of a path.
pub(crate) fn name_that_hides(path: &[u8]) -> Vec<u8> {
    let slash = path.iter().rposition(|byte| *byte == b'/');
    let (parent, last) = path.split_at(slash.map_or(0, |slash| slash + 1));
    [parent, PREFIX, last].concat()
}

/// What a tar calls an entry that hides all that lies in a directory.
pub(crate) fn name_that_hides_all_of(directory: &[u8]) -> Vec<u8> {
    match directory {
        b"" => OPAQUE.to_vec(),
        _ => [directory, b"/", OPAQUE].concat(),
    }
}

/// Whether a tar can hide this name: with what is put before it, it must still be a name.
pub(crate) fn can_hide(name: &[u8]) -> bool {
    (name.len() + PREFIX.len()) as u64 <= NAME_BYTES_MAX
}

/// Whether a file of that path would be taken for something that hides others.
pub(crate) fn is_reserved(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/')
        .any(|part| part.starts_with(PREFIX))
}

/// What overlay notes of a file in a writable layer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    /// Of a directory: nothing of the layers below is in it.
    pub(crate) opaque: bool,
    /// Where in the layers below it goes on.
    pub(crate) redirect: Option<Box<[u8]>>,
    /// Of a file: only its attributes are here.
    pub(crate) without_contents: bool,
    /// Of an empty file: it is a whiteout.
    whiteout: bool,
}

impl Marks {
    /// Takes overlay's attributes out of a file's. Those in the `user` namespace were set by whoever may
    /// write to the file, not by overlay as we mount it: they mean nothing.
    pub(crate) fn take(xattrs: &mut Xattrs) -> Self {
        let mut marks = Self::default();
        xattrs.retain(|name, value| {
            match &**name {
                OPAQUE_XATTR => marks.opaque = **value == *b"y",
                b"trusted.overlay.redirect" => marks.redirect = Some(value.clone()),
                b"trusted.overlay.metacopy" => marks.without_contents = true,
                b"trusted.overlay.whiteout" => marks.whiteout = true,
                _ => {}
            }
            !steers_overlay(name)
        });
        marks
    }

    /// Whether the file with these marks takes a name away.
    pub(crate) fn hides(&self, kind: &FileKind) -> bool {
        match kind {
            FileKind::CharDevice(device) => (device.major, device.minor) == (0, 0),
            FileKind::File { size } => self.whiteout && *size == 0,
            _ => false,
        }
    }
}

/// Whether overlay would obey this attribute.
pub fn steers_overlay(attribute: &[u8]) -> bool {
    attribute.starts_with(b"trusted.overlay.") || attribute.starts_with(b"user.overlay.")
}

impl Node {
    /// Whether overlay takes it for a whiteout: its name is hidden, and it is not seen itself.
    pub fn is_whiteout(&self) -> bool {
        self.content == Content::CharDevice(Device { major: 0, minor: 0 })
    }

    /// Whether it is a directory that hides all that lies below it.
    pub fn is_opaque(&self) -> bool {
        matches!(self.content, Content::Directory(_))
            && self.metadata.xattrs.contains_key(OPAQUE_XATTR)
    }
}

/// What the tar hid so far. Applied when every entry is known, so that their order does not matter.
#[derive(Debug, Default)]
pub(crate) struct Hidden {
    names: Vec<(NodeId, Box<[u8]>)>,
    opaque: HashSet<NodeId>,
}

impl Hidden {
    /// Notes that a name of a directory is hidden.
    pub(crate) fn hide(&mut self, parent: NodeId, name: &[u8]) {
        self.names.push((parent, name.into()));
    }

    /// Notes that all of a directory is hidden.
    pub(crate) fn hide_all(&mut self, directory: NodeId) {
        self.opaque.insert(directory);
    }

    /// Writes it all into the tree.
    pub(crate) fn apply(mut self, tree: &mut Tree) {
        for (parent, name) in self.names {
            match tree.child(parent, &name) {
                None => {
                    let node = tree.add(whiteout());
                    tree.link(parent, &name, node);
                }
                Some(child) if matches!(tree.node(child).content, Content::Directory(_)) => {
                    self.opaque.insert(child);
                }
                Some(_) => {}
            }
        }
        for directory in self.opaque {
            let xattrs = &mut tree.node_mut(directory).metadata.xattrs;
            xattrs.insert(OPAQUE_XATTR.into(), (*b"y").into());
        }
    }
}

/// Nobody ever sees a whiteout's attributes, so they are all the same.
fn whiteout() -> Node {
    Node {
        metadata: Metadata {
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: Timestamp {
                seconds: 0,
                nanoseconds: 0,
            },
            xattrs: Default::default(),
        },
        content: Content::CharDevice(Device { major: 0, minor: 0 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_what_they_mean() {
        for (name, expected) in [
            ("a", Meaning::File),
            ("a.wh.", Meaning::File),
            (".wh", Meaning::File),
            (".wh.a", Meaning::Whiteout(b"a")),
            ("d/.wh.a", Meaning::Whiteout(b"a")),
            ("d/.wh..a", Meaning::Whiteout(b".a")),
            ("d/.wh....", Meaning::Whiteout(b"...")),
            (".wh..wh..opq", Meaning::Opaque),
            ("d/.wh..wh..opq", Meaning::Opaque),
            (".wh..wh.aufs", Meaning::AufsRecord),
            (".wh..wh.orph/x", Meaning::AufsRecord),
            (".wh..wh.plnk", Meaning::AufsRecord),
            (".wh..wh.plnk/12.34", Meaning::AufsLink(b"12.34")),
        ] {
            let components: Vec<_> = name.as_bytes().split(|byte| *byte == b'/').collect();
            assert_eq!(
                meaning(&components, name.as_bytes()).unwrap(),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn whiteouts_of_nothing_and_files_below_whiteouts_are_refused() {
        for name in [".wh.", ".wh..", ".wh...", "d/.wh.", ".wh.a/b"] {
            let components: Vec<_> = name.as_bytes().split(|byte| *byte == b'/').collect();
            let meaning = meaning(&components, name.as_bytes());
            assert!(matches!(meaning, Err(Error::Name { .. })), "{name}");
        }
    }
}
