//! The merged root as a flat tar: what a container sees, and nothing of how it came to be.
//!
//! Nothing in it speaks of layers: names that are gone are not there, and names that would hide others in
//! a layer are files like any other. Parents come before what is in them, names in byte order, the root
//! first. It is written while it is walked: memory grows with the depth of the tree, the largest
//! directories on the way and the files with several names, not with the root.

use std::collections::{BTreeMap, BTreeSet, btree_set};
use std::io::Write;

use crate::write::TarWriter;

use super::decide::{first_name, what};
use super::layer::{Output, finish, write_entry};
use super::merged::{Identity, Merge, Merged, Sources};
use super::walk::list;
use super::{Entry, Error, FileKind, View, Writable, join};

/// What became of a root that was written.
#[derive(Debug)]
pub struct Flat<W> {
    /// The output.
    pub out: W,
    /// Sockets, by path: no tar holds them.
    pub skipped: Vec<Box<[u8]>>,
}

/// Writes all of a merged root, reading each file once. `lower` shows the stack as it would be without
/// the writable layer.
///
/// # Errors
/// If a file can't be read or changed meanwhile, overlay's marks don't fit the stack, or the output
/// refuses.
pub fn write_root<U: View, L: View, W: Write>(
    writable: &Writable<'_, U>,
    lower: &L,
    out: W,
) -> Result<Flat<W>, Error> {
    let merged = Merged::new(writable, lower);
    let mut root = Root {
        merged: &merged,
        tar: TarWriter::new(Output(out)),
        first_names: BTreeMap::new(),
        sockets: Vec::new(),
    };
    let mut open = Vec::from_iter(root.put(Box::default(), merged.root()?)?);
    while let Some(directory) = open.last_mut() {
        let Some(name) = directory.names.next() else {
            open.pop();
            continue;
        };
        let found = merged.child(&directory.path, &directory.sources, &name)?;
        // What is gone, and what went since the directory was listed.
        let Some(found) = found else { continue };
        let path = join(&directory.path, &name);
        open.extend(root.put(path, found)?);
    }
    Ok(Flat {
        out: finish(root.tar)?,
        skipped: root.sockets,
    })
}

struct Root<'a, 'b, U, L, W> {
    merged: &'b Merged<'a, U, L>,
    tar: TarWriter<Output<W>>,
    first_names: BTreeMap<Identity, Box<[u8]>>,
    sockets: Vec<Box<[u8]>>,
}

/// A directory, and what of it is still to come.
struct Directory {
    path: Box<[u8]>,
    sources: Sources,
    names: btree_set::IntoIter<Box<[u8]>>,
}

impl<U: View, L: View, W: Write> Root<'_, '_, U, L, W> {
    /// Writes the entry; of a directory, returns what is in it.
    fn put(&mut self, path: Box<[u8]>, found: Merge) -> Result<Option<Directory>, Error> {
        if found.kind == FileKind::Socket {
            self.sockets.push(path);
            return Ok(None);
        }
        let directory = match found.kind {
            FileKind::Directory => Some(self.open(path.clone(), found.sources.clone())?),
            _ => None,
        };
        let first = first_name(&mut self.first_names, &found, &path);
        let what = what(found, first, false);
        let entry = Entry { path, what };
        write_entry(&entry, self.merged.upper, self.merged.lower, &mut self.tar)?;
        Ok(directory)
    }

    fn open(&self, path: Box<[u8]>, sources: Sources) -> Result<Directory, Error> {
        let mut names = BTreeSet::new();
        if sources.upper {
            names.extend(list(self.merged.upper, &path)?);
        }
        if let Some(below) = &sources.lower {
            names.extend(list(self.merged.lower, below)?);
        }
        Ok(Directory {
            path,
            sources,
            names: names.into_iter(),
        })
    }
}
