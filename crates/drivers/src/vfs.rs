//! Whole roots: for file systems on which overlay cannot work, and for comparing the others with.
//!
//! ```text
//! <home>/dir/<hex>/        the root of a stack, by chain id
//! <home>/chains/<hex>      the layers of that stack, bottom first: one line each
//! ```
//!
//! As Docker lays it out, but only stacks that somebody mounts are made, not every one below them. A
//! stack is made from a copy of the longest part of it that is there; copies share blocks where the
//! file system can. A writable layer is a copy again, in its place.
//!
//! The list of layers is written before the tree has its name, so there is no tree that nobody
//! knows the layers of.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use lapstrake_oci::{ChainId, DiffId, Digest, chain_ids};
use lapstrake_snapshot::{
    Driver, Error, Layer, Mounts, OpenDir, OpenFile, Place, Result, Root, RunDir, WritableTree,
    std_io,
};
use lapstrake_sys::publish;

use crate::copy_tree::copy_tree;
use crate::home::{Home, make_dirs, names};
use crate::unpack::{Attributes, Marks, Missing, Unpacker, tree_of};

/// What `vfs` does on a file system without extended attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Xattrs {
    /// Layers that have any are refused.
    Needed,
    /// They are left out; what needs them (capabilities of files, access lists) does not work.
    BestEffort,
}

/// The driver.
#[derive(Debug, Clone)]
pub struct Vfs {
    home: Home,
    run: RunDir,
    xattrs: Xattrs,
}

impl Vfs {
    /// Opens the driver over its directory, and removes what crashes left there.
    pub fn open(home: &Path, run: &RunDir, xattrs: Xattrs) -> Result<Self> {
        let driver = Self {
            home: Home::open(home.to_owned())?,
            run: run.clone(),
            xattrs,
        };
        for dir in [driver.home.path().join("dir"), driver.chains()] {
            make_dirs(&dir)?;
        }
        Ok(driver)
    }

    fn chains(&self) -> PathBuf {
        self.home.path().join("chains")
    }

    fn attributes(&self) -> Attributes {
        Attributes {
            missing: match self.xattrs {
                Xattrs::Needed => Missing::Refuse,
                Xattrs::BestEffort => Missing::LeaveOut,
            },
        }
    }

    /// Where the root of a stack is, or would be.
    fn root(&self, stack: &[Layer]) -> PathBuf {
        self.home.path().join(root_name(stack))
    }

    /// The layers of every stack that is listed, with the name of the list.
    fn listed(&self) -> Result<Vec<(PathBuf, Vec<DiffId>)>> {
        let mut all = Vec::new();
        for name in names(&self.chains())? {
            let path = self.chains().join(&name);
            let text = match std::fs::read_to_string(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(std_io("read", path)(error)),
            };
            let ids = text.lines().filter_map(|id| id.parse::<Digest>().ok());
            all.push((PathBuf::from(name), ids.map(DiffId).collect()));
        }
        Ok(all)
    }

    fn list(&self, stack: &[Layer]) -> Result<()> {
        let (dir, name) = (self.chains(), chain_name(stack));
        let path = dir.join(&name);
        if path.exists() {
            return Ok(());
        }
        let stage = self.home.stage()?;
        let new = stage.path().join("chain");
        let mut file = File::create(&new).map_err(std_io("create", &new))?;
        for layer in stack {
            writeln!(file, "{}", layer.id).map_err(std_io("write", &new))?;
        }
        publish::sync_file(&file).map_err(std_io("sync", &new))?;
        publish::replace(&new, &path).map_err(std_io("rename to", &path))?;
        publish::sync_dir(&dir).map_err(std_io("sync", &dir))
    }

    /// A copy of the directory `from`, or an empty one, at `to`.
    fn copy(&self, from: Option<&Path>, to: &Path) -> Result<()> {
        DirBuilder::new()
            .mode(0o755)
            .create(to)
            .map_err(std_io("create directory", to))?;
        match from {
            Some(from) => copy_tree(from, to, self.attributes()),
            None => Ok(()),
        }
    }
}

/// The name of a stack's root and of its list.
fn chain_name(stack: &[Layer]) -> String {
    match chain_ids(stack.iter().map(|layer| &layer.id)).last() {
        Some(ChainId(digest)) => digest.hex().to_owned(),
        None => "empty".to_owned(),
    }
}

