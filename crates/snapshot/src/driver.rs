//! The seam: how a stack and a writable layer become one root, on this kernel and file system.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use lapstrake_oci::DiffId;

use crate::{Layer, Mounts, Result};

/// A way to make roots.
///
/// The life of a layer: it is content, whatever the driver. [`realise`](Self::realise) makes of
/// every layer of a stack what this driver needs on disk: nothing for one that mounts the content
/// itself, an unpacked tree for others. Realised twice is realised once, by however many processes
/// at a time; a crash half-way leaves what the driver's next opening sweeps, never half a layer
/// under its name. [`forget`](Self::forget) takes that away again, and nothing else: the content
/// stays, so it can be realised anew, by this driver or another.
///
/// The life of a writable layer: it lies in a *place*, an empty directory that the caller provides
/// (`state/containers/<id>/`, or a limited room mounted somewhere), which belongs to one driver from
/// [`create`](Self::create) until the caller removes the directory. [`mounts`](Self::mounts)
/// describes its root, as often as wanted; [`RunDir::mount`](crate::RunDir::mount) makes it. Its
/// changes are read from [`tree`](Self::tree) while it is not mounted, or quiet.
///
/// Every stack is bottom layer first. The engine calls these from many threads.
pub trait Driver: Send + Sync + Debug {
    /// Docker's word for it: `overlay2`, `vfs`; `erofs` for the one that Docker has not.
    fn name(&self) -> &'static str;

    /// What is good to know of it on this host, as `docker info` lists it: names and values.
    fn status(&self) -> Vec<(String, String)>;

    /// Makes what a root of this stack needs on disk. Safe to repeat, durable when it returns.
    fn realise(&self, stack: &[Layer]) -> Result<()>;

    /// The layers of which it keeps something on disk.
    fn realised(&self) -> Result<BTreeSet<DiffId>>;

    /// Removes what it keeps of a layer. Nothing to remove is success; a layer that a mounted root
    /// uses is [`Error::LayerInUse`](crate::Error::LayerInUse).
    fn forget(&self, layer: &DiffId) -> Result<()>;

    /// Makes an empty writable layer over a realised stack in the directory `place`. Safe to repeat:
    /// one that is complete is left as it is.
    fn create(&self, stack: &[Layer], place: &Path) -> Result<()>;

    /// What to mount for a root of a realised stack: changes go to `place`, and without one the
    /// root is read-only.
    ///
    /// The descriptors in the answer are those of the calling thread.
    fn mounts(&self, stack: &[Layer], place: Option<&Path>) -> Result<Mounts>;

    /// Where the changes in a place are to be read.
    fn tree(&self, place: &Path) -> Result<WritableTree>;
}

/// A writable layer on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WritableTree {
    /// Only what changed, with overlay's marks: character devices 0:0 and attributes.
    Upper {
        /// Overlay's upper directory.
        dir: PathBuf,
        /// With [`CopyUp::AttributesFirst`] it has files without contents, and redirects.
        copy_up: CopyUp,
    },
    /// The whole root; what changed is found by comparing it with the stack.
    Whole {
        /// The root.
        dir: PathBuf,
    },
}

/// What overlay copies when the first change to a lower file is one of its attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyUp {
    /// The whole file. The writable layer stays an ordinary tree that any tool understands.
    Whole,
    /// The attributes, and the contents with the first write (overlay's `metacopy`). A writable
    /// layer once mounted so must always be: it holds files without contents, and redirects.
    AttributesFirst,
}
