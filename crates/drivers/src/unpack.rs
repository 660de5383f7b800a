//! A layer's tree, as files on disk.
//!
//! Every step is taken beneath an open directory by a single name, and no symbolic link is followed:
//! nothing in a layer, and nothing that an earlier layer left, leads out of the directory. Directories
//! are only entered after they were found to be directories.
//!
//! A file gets its contents, owner, mode, attributes and times in this order, for each may change
//! what comes before it: a new owner takes away setuid and capabilities, any change the times.
//! Directories get theirs after what is in them.

mod attributes;
mod contents;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lapstrake_snapshot::{Error, Layer, OpenFile, Result, io, std_io};
use lapstrake_tree::limits::Limits;
use lapstrake_tree::model::{Content, Device, FileData, NodeId, Tree};
use lapstrake_tree::rebuild::rebuild;
use lapstrake_tree::skeleton::Skeleton;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

pub(crate) use attributes::{Attributes, Missing, Was};
pub(crate) use contents::Copier;

/// How many directories above the one that is filled are kept open; those further up are opened again
/// on the way back. Layers nest deeper than a process may open files.
const OPEN_ABOVE: usize = 64;

/// What becomes of what a layer takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marks {
    /// It is written as overlay reads it, into an empty directory.
    Kept,
    /// It is taken away, from a directory that has all layers below.
    Obeyed,
}

/// A layer's tree, made from its skeleton.
pub(crate) fn tree_of(layer: &Layer) -> Result<Tree> {
    rebuild(&skeleton_of(layer)?, Limits::DEFAULT).map_err(|error| damaged(layer, &error))
}

/// A layer's skeleton, checked.
pub(crate) fn skeleton_of(layer: &Layer) -> Result<Skeleton<File>> {
    let file = File::open(&layer.skeleton).map_err(std_io("open", &layer.skeleton))?;
    let skeleton = Skeleton::open(file).and_then(|skeleton| {
        skeleton.check()?;
        Ok(skeleton)
    });
    skeleton.map_err(|error| damaged(layer, &error))
}

/// Says of which layer a file is damaged.
pub(crate) fn damaged(layer: &Layer, error: &lapstrake_tree::error::Error) -> Error {
    Error::Damaged {
        id: layer.id.clone(),
        what: error.to_string(),
    }
}

/// Opens a directory to work in, beneath another.
pub(crate) fn open_dir(parent: BorrowedFd<'_>, name: &[u8]) -> std::result::Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// A path to a name beneath an open directory, for calls that take only paths. It goes through
/// nothing but the descriptor; whether a link of that name is followed is up to the call.
pub(crate) fn beneath(parent: BorrowedFd<'_>, name: &[u8]) -> PathBuf {
    let mut path = PathBuf::from(format!("/proc/thread-self/fd/{}", parent.as_raw_fd()));
    path.push(OsStr::from_bytes(name));
    path
}

/// Puts one layer into a directory.
#[derive(Debug)]
pub(crate) struct Unpacker<'a> {
    tree: &'a Tree,
    marks: Marks,
    attributes: Attributes,
    /// Where this goes, for messages.
    at: &'a Path,
    copier: Copier<'a>,
    /// Files that have several names: how many are still to come, and the first one.
    linked: HashMap<NodeId, Option<Box<[u8]>>>,
    root: OwnedFd,
}

/// A directory that is being filled.
struct Frame<'a> {
    node: NodeId,
    dir: Option<OwnedFd>,
    was: Was,
    entries: Box<dyn Iterator<Item = (&'a [u8], NodeId)> + 'a>,
    /// Length of its parent's path.
    parent_path: usize,
}

impl<'a> Unpacker<'a> {
    /// For a tree whose contents are in `data`, into the directory at `at`.
    pub(crate) fn new(
        tree: &'a Tree,
        data: Option<&'a OpenFile>,
        marks: Marks,
        attributes: Attributes,
        at: &'a Path,
    ) -> Result<Self> {
        let cwd = rustix::fs::CWD;
        let root = open_dir(cwd, at.as_os_str().as_bytes()).map_err(io("open", at))?;
        Ok(Self {
            tree,
            marks,
            attributes,
            at,
            copier: Copier::new(data),
            linked: linked(tree),
            root,
        })
    }