fn root_name(stack: &[Layer]) -> PathBuf {
    Path::new("dir").join(chain_name(stack))
}

impl Driver for Vfs {
    fn name(&self) -> &'static str {
        "vfs"
    }

    fn status(&self) -> Vec<(String, String)> {
        match self.xattrs {
            Xattrs::Needed => Vec::new(),
            Xattrs::BestEffort => vec![(
                "Extended file attributes".to_owned(),
                "best-effort".to_owned(),
            )],
        }
    }

    fn realise(&self, stack: &[Layer]) -> Result<()> {
        if self.root(stack).exists() {
            return Ok(());
        }
        let _kept = self.run.keep()?;
        let there = (0..stack.len())
            .rev()
            .find(|length| *length > 0 && self.root(&stack[..*length]).exists())
            .unwrap_or(0);
        let from = (there > 0).then(|| self.root(&stack[..there]));
        let stage = self.home.stage()?;
        let root = stage.path().join("root");
        self.copy(from.as_deref(), &root)?;
        for layer in &stack[there..] {
            let tree = tree_of(layer)?;
            let data = layer.data.as_ref().map(OpenFile::open).transpose()?;
            let attributes = self.attributes();
            Unpacker::new(&tree, data.as_ref(), Marks::Obeyed, attributes, &root)?.unpack()?;
        }
        self.list(stack)?;
        self.home.publish(&root, &root_name(stack))
    }

    fn realised(&self) -> Result<BTreeSet<DiffId>> {
        // A list without its root is of one that was not finished.
        let dir = self.home.path().join("dir");
        let listed = self.listed()?.into_iter();
        let whole = listed.filter(|(name, _)| dir.join(name).exists());
        Ok(whole.flat_map(|(_, ids)| ids).collect())
    }

    fn forget(&self, layer: &DiffId) -> Result<()> {
        let quiet = self.run.quiet()?;
        if quiet.in_use()?.contains(layer) {
            return Err(Error::LayerInUse { id: layer.clone() });
        }
        for (name, ids) in self.listed()? {
            if ids.contains(layer) {
                self.home.remove(&Path::new("dir").join(&name))?;
                self.home.remove(&Path::new("chains").join(&name))?;
            }
        }
        Ok(())
    }

    fn create(&self, stack: &[Layer], place: &Path) -> Result<()> {
        match Place::at(place)? {
            Some(Place::Whole) => return Ok(()),
            Some(Place::Upper(_)) => {
                Place::whole_root(place)?;
            }
            None => {}
        }
        let root = place.join("root");
        // A copy that a crash interrupted.
        match std::fs::remove_dir_all(&root) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(std_io("remove", root)(error));
            }
            _ => {}
        }
        let _kept = self.run.keep()?;
        let from = self.root(stack);
        if !from.exists() {
            return Err(self.not_realised(stack));
        }
        self.copy(Some(&from), &root)?;
        let dir = File::open(&root).map_err(std_io("open", &root))?;
        rustix::fs::syncfs(&dir).map_err(lapstrake_snapshot::io("sync", &root))?;
        Place::Whole.finish(place)
    }

    fn mounts(&self, stack: &[Layer], place: Option<&Path>) -> Result<Mounts> {
        let (source, layers) = match place {
            // It has all that it needs: the stack may go.
            Some(place) => (Place::whole_root(place)?, Vec::new()),
            None => {
                let ids = stack.iter().map(|layer| layer.id.clone());
                (self.root(stack), ids.collect())
            }
        };
        if !source.exists() {
            return Err(self.not_realised(stack));
        }
        Ok(Mounts {
            layers,
            shared: Vec::new(),
            root: Root::Bind {
                source: OpenDir::open(&source)?,
                read_only: place.is_none(),
            },
        })
    }

    fn tree(&self, place: &Path) -> Result<WritableTree> {
        Place::tree(place)
    }
}

impl Vfs {
    fn not_realised(&self, stack: &[Layer]) -> Error {
        match stack.last() {
            Some(layer) => Error::NotRealised {
                id: layer.id.clone(),
                driver: self.name(),
            },
            None => Error::NoPlace {
                place: self.root(stack),
            },
        }
    }
}
