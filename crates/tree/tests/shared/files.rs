//! Files in memory that can be changed like those of a container, and looked at like those on disk.

use std::{collections::BTreeMap, io};

use lapstrake_tree::{
    changes::{FileId, FileKind, Found, View},
    model::{Content, Metadata, NodeId, Timestamp, Tree, Xattrs},
};

use super::describe::contents;

/// A file that is not a directory, or a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inode {
    pub metadata: Metadata,
    pub kind: FileKind,
    pub bytes: Vec<u8>,
}

/// Paths, and the inodes that they lead to. The root is the empty path.
#[derive(Debug, Clone)]
pub struct Files {
    pub names: BTreeMap<Vec<u8>, u64>,
    pub inodes: BTreeMap<u64, Inode>,
    next: u64,
}

/// The attributes of files of which nobody said anything.
pub fn plain(mode: u16) -> Metadata {
    Metadata {
        mode,
        uid: 0,
        gid: 0,
        mtime: Timestamp {
            seconds: 0,
            nanoseconds: 0,
        },
        xattrs: Xattrs::new(),
    }
}

impl Files {
    /// A root and nothing in it.
    pub fn new() -> Self {
        let mut files = Self {
            names: BTreeMap::new(),
            inodes: BTreeMap::new(),
            next: 0,
        };
        files.create(b"", FileKind::Directory, plain(0o755), Vec::new());
        files
    }

    pub fn inode(&mut self, path: &[u8]) -> Option<&mut Inode> {
        self.inodes.get_mut(self.names.get(path)?)
    }

    pub fn is_directory(&self, path: &[u8]) -> bool {
        let inode = self.names.get(path).map(|id| &self.inodes[id]);
        inode.is_some_and(|inode| inode.kind == FileKind::Directory)
    }

    /// Whether something can be made there.
    pub fn is_free(&self, path: &[u8]) -> bool {
        !self.names.contains_key(path) && self.is_directory(parent(path))
    }

    pub fn create(&mut self, path: &[u8], kind: FileKind, metadata: Metadata, bytes: Vec<u8>) {
        let inode = Inode {
            metadata,
            kind,
            bytes,
        };
        self.inodes.insert(self.next, inode);
        self.names.insert(path.to_vec(), self.next);
        self.next += 1;
    }

    /// Everything at and below a path.
    pub fn below(&self, path: &[u8]) -> Vec<Vec<u8>> {
        let is_below = |name: &&Vec<u8>| {
            let rest = name.strip_prefix(path);
            rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'/' || path.is_empty())
        };
        self.names.keys().filter(is_below).cloned().collect()
    }

    pub fn remove(&mut self, path: &[u8]) {
        for name in self.below(path) {
            self.names.remove(&name);
        }
    }

    pub fn rename(&mut self, from: &[u8], to: &[u8]) {
        for name in self.below(from) {
            let id = self.names.remove(&name).unwrap();
            self.names.insert([to, &name[from.len()..]].concat(), id);
        }
    }
}

pub fn parent(path: &[u8]) -> &[u8] {
    let slash = path.iter().rposition(|byte| *byte == b'/');
    &path[..slash.unwrap_or(0)]
}

impl View for Files {
    type File = Memory;

    fn look(&self, path: &[u8]) -> io::Result<Option<Found>> {
        let Some(id) = self.names.get(path) else {
            return Ok(None);
        };
        let inode = &self.inodes[id];
        let names = self.names.values().filter(|other| *other == id).count();
        Ok(Some(Found {
            metadata: inode.metadata.clone(),
            kind: inode.kind.clone(),
            id: FileId {
                device: 1,
                inode: *id,
            },
            links: names as u64,
        }))
    }

    fn list(&self, directory: &[u8]) -> io::Result<Vec<Box<[u8]>>> {
        let names = self.names.keys().filter(|name| !name.is_empty());
        let names = names.filter(|name| parent(name) == directory);
        Ok(names
            .map(|name| name.rsplit(|byte| *byte == b'/').next().unwrap().into())
            .collect())
    }

    fn open(&self, path: &[u8]) -> io::Result<Self::File> {
        Ok(Memory(self.inodes[&self.names[path]].bytes.clone()))
    }
}

/// Contents, with holes where there are whole blocks of zeros.
#[derive(Debug)]
pub struct Memory(Vec<u8>);

impl lapstrake_tree::read_at::ReadAt for Memory {
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(offset, buffer)
    }
}

