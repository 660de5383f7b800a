//! The default driver: one EROFS superblock per layer, overlay on top.
//!
//! What it keeps true:
//! - a layer's files are as long as the record says, at every mount, or the mount is refused:
//!   EROFS reads zeros past the end of a short file;
//! - an index has the recorded digest at every mount: no other bytes reach the kernel's parser;
//! - what was checked is what is mounted: files are opened once and mounted by descriptor;
//! - a layer is mounted once per run directory, whoever comes later finds that mount: a second
//!   superblock over the same files is a second page cache;
//! - a process that dies at any point leaves nothing that the next [`unmount`] or [`sweep`] of the
//!   same run directory does not find.
//!
//! The steps: [`Survey`] opens and measures the files, [`Facts::probe`] asks the kernel what it
//! can do with them, [`plan`] decides (it is pure), and [`mount`] does all of it under the lock of
//! the [`RunDir`].
//!
//! Left out: idle layers stay mounted no longer than their last stack, and nothing here keeps
//! descriptors alive between processes; both are the keeper's.

mod error;
mod facts;
mod one_page;
mod perform;
mod plan;
mod run_dir;
mod survey;

use std::path::{Path, PathBuf};

use lapstrake_sys::file;

pub use error::{Error, Result};
pub use facts::{Facts, OverlayApi, Place};
pub use plan::{Backing, LayerPlan, Lower, MAX_LAYERS, Plan, plan};
pub use run_dir::RunDir;
pub use survey::Survey;

/// The files of one layer and what the record says of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerFiles {
    /// The layer's diff id, in lower-case hex.
    pub id: String,
    /// The EROFS index.
    pub index: PathBuf,
    /// The data file; none when the layer has no file contents.
    pub data: Option<PathBuf>,
    /// Recorded length of the index.
    pub index_len: u64,
    /// Recorded BLAKE3 of the index, in lower-case hex.
    pub index_blake3: String,
    /// Recorded length of the data file; 0 when there is none.
    pub data_len: u64,
}

/// A container's own changes: two directories on one file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writable {
    /// Where changes are kept.
    pub upper: PathBuf,
    /// Overlay's scratch directory, empty at first.
    pub work: PathBuf,
    /// How a file of a lower layer is changed for the first time.
    pub copy_up: CopyUp,
}

/// What is copied when the first change to a lower file is one of its attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyUp {
    /// The whole file. The writable layer stays an ordinary tree that any tool understands.
    Whole,
    /// The attributes, and the contents with the first write (overlay's `metacopy`). A writable
    /// layer once mounted so must always be: it holds files without contents, and redirects.
    AttributesFirst,
}

/// How file contents reach the page cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageCache {
    /// Past the cache of the data file, where its file system allows: one copy.
    Direct,
    /// Through the cache of the data file: two copies until the first is dropped.
    Buffered,
}

/// What to mount, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The layers, bottom first.
    pub layers: Vec<LayerFiles>,
    /// The writable layer; without one the root is read-only.
    pub writable: Option<Writable>,
    /// An existing directory.
    pub target: PathBuf,
    /// How file contents are cached.
    pub cache: PageCache,
}

/// A root that is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// Where.
    pub target: PathBuf,
    /// Layers mounted now.
    pub fresh: usize,
    /// Layers that were mounted already, for another stack.
    pub shared: usize,
}

/// Mounts a stack at its target.
pub fn mount(run: &RunDir, request: &Request) -> Result<Mounted> {
    // Names and depth are judged before any file is opened.
    plan::check(request)?;
    // Three for each layer: its index, its data, its root.
    let descriptors = 64 + 3 * u32::try_from(request.layers.len()).unwrap_or(u32::MAX / 4);
    file::with_descriptor_table(descriptors, || survey_and_mount(run, request))
        .map_err(error::io("get a descriptor table for", &request.target))?
}

fn survey_and_mount(run: &RunDir, request: &Request) -> Result<Mounted> {
    let survey = Survey::of(&request.layers)?;
    let facts = Facts::probe(&survey)?;
    let plan = plan(request, &survey, &facts)?;
    let locked = run.lock()?;
    match perform::perform(&locked, &plan, &survey) {
        Ok(mounted) => Ok(mounted),
        Err(error) => {
            // The first error is the one to tell; what this leaves, the next sweep finds.
            drop(locked.sweep());
            Err(error)
        }
    }
}

/// Unmounts the root at `target`, and the layers that no other stack uses.
pub fn unmount(run: &RunDir, target: &Path) -> Result<()> {
    // Somebody else's look (a listing, a copied descriptor table) holds a root for an instant. The
    // lock is let go between tries, for whoever waits for it may be the one that looks.
    for _try in 1..BUSY_TRIES {
        match unmount_once(run, target) {
            Err(Error::Busy { .. }) => std::thread::sleep(BUSY_PAUSE),
            done => return done,
        }
    }
    unmount_once(run, target)
}

/// Half a second in all: longer than any look, shorter than anyone's patience.
const BUSY_TRIES: u32 = 50;
const BUSY_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);

fn unmount_once(run: &RunDir, target: &Path) -> Result<()> {
    let locked = run.lock()?;
    locked.unmount_stack(target)?;
    locked.sweep()
}

/// Unmounts layers that no stack uses any more, and forgets stacks that were unmounted by others.
pub fn sweep(run: &RunDir) -> Result<()> {
    run.lock()?.sweep()
}