    /// Does it.
    pub(crate) fn unpack(mut self) -> Result<()> {
        let root = self.root.try_clone().map_err(std_io("open", self.at))?;
        let was = match self.marks {
            Marks::Kept => Was::New,
            Marks::Obeyed => Was::There,
        };
        if self.marks == Marks::Obeyed && self.tree.node(NodeId::ROOT).is_opaque() {
            clear(root.as_fd()).map_err(io("empty", self.at))?;
        }
        let mut path = Vec::new();
        let mut stack = vec![self.frame(NodeId::ROOT, root, was, 0)];
        while let Some(frame) = stack.last_mut() {
            let dir = frame
                .dir
                .as_ref()
                .expect("the directory being filled is open");
            if let Some((name, node)) = frame.entries.next() {
                let parent_path = path.len();
                let inside = self
                    .entry(dir.as_fd(), &path, name, node)
                    .map_err(|error| error.at(self.at, &path, name))?;
                if let Some((dir, was)) = inside {
                    push(&mut path, name);
                    stack.push(self.frame(node, dir, was, parent_path));
                    if let Some(above) = stack.len().checked_sub(OPEN_ABOVE + 2) {
                        stack[above].dir = None;
                    }
                }
                continue;
            }
            let frame = stack.pop().expect("it was just looked at");
            let dir = frame.dir.expect("the directory being filled is open");
            if let Some(parent) = stack.last_mut()
                && parent.dir.is_none()
            {
                let up = open_dir(dir.as_fd(), b"..").map_err(io("go up in", self.at))?;
                parent.dir = Some(up);
            }
            let metadata = &self.tree.node(frame.node).metadata;
            self.attributes
                .of_directory(dir.as_fd(), metadata, frame.was, self.marks)
                .map_err(|error| error.at(self.at, &path, b""))?;
            path.truncate(frame.parent_path);
        }
        Ok(())
    }

    fn frame(&self, node: NodeId, dir: OwnedFd, was: Was, parent_path: usize) -> Frame<'a> {
        Frame {
            node,
            dir: Some(dir),
            was,
            entries: Box::new(self.tree.children(node)),
            parent_path,
        }
    }

    /// Makes one entry. Of a directory, the directory to be filled.
    fn entry(
        &mut self,
        parent: BorrowedFd<'_>,
        parent_path: &[u8],
        name: &[u8],
        id: NodeId,
    ) -> std::result::Result<Option<(OwnedFd, Was)>, Failed> {
        let tree = self.tree;
        let node = tree.node(id);
        if self.marks == Marks::Obeyed {
            if let Content::Directory(_) = node.content
                && let Some(there) = existing_directory(parent, name)?
            {
                if node.is_opaque() {
                    clear(there.as_fd()).map_err(failed("empty"))?;
                }
                return Ok(Some((there, Was::There)));
            }
            remove(parent, name).map_err(failed("remove what lies below"))?;
            if node.is_whiteout() {
                return Ok(None);
            }
        }
        if let Some(first) = self.linked.get_mut(&id) {
            if let Some(first) = first {
                link(self.root.as_fd(), first, parent, name).map_err(failed("link"))?;
                return Ok(None);
            }
            let mut path = parent_path.to_vec();
            push(&mut path, name);
            *first = Some(path.into());
        }
        match &node.content {
            Content::Directory(_) => {
                rustix::fs::mkdirat(parent, name, Mode::RWXU).map_err(failed("create"))?;
                let dir = open_dir(parent, name).map_err(failed("open"))?;
                return Ok(Some((dir, Was::New)));
            }
            Content::File { size, data } => {
                let file = self.file(parent, name, *size, data)?;
                self.attributes.of_file(file.as_fd(), &node.metadata)?;
                return Ok(None);
            }
            Content::Symlink(target) => {
                rustix::fs::symlinkat(&**target, parent, name).map_err(failed("create"))?;
            }
            Content::CharDevice(device) => {
                make(parent, name, FileType::CharacterDevice, *device)?;
            }
            Content::BlockDevice(device) => make(parent, name, FileType::BlockDevice, *device)?,
            Content::Fifo => make(parent, name, FileType::Fifo, Device { major: 0, minor: 0 })?,
        }
        let is_link = matches!(node.content, Content::Symlink(_));
        self.attributes
            .of_name(parent, name, is_link, &node.metadata)?;
        Ok(None)
    }

    fn file(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        size: u64,
        data: &FileData,
    ) -> std::result::Result<File, Failed> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(parent, name, flags, mode).map_err(failed("create"))?;
        let file = File::from(file);
        self.copier
            .copy(&file, size, data)
            .map_err(|error| Failed::error("write", error))?;
        Ok(file)
    }
}

