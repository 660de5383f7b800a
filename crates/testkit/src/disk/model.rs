//! Names and bytes: those that everybody sees now, and those that are safe.
//!
//! A change of names sets one slot (a name in a directory), or two at once for a move. It is safe
//! when one of its directories was synced, and then takes along the earlier changes that it rests on:
//! those of the same slot or of the same file or directory.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Arc;

use lapstrake_store::Commit;

use super::database::{Database, Snapshot};

/// A file or a directory.
pub(super) type Node = usize;
/// A name in a directory.
pub(super) type Slot = (Node, OsString);

/// The directory that the disk is on.
pub(super) const ROOT: Node = 0;

/// What is known of a file's bytes.
#[derive(Debug, Clone)]
pub(super) struct Contents {
    /// To look at them, under whatever name or none.
    file: Arc<File>,
    /// As readers see them.
    pub(super) now: Arc<[u8]>,
    /// As they were when they were synced last.
    pub(super) safe: Option<Arc<[u8]>>,
}

/// Slots that change together.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) node: Node,
    pub(super) slots: Vec<(Slot, Option<Node>)>,
}

impl Change {
    pub(super) fn rests_on(&self, earlier: &Self) -> bool {
        self.node == earlier.node
            || self
                .slots
                .iter()
                .any(|(slot, _)| earlier.slots.iter().any(|(other, _)| other == slot))
    }

    pub(super) fn apply(&self, names: &mut BTreeMap<Slot, Node>) {
        for (slot, node) in &self.slots {
            match node {
                Some(node) => drop(names.insert(slot.clone(), *node)),
                None => drop(names.remove(slot)),
            }
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Model {
    /// `None` for a directory.
    pub(super) nodes: Vec<Option<Contents>>,
    by_inode: BTreeMap<(u64, u64), Node>,
    seen: BTreeMap<Slot, Node>,
    pub(super) safe: BTreeMap<Slot, Node>,
    /// Changes that are seen and not safe, in their order.
    pub(super) pending: Vec<Change>,
    pub(super) databases: BTreeMap<Slot, Database>,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            nodes: vec![None],
            by_inode: BTreeMap::new(),
            seen: BTreeMap::new(),
            safe: BTreeMap::new(),
            pending: Vec::new(),
            databases: BTreeMap::new(),
        }
    }
}

impl Model {
    /// Takes everything below a directory for safe.
    pub(super) fn take_in(&mut self, dir: Node, path: &Path) {
        let listing = std::fs::read_dir(path).expect("the directory can be listed");
        for entry in listing {
            let entry = entry.expect("the directory can be listed");
            let kind = entry.file_type().expect("a file has a type");
            let node = if kind.is_dir() {
                let node = self.new_dir();
                self.take_in(node, &entry.path());
                node
            } else {
                let node = self.file(&File::open(entry.path()).expect("a file can be opened"));
                self.keep_bytes(node);
                node
            };
            let slot = (dir, entry.file_name());
            self.seen.insert(slot.clone(), node);
            self.safe.insert(slot, node);
        }
    }

    pub(super) fn new_dir(&mut self) -> Node {
        self.nodes.push(None);
        self.nodes.len() - 1
    }

    /// The node of an open file, which may be new.
    pub(super) fn file(&mut self, file: &File) -> Node {
        let metadata = file.metadata().expect("an open file has metadata");
        let inode = (metadata.dev(), metadata.ino());
        if let Some(node) = self.by_inode.get(&inode) {
            return *node;
        }
        let node = self.nodes.len();
        self.by_inode.insert(inode, node);
        // Held open, so that its inode number is not used again.
        let file = file.try_clone().expect("a file descriptor is to be had");
        self.nodes.push(Some(Contents {
            file: Arc::new(file),
            now: Arc::default(),
            safe: None,
        }));
        node
    }

    fn dir(&self, path: &Path) -> Node {
        path.iter().fold(ROOT, |dir, name| {
            let slot = (dir, name.to_owned());
            *self
                .seen
                .get(&slot)
                .unwrap_or_else(|| panic!("{path:?} was not made through the disk"))
        })
    }

    pub(super) fn slot(&self, path: &Path) -> Slot {
        let parent = path.parent().expect("a path below the disk's directory");
        let name = path.file_name().expect("a path ends with a name");
        (self.dir(parent), name.to_owned())
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.seen);
        self.pending.push(change);
    }

    pub(super) fn link(&mut self, path: &Path, node: Node) {
        let slots = vec![(self.slot(path), Some(node))];
        self.change(Change { node, slots });
    }

    pub(super) fn unlink(&mut self, path: &Path) {
        let (node, slots) = (self.dir(path), vec![(self.slot(path), None)]);
        self.change(Change { node, slots });
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) {
        let node = self.dir(from);
        let slots = vec![(self.slot(from), None), (self.slot(to), Some(node))];
        self.change(Change { node, slots });
    }

    pub(super) fn sync_dir(&mut self, path: &Path) {
        let dir = self.dir(path);
        let mut pending = std::mem::take(&mut self.pending);
        let mut safe = vec![false; pending.len()];
        for at in (0..pending.len()).rev() {
            let in_dir = pending[at].slots.iter().any(|((slot, _), _)| *slot == dir);
            let under_safe = (at + 1..pending.len())
                .any(|later| safe[later] && pending[later].rests_on(&pending[at]));
            safe[at] = in_dir || under_safe;
        }
        let mut decided = safe.into_iter();
        pending.retain(|change| {
            let is_safe = decided.next().expect("one decision for each change");
            if is_safe {
                change.apply(&mut self.safe);
            }
            !is_safe
        });
        self.pending = pending;
    }

    pub(super) fn sync_file(&mut self, file: &File) {
        let node = self.file(file);
        self.keep_bytes(node);
    }

    fn keep_bytes(&mut self, node: Node) {
        let contents = self.nodes[node].as_mut().expect("a file, not a directory");
        contents.look();
        contents.safe = Some(Arc::clone(&contents.now));
    }

    /// Notes what each file's bytes are now.
    pub(super) fn look_at_bytes(&mut self) {
        for contents in self.nodes.iter_mut().flatten() {
            contents.look();
        }
    }

    pub(super) fn committed(&mut self, path: &Path, snapshot: Snapshot, commit: Commit) {
        let slot = self.slot(path);
        // The database's files are no longer files like others.
        for name in Database::names(&slot.1) {
            self.seen.remove(&(slot.0, name.clone()));
            self.safe.remove(&(slot.0, name));
        }
        self.databases
            .entry(slot)
            .or_default()
            .committed(snapshot, commit);
    }
}

impl Contents {
    fn look(&mut self) {
        let length = self
            .file
            .metadata()
            .expect("an open file has metadata")
            .len();
        let mut bytes = vec![0; usize::try_from(length).expect("a test's files are small")];
        self.file
            .read_exact_at(&mut bytes, 0)
            .expect("an open file can be read");
        if *bytes != *self.now {
            self.now = bytes.into();
        }
    }
}
