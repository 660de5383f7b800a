//! The merged root: what overlay shows of a writable layer and the stack below it.
//!
//! As the kernel looks names up: a whiteout ends the search; so does anything but a directory, unless it
//! is a file whose contents are still below; an opaque directory has nothing below; a redirect names where
//! below to go on, in the parent's directory there, or, with a leading slash, from the root.

use std::io;

use crate::{error::show, model::Metadata, whiteout::Marks};

use super::{Error, FileId, FileKind, Found, Place, View, Writable, io_error, join};

/// The merged root of a writable layer and a stack.
pub(super) struct Merged<'a, U, L> {
    pub(super) upper: &'a U,
    pub(super) lower: &'a L,
    /// Whether the writable layer is one of overlay, with marks and a stack below.
    overlay: bool,
}

/// Where the entries of a merged directory come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sources {
    /// From the directory of the same path in the writable layer.
    pub(super) upper: bool,
    /// From the directory of this path in the stack.
    pub(super) lower: Option<Box<[u8]>>,
}

/// Where the inode is that a name leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Identity {
    Upper(FileId),
    Lower(FileId),
}

/// What a name of the merged root leads to.
#[derive(Debug, Clone)]
pub(super) struct Merge {
    pub(super) metadata: Metadata,
    pub(super) kind: FileKind,
    pub(super) identity: Identity,
    pub(super) links: u64,
    /// Where a file's bytes are.
    pub(super) bytes: Place,
    /// Where a directory's entries come from.
    pub(super) sources: Sources,
}

impl<'a, U: View, L: View> Merged<'a, U, L> {
    pub(super) fn new(writable: &Writable<'a, U>, lower: &'a L) -> Self {
        Self {
            upper: writable.view(),
            lower,
            overlay: matches!(writable, Writable::Upper(_)),
        }
    }

    /// The root.
    pub(super) fn root(&self) -> Result<Merge, Error> {
        let found = look(self.upper, b"")?.ok_or_else(|| missing(b""))?;
        let lower = self.overlay.then(|| Box::from(&b""[..]));
        let mut root = upper(found, Box::default());
        Marks::take(&mut root.metadata.xattrs);
        root.sources.lower = lower;
        Ok(root)
    }

    /// What has this name in a directory with those sources.
    pub(super) fn child(
        &self,
        parent: &[u8],
        sources: &Sources,
        name: &[u8],
    ) -> Result<Option<Merge>, Error> {
        let path = join(parent, name);
        if sources.upper
            && let Some(found) = look(self.upper, &path)?
        {
            return self.upper_child(found, &path, sources, name);
        }
        let Some(below) = &sources.lower else {
            return Ok(None);
        };
        let path = join(below, name);
        Ok(look(self.lower, &path)?.map(|found| lower(found, path)))
    }

    fn upper_child(
        &self,
        found: Found,
        path: &[u8],
        parent: &Sources,
        name: &[u8],
    ) -> Result<Option<Merge>, Error> {
        let mut merge = upper(found, path.into());
        let marks = Marks::take(&mut merge.metadata.xattrs);
        if !self.overlay {
            return Ok(Some(merge));
        }
        if marks.hides(&merge.kind) {
            return Ok(None);
        }
        match merge.kind {
            FileKind::Directory if !marks.opaque => {
                let below = below(path, &marks, parent, name)?;
                merge.sources.lower = match below {
                    Some(below) if self.is_directory_below(&below)? => Some(below),
                    _ => None,
                };
            }
            FileKind::File { .. } if marks.without_contents => {
                let below = below(path, &marks, parent, name)?;
                let there = below.map(|below| Ok::<_, Error>((look(self.lower, &below)?, below)));
                let Some((Some(there), below)) = there.transpose()? else {
                    return Err(damaged(path, "its contents are not in the stack"));
                };
                if there.kind != merge.kind {
                    return Err(damaged(path, "its contents have another size in the stack"));
                }
                merge.bytes = Place::Lower(below);
            }
            _ => {}
        }
        Ok(Some(merge))
    }

    fn is_directory_below(&self, path: &[u8]) -> Result<bool, Error> {
        let found = look(self.lower, path)?;
        Ok(found.is_some_and(|found| found.kind == FileKind::Directory))
    }
}

/// Where in the stack to go on for what is in the writable layer.
fn below(
    path: &[u8],
    marks: &Marks,
    parent: &Sources,
    name: &[u8],
) -> Result<Option<Box<[u8]>>, Error> {
    let in_parent = |name: &[u8]| parent.lower.as_ref().map(|below| join(below, name));
    match marks.redirect.as_deref() {
        None => Ok(in_parent(name)),
        Some([b'/', absolute @ ..]) if absolute.split(is_slash).all(is_name) => {
            Ok(Some(absolute.into()))
        }
        Some(relative) if is_name(relative) && !relative.contains(&b'/') => Ok(in_parent(relative)),
        Some(_) => Err(damaged(path, "its redirect is no path")),
    }
}

fn is_slash(byte: &u8) -> bool {
    *byte == b'/'
}

fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..")
}

fn upper(found: Found, path: Box<[u8]>) -> Merge {
    Merge {
        metadata: found.metadata,
        kind: found.kind,
        identity: Identity::Upper(found.id),
        links: found.links,
        bytes: Place::Upper(path),
        sources: Sources {
            upper: true,
            lower: None,
        },
    }
}

fn lower(found: Found, path: Box<[u8]>) -> Merge {
    Merge {
        metadata: found.metadata,
        kind: found.kind,
        identity: Identity::Lower(found.id),
        links: found.links,
        bytes: Place::Lower(path.clone()),
        sources: Sources {
            upper: false,
            lower: Some(path),
        },
    }
}

pub(super) fn look<V: View>(view: &V, path: &[u8]) -> Result<Option<Found>, Error> {
    view.look(path).map_err(io_error("look at", path))
}

fn missing(path: &[u8]) -> Error {
    io_error("look at", path)(io::ErrorKind::NotFound.into())
}

fn damaged(path: &[u8], what: &'static str) -> Error {
    Error::Damaged {
        path: show(path),
        what,
    }
}
