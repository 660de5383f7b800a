//! What everything below a store's root takes on the disk, told apart by what it is for.
//!
//! Every file and directory is in exactly one place of a [`Holdings`], but for what is in the directories
//! that [`OTHERS`] names, which are not the store's to look into: together they are what `du` says. Content is
//! looked at file by file and nothing is read, so that thousands of layers take milliseconds.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use lapstrake_oci::DiffId;
use lapstrake_sys::parallel;

use crate::Store;
use crate::error::{Result, io_error};
use crate::object::Object;
use crate::usage::{FileUse, entries, measure};

/// Directories below `state/` in which others keep something of theirs under each name: rooms of writable
/// layers, rooms of volumes, and containers' files. What has a name with a dot in front is looked at here.
pub const OTHERS: [&str; 3] = ["containers", "volumes", "container-files"];

/// What is not content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    /// Content that is being written, or that a crash left so.
    Staged,
    /// Content that was removed and is not yet unlinked.
    Trash,
    /// Damaged content that was kept for a look.
    Quarantine,
    /// The state database.
    Database,
    /// What storage drivers made of layers: unpacked trees.
    Drivers,
    /// Writable layers and volumes that were removed or are being made, and rooms that were made ahead.
    Rooms,
    /// Directories, leases, formats.
    Rest,
}

impl Area {
    /// Every area.
    pub const ALL: [Self; 7] = [
        Self::Staged,
        Self::Trash,
        Self::Quarantine,
        Self::Database,
        Self::Drivers,
        Self::Rooms,
        Self::Rest,
    ];

    /// As said to people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Staged => "staged",
            Self::Trash => "trash",
            Self::Quarantine => "quarantine",
            Self::Database => "database",
            Self::Drivers => "drivers",
            Self::Rooms => "rooms",
            Self::Rest => "rest",
        }
    }
}

/// Files and directories, by what they are for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Every object that is on disk, a layer with its index.
    pub objects: BTreeMap<Object, Vec<FileUse>>,
    /// Everything else that belongs here.
    pub areas: BTreeMap<Area, Vec<FileUse>>,
    /// What the store does not know, by its path below the root.
    pub unknown: BTreeMap<PathBuf, Vec<FileUse>>,
}

impl Store {
    /// Looks at everything below the root, but for what others keep in [`OTHERS`].
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn holdings(&self) -> Result<Holdings> {
        let shared = &self.shared;
        let objects: Vec<_> = shared.content.objects()?.into_iter().collect();
        let measured = parallel::map(&objects, |object| shared.measure(object))?;
        let mut holdings = Holdings {
            objects: objects.into_iter().zip(measured).collect(),
            ..Holdings::default()
        };
        holdings.root(self)?;
        Ok(holdings)
    }

    /// What a layer takes on the disk, with its index.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn uses(&self, layer: &DiffId) -> Result<Vec<FileUse>> {
        self.shared.measure(&Object::Layer(layer.clone()))
    }
}

impl Holdings {
    fn root(&mut self, store: &Store) -> Result<()> {
        let root = store.root();
        self.dir(root)?;
        for name in entries(root)? {
            let path = root.join(&name);
            match name.to_str() {
                Some("content") => self.content(&path, store)?,
                Some("state") => self.state(&path, store)?,
                _ => self.unknown(&path, store)?,
            }
        }
        Ok(())
    }

    fn content(&mut self, content: &Path, store: &Store) -> Result<()> {
        self.dir(content)?;
        for name in entries(content)? {
            let path = content.join(&name);
            match name.to_str() {
                Some("blobs" | "layers") => self.sharded(&path, store)?,
                Some("tmp") => self.below(Area::Staged, &path)?,
                Some("trash") => self.below(Area::Trash, &path)?,
                Some("quarantine") => self.below(Area::Quarantine, &path)?,
                Some("leases" | "format.json") => self.whole(Area::Rest, &path)?,
                _ => self.unknown(&path, store)?,
            }
        }
        Ok(())
    }

    /// The directories that content lies in, and what there is no content.
    fn sharded(&mut self, kind: &Path, store: &Store) -> Result<()> {
        let is_layer = kind.ends_with("layers");
        self.dir(kind)?;
        for algorithm in entries(kind)? {
            let dir = kind.join(&algorithm);
            self.dir(&dir)?;
            for shard in entries(&dir)? {
                let dir = dir.join(shard);
                self.dir(&dir)?;
                for hex in entries(&dir)? {
                    let object = object(is_layer, &algorithm, &hex);
                    if object.is_none_or(|object| !self.objects.contains_key(&object)) {
                        self.unknown(&dir.join(hex), store)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn state(&mut self, state: &Path, store: &Store) -> Result<()> {
        self.dir(state)?;
        for name in entries(state)? {
            let path = state.join(&name);
            match name.to_str() {
                Some(name) if OTHERS.contains(&name) => {
                    self.dir(&path)?;
                    let hidden = |name: &OsString| name.as_encoded_bytes().starts_with(b".");
                    for name in entries(&path)?.into_iter().filter(hidden) {
                        self.whole(Area::Rooms, &path.join(name))?;
                    }
                }
                Some("index") => self.indexes(&path, store)?,
                Some("drivers") => self.below(Area::Drivers, &path)?,
                Some("format.json" | "owner") => self.whole(Area::Rest, &path)?,
                Some(name) if name.starts_with("state.db") => self.whole(Area::Database, &path)?,
                _ => self.unknown(&path, store)?,
            }
        }
        Ok(())
    }

    /// Indexes of layers that are here are those layers'.
    fn indexes(&mut self, dir: &Path, store: &Store) -> Result<()> {
        self.dir(dir)?;
        let layers = self.objects.keys().filter_map(|object| match object {
            Object::Layer(id) => Some(store.indexes.path(id)),
            Object::Blob(_) => None,
        });
        let known: std::collections::HashSet<_> = layers.collect();
        for name in entries(dir)? {
            let path = dir.join(name);
            if !known.contains(&path) {
                self.unknown(&path, store)?;
            }
        }
        Ok(())
    }

    /// A directory itself is the store's, what is in it the area's.
    fn below(&mut self, area: Area, dir: &Path) -> Result<()> {
        self.dir(dir)?;
        for name in entries(dir)? {
            self.whole(area, &dir.join(name))?;
        }
        Ok(())
    }

    fn whole(&mut self, area: Area, path: &Path) -> Result<()> {
        measure(path, self.areas.entry(area).or_default())
    }

    fn unknown(&mut self, path: &Path, store: &Store) -> Result<()> {
        let name = path.strip_prefix(store.root()).unwrap_or(path).to_owned();
        measure(path, self.unknown.entry(name).or_default())
    }

    /// The directory alone.
    fn dir(&mut self, path: &Path) -> Result<()> {
        match FileUse::of(path) {
            Ok(file) => self.areas.entry(Area::Rest).or_default().push(file),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_error("look at", path)(error)),
        }
        Ok(())
    }
}

/// What lies at such a place, if it is an object.
fn object(is_layer: bool, algorithm: &OsStr, hex: &OsStr) -> Option<Object> {
    let digest = format!("{}:{}", algorithm.to_str()?, hex.to_str()?);
    let digest = digest.parse().ok()?;
    Some(match is_layer {
        true => Object::Layer(DiffId(digest)),
        false => Object::Blob(digest),
    })
}
