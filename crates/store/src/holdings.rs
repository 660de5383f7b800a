//! What everything below a store's root takes on the disk, told apart by what it is for.
//!
//! Every file and directory is in exactly one place of a [`Holdings`], but for the rooms of writable
//! layers, which are not the store's to look into: together they are what `du` says. Content is looked at
//! file by file and nothing is read, so that thousands of layers take milliseconds.

use std::collections::BTreeMap;
use std::path::Path;

use lapstrake_oci::DiffId;
use lapstrake_sys::parallel;

use crate::Store;
use crate::content::names;
use crate::error::{Result, io_error};
use crate::object::Object;
use crate::usage::{FileUse, measure};

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
    /// Writable layers that were removed or are being made, and rooms that were made ahead.
    Rooms,
    /// Volumes.
    Volumes,
    /// Directories, leases, formats, and whatever else lies there.
    Rest,
}

impl Area {
    /// Every area.
    pub const ALL: [Self; 8] = [
        Self::Staged,
        Self::Trash,
        Self::Quarantine,
        Self::Database,
        Self::Drivers,
        Self::Rooms,
        Self::Volumes,
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
            Self::Volumes => "volumes",
            Self::Rest => "rest",
        }
    }
}

/// Files and directories, by what they are for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Every object that is on disk, a layer with its index.
    pub objects: BTreeMap<Object, Vec<FileUse>>,
    /// Everything else.
    pub areas: BTreeMap<Area, Vec<FileUse>>,
}

impl Store {
    /// Looks at everything below the root but for the rooms of writable layers.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn holdings(&self) -> Result<Holdings> {
        let shared = &self.shared;
        let objects: Vec<_> = shared.content.objects()?.into_iter().collect();
        let measured = parallel::map(&objects, |object| shared.measure(object))?;
        let mut holdings = Holdings {
            objects: objects.into_iter().zip(measured).collect(),
            areas: BTreeMap::new(),
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
        for name in names(root)? {
            let path = root.join(&name);
            match name.as_str() {
                "content" => self.content(&path)?,
                "state" => self.state(&path, store)?,
                _ => self.whole(Area::Rest, &path)?,
            }
        }
        Ok(())
    }

    fn content(&mut self, content: &Path) -> Result<()> {
        self.dir(content)?;
        for name in names(content)? {
            let path = content.join(&name);
            match name.as_str() {
                "blobs" | "layers" => self.sharded(&path)?,
                "tmp" => self.below(Area::Staged, &path)?,
                "trash" => self.below(Area::Trash, &path)?,
                "quarantine" => self.below(Area::Quarantine, &path)?,
                _ => self.whole(Area::Rest, &path)?,
            }
        }
        Ok(())
    }

    /// The directories that content lies in, and what there is no content.
    fn sharded(&mut self, kind: &Path) -> Result<()> {
        let is_layer = kind.ends_with("layers");
        self.dir(kind)?;
        for algorithm in names(kind)? {
            let dir = kind.join(&algorithm);
            self.dir(&dir)?;
            for shard in names(&dir)? {
                let dir = dir.join(shard);
                self.dir(&dir)?;
                for hex in names(&dir)? {
                    let object = format!("{algorithm}:{hex}").parse();
                    let object = object.ok().map(|digest| match is_layer {
                        true => Object::Layer(DiffId(digest)),
                        false => Object::Blob(digest),
                    });
                    if object.is_none_or(|object| !self.objects.contains_key(&object)) {
                        self.whole(Area::Rest, &dir.join(hex))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn state(&mut self, state: &Path, store: &Store) -> Result<()> {
        self.dir(state)?;
        for name in names(state)? {
            let path = state.join(&name);
            match name.as_str() {
                "containers" => {
                    self.dir(&path)?;
                    for name in names(&path)?.iter().filter(|name| name.starts_with('.')) {
                        self.whole(Area::Rooms, &path.join(name))?;
                    }
                }
                "index" => self.indexes(&path, store)?,
                "drivers" => self.below(Area::Drivers, &path)?,
                "volumes" => self.below(Area::Volumes, &path)?,
                name if name.starts_with("state.db") => self.whole(Area::Database, &path)?,
                _ => self.whole(Area::Rest, &path)?,
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
        for name in names(dir)? {
            let path = dir.join(name);
            if !known.contains(&path) {
                self.whole(Area::Rest, &path)?;
            }
        }
        Ok(())
    }

    /// A directory itself is the store's, what is in it the area's.
    fn below(&mut self, area: Area, dir: &Path) -> Result<()> {
        self.dir(dir)?;
        for name in names(dir)? {
            self.whole(area, &dir.join(name))?;
        }
        Ok(())
    }

    fn whole(&mut self, area: Area, path: &Path) -> Result<()> {
        measure(path, self.areas.entry(area).or_default())
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