impl lapstrake_tree::write::FileBytes for Memory {
    fn runs(&self, size: u64) -> io::Result<Vec<lapstrake_tree::write::DataRun>> {
        if size != self.0.len() as u64 {
            return Ok(lapstrake_tree::write::whole(size));
        }
        let mut runs: Vec<lapstrake_tree::write::DataRun> = Vec::new();
        for (at, block) in self.0.chunks(4096).enumerate() {
            let (offset, length) = (at as u64 * 4096, block.len() as u64);
            match runs.last_mut() {
                _ if block.iter().all(|byte| *byte == 0) => {}
                Some(last) if last.offset + last.length == offset => last.length += length,
                _ => runs.push(lapstrake_tree::write::DataRun { offset, length }),
            }
        }
        Ok(runs)
    }
}

/// What has a path: a description, and which file it is.
pub type Shown = BTreeMap<Vec<u8>, (String, (usize, u64))>;

/// Each path of a layer and what it leads to. `layer` tells files of one layer from those of others.
pub fn show(tree: &Tree, data: &[u8], layer: usize) -> Shown {
    let mut shown = Shown::new();
    let mut pending = vec![(NodeId::ROOT, Vec::new())];
    while let Some((id, path)) = pending.pop() {
        let node = tree.node(id);
        let what = match &node.content {
            Content::Directory(_) => "directory".into(),
            Content::File { .. } => format!("file {}", digest(&contents(tree, data, id))),
            other => format!("{other:?}"),
        };
        let mut metadata = node.metadata.clone();
        metadata.xattrs.remove(OPAQUE);
        let text = line(&metadata, &what);
        shown.insert(path.clone(), (text, (layer, id.index() as u64)));
        for (name, child) in tree.children(id) {
            let separator = if path.is_empty() { &b""[..] } else { b"/" };
            pending.push((child, [&path, separator, name].concat()));
        }
    }
    shown
}

/// The same of files in memory.
pub fn show_files(files: &Files) -> Shown {
    let all = files.names.iter();
    all.filter(|(_, id)| files.inodes[id].kind != FileKind::Socket)
        .map(|(name, id)| {
            let inode = &files.inodes[id];
            let what = match &inode.kind {
                FileKind::Directory => "directory".into(),
                FileKind::File { .. } => format!("file {}", digest(&inode.bytes)),
                other => format!("{other:?}"),
            };
            (name.clone(), (line(&inode.metadata, &what), (0, *id)))
        })
        .collect()
}

fn line(metadata: &Metadata, what: &str) -> String {
    format!("{what} {metadata:?}")
}

/// Long contents in few letters.
fn digest(bytes: &[u8]) -> String {
    format!("{} {:08x}", bytes.len(), crc32c::crc32c(bytes))
}

/// Puts a layer over a stack, as overlay does.
pub fn apply(lower: &Shown, layer: &Shown, opaque: &dyn Fn(&[u8]) -> bool) -> Shown {
    let is_whiteout = |text: &str| text.starts_with("CharDevice(Device { major: 0, minor: 0 })");
    let is_directory = |text: &str| text.starts_with("directory");
    let mut merged = lower.clone();
    for (path, (text, id)) in layer {
        let merges = is_directory(text)
            && !opaque(path)
            && merged.get(path).is_some_and(|(text, _)| is_directory(text));
        if !merges {
            merged.retain(|name, _| {
                let rest = name.strip_prefix(&path[..]);
                !rest.is_some_and(|rest| rest.first() == Some(&b'/') || rest.is_empty())
                    && (!path.is_empty() || name.is_empty())
            });
        }
        if !is_whiteout(text) {
            merged.insert(path.clone(), (text.clone(), *id));
        }
    }
    merged
}

/// The mark of an opaque directory; it is not shown.
pub const OPAQUE: &[u8] = b"trusted.overlay.opaque";

/// Paths with what they lead to, and with the first path of the same file.
pub fn comparable(shown: &Shown) -> Vec<(String, String, String)> {
    let mut first = BTreeMap::new();
    for (path, (_, id)) in shown {
        first.entry(*id).or_insert_with(|| path.clone());
    }
    let text = |path: &[u8]| path.escape_ascii().to_string();
    let all = shown.iter();
    all.map(|(path, (what, id))| (text(path), what.clone(), text(&first[id])))
        .collect()
}