/// What failed, before it is known where.
#[derive(Debug)]
pub(crate) struct Failed {
    action: &'static str,
    why: Why,
}

#[derive(Debug)]
enum Why {
    Error(std::io::Error),
    Unsupported(&'static str),
}

impl Failed {
    pub(crate) fn error(action: &'static str, source: std::io::Error) -> Self {
        Self {
            action,
            why: Why::Error(source),
        }
    }

    pub(crate) fn at(self, root: &Path, parent: &[u8], name: &[u8]) -> Error {
        let mut path = root.to_owned();
        for part in [parent, name] {
            if !part.is_empty() {
                path.push(OsStr::from_bytes(part));
            }
        }
        match self.why {
            Why::Error(source) => Error::Io {
                action: self.action,
                path,
                source,
            },
            Why::Unsupported(why) => Error::Unsupported { path, why },
        }
    }
}

pub(crate) fn failed(action: &'static str) -> impl FnOnce(Errno) -> Failed {
    move |errno| Failed {
        action,
        why: Why::Error(errno.into()),
    }
}

/// Adds a name to a path.
pub(crate) fn push(path: &mut Vec<u8>, name: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

/// The files that have several names.
fn linked(tree: &Tree) -> HashMap<NodeId, Option<Box<[u8]>>> {
    let mut names = vec![0_u32; tree.len()];
    let mut linked = HashMap::new();
    let mut directories = vec![NodeId::ROOT];
    while let Some(directory) = directories.pop() {
        for (_, child) in tree.children(directory) {
            names[child.index()] += 1;
            match tree.node(child).content {
                Content::Directory(_) => directories.push(child),
                _ if names[child.index()] == 2 => {
                    linked.insert(child, None);
                }
                _ => {}
            }
        }
    }
    linked
}

fn make(
    parent: BorrowedFd<'_>,
    name: &[u8],
    kind: FileType,
    device: Device,
) -> std::result::Result<(), Failed> {
    let number = rustix::fs::makedev(device.major, device.minor);
    rustix::fs::mknodat(parent, name, kind, Mode::empty(), number).map_err(failed("create"))
}

/// Gives a file one more name. The first one is looked up anew, without following links.
pub(crate) fn link(
    root: BorrowedFd<'_>,
    first: &[u8],
    parent: BorrowedFd<'_>,
    name: &[u8],
) -> std::result::Result<(), Errno> {
    let (dir, last) = match first.iter().rposition(|b| *b == b'/') {
        Some(slash) => (&first[..slash], &first[slash + 1..]),
        None => (&b"."[..], first),
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let dir = rustix::fs::openat2(root, dir, flags, Mode::empty(), resolve)?;
    rustix::fs::linkat(&dir, last, parent, name, AtFlags::empty())
}

/// The directory of that name, if it is one.
fn existing_directory(
    parent: BorrowedFd<'_>,
    name: &[u8],
) -> std::result::Result<Option<OwnedFd>, Failed> {
    match open_dir(parent, name) {
        Ok(dir) => Ok(Some(dir)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(failed("open")(errno)),
    }
}

/// Removes a name and all below it, if it is there.
fn remove(parent: BorrowedFd<'_>, name: &[u8]) -> std::result::Result<(), Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        // The standard library follows no links here, not even of the last name.
        Err(Errno::ISDIR) => std::fs::remove_dir_all(beneath(parent, name))
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO)),
        Err(errno) => Err(errno),
    }
}

/// Removes all that is in a directory.
fn clear(dir: BorrowedFd<'_>) -> std::result::Result<(), Errno> {
    let entries = rustix::fs::Dir::read_from(dir)?;
    let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_owned()));
    for name in names.collect::<std::result::Result<Vec<_>, _>>()? {
        if !matches!(name.to_bytes(), b"." | b"..") {
            remove(dir, name.to_bytes())?;
        }
    }
    Ok(())
}
