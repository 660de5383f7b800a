//! A layer's data file, made again from its tree.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;

use lapstrake_snapshot::{Error, Layer, Result, io, std_io};
use lapstrake_sys::copy;
use lapstrake_tree::model::{Content, Extent, FileData, NodeId, Tree};
use lapstrake_tree::skeleton::Map;
use lapstrake_tree::view::TarView;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};

use super::Overlay2;
use crate::unpack::{damaged, open_dir, skeleton_of, tree_of};

impl Overlay2 {
    /// Whether a realised layer has all that is in its data file. It has not if the tar gives a name
    /// twice: the first file's contents are in `data`, and in no tree.
    pub fn can_remake_data(&self, layer: &Layer) -> Result<bool> {
        if !self.diff(&layer.id).exists() {
            return Ok(false);
        }
        let skeleton = skeleton_of(layer)?;
        let map = Map::read(&skeleton).map_err(|error| damaged(layer, &error))?;
        let mut files = Vec::new();
        each_file(&tree_of(layer)?, |_, extents| {
            files.extend_from_slice(extents);
            Ok(())
        })?;
        files.sort_unstable_by_key(|extent| extent.data_offset);
        let covered = |mut start: u64, end: u64| {
            let at = files.partition_point(|extent| extent.data_offset + extent.length <= start);
            for extent in &files[at..] {
                if start >= end || extent.data_offset > start {
                    break;
                }
                start = extent.data_offset + extent.length;
            }
            start >= end
        };
        Ok(map
            .pieces()
            .iter()
            .all(|piece| covered(piece.data_offset, piece.data_offset + piece.length)))
    }

    /// Writes a realised layer's data file into an empty file, out of its tree. It is checked: with the
    /// skeleton it gives the layer's tar, or this is [`Error::Damaged`] and what was written is worth
    /// nothing. Nothing is synced.
    pub fn remake_data(&self, layer: &Layer, out: &File) -> Result<()> {
        let diff = self.diff(&layer.id);
        let root =
            open_dir(rustix::fs::CWD, diff.as_os_str().as_bytes()).map_err(io("open", &diff))?;
        let skeleton = skeleton_of(layer)?;
        rustix::fs::ftruncate(out, skeleton.summary().data_len).map_err(io("extend", &diff))?;
        each_file(&tree_of(layer)?, |path, extents| {
            let named = || diff.join(std::ffi::OsStr::from_bytes(path));
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
            let file = rustix::fs::openat2(&root, path, flags, Mode::empty(), resolve)
                .map_err(io("open", named()))?;
            let stat = rustix::fs::fstat(&file).map_err(io("stat", named()))?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                return Err(Error::NotAFile { path: named() });
            }
            let file = File::from(file);
            for extent in extents {
                let (from, to) = (extent.file_offset, extent.data_offset);
                copy::range(&file, from, out, to, extent.length)
                    .map_err(std_io("copy out of", named()))?;
            }
            Ok(())
        })?;
        check(layer, out)
    }
}

/// Calls for every regular file with contents, once: one of its names, and where its bytes are.
fn each_file(tree: &Tree, mut each: impl FnMut(&[u8], &[Extent]) -> Result<()>) -> Result<()> {
    let mut seen = vec![false; tree.len()];
    let mut directories = vec![(NodeId::ROOT, Vec::new())];
    while let Some((directory, path)) = directories.pop() {
        for (name, child) in tree.children(directory) {
            let mut path: Vec<u8> = path.clone();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            match &tree.node(child).content {
                Content::Directory(_) => directories.push((child, path)),
                Content::File { size, data } if *size > 0 && !seen[child.index()] => {
                    seen[child.index()] = true;
                    match data {
                        FileData::Contiguous { data_offset } => {
                            let whole = Extent {
                                file_offset: 0,
                                data_offset: *data_offset,
                                length: *size,
                            };
                            each(&path, &[whole])?;
                        }
                        FileData::Sparse { extents, .. } => each(&path, extents)?,
                    }
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn check(layer: &Layer, data: &File) -> Result<()> {
    let skeleton = File::open(&layer.skeleton).map_err(std_io("open", &layer.skeleton))?;
    let mut view = TarView::new(skeleton, data).map_err(|error| damaged(layer, &error))?;
    let mut hasher = layer.id.0.algorithm().hasher();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match view.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => hasher.update(&buffer[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(std_io("read back", &layer.skeleton)(error)),
        }
    }
    if hasher.finish() == layer.id.0 {
        return Ok(());
    }
    Err(Error::Damaged {
        id: layer.id.clone(),
        what: "its unpacked files are not what the layer has".to_owned(),
    })
}
