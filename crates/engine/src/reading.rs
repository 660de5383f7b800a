//! Stacks that are mounted for a while, to be read.
//!
//! ```text
//! <run>/read/<pid>-<n>        where one is mounted
//! <run>/read/<pid>-<n>.lock   locked by its reader while that lives
//! ```
//!
//! What a reader that was killed left is unmounted by the next one.

use std::ffi::OsStr;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use lapstrake_oci::Config;
use lapstrake_snapshot::{FileTree, Layer, Place, RunDir, WritableTree};
use lapstrake_store::ImageRecord;
use lapstrake_tree::changes::Writable;

use crate::Engine;
use crate::error::{Result, io_error};

impl Engine {
    /// Shows an image's stack while it can be read.
    pub(crate) fn with_stack<T>(
        &self,
        image: &ImageRecord,
        config: &Config,
        look: impl FnOnce(&FileTree) -> Result<T>,
    ) -> Result<T> {
        self.with_stack_at(image, config, |root| {
            look(&FileTree::open(root).map_err(io_error("open", root))?)
        })
    }

    /// Shows where an image's stack is mounted while it can be read.
    pub(crate) fn with_stack_at<T>(
        &self,
        image: &ImageRecord,
        config: &Config,
        look: impl FnOnce(&Path) -> Result<T>,
    ) -> Result<T> {
        let stack = self.stack(image, config)?;
        let stack = MountedStack::of(self, &stack)?;
        look(stack.target())
    }

    /// Shows a writable layer and its stack while they can be read. One in which nothing was ever done is
    /// not shown: it has no root of its own yet.
    pub(crate) fn with_trees<T>(
        &self,
        name: &str,
        image: &ImageRecord,
        config: &Config,
        look: impl FnOnce(Option<&Writable<'_, FileTree>>, &FileTree) -> Result<T>,
    ) -> Result<T> {
        let place = self.rooms()?.mount(&name.parse()?)?.dir;
        let tree = self.driver()?.tree(&place)?;
        self.with_stack(image, config, |lower| {
            if Place::is_untouched(&place) {
                return look(None, lower);
            }
            let dir = match &tree {
                WritableTree::Upper { dir, .. } | WritableTree::Whole { dir } => dir,
            };
            let upper = FileTree::open(dir).map_err(io_error("open", dir))?;
            let writable = match &tree {
                WritableTree::Upper { .. } => Writable::Upper(&upper),
                WritableTree::Whole { .. } => Writable::Whole(&upper),
            };
            look(Some(&writable), lower)
        })
    }
}

/// A stack that is mounted, to be read only, until it is dropped.
pub(crate) struct MountedStack<'a> {
    run: &'a RunDir,
    place: Locked,
}

impl<'a> MountedStack<'a> {
    pub(crate) fn of(engine: &'a Engine, stack: &[Layer]) -> Result<Self> {
        let dir = engine.run_path.join("read");
        std::fs::create_dir_all(&dir).map_err(io_error("create", &dir))?;
        sweep(&engine.run, &dir)?;
        let mounted = Self {
            run: &engine.run,
            place: Locked::new(&dir)?,
        };
        let target = mounted.target();
        std::fs::create_dir(target).map_err(io_error("create", target))?;
        let driver = engine.driver()?;
        driver.realise(stack)?;
        engine.run.mount(&**driver, stack, None, target)?;
        Ok(mounted)
    }

    /// Where.
    pub(crate) fn target(&self) -> &Path {
        &self.place.target
    }
}

impl Drop for MountedStack<'_> {
    fn drop(&mut self) {
        // What is left after a failure here, the next reader finds.
        drop(take_away(self.run, &self.place));
    }
}

/// A place to mount at, and the lock that keeps it.
struct Locked {
    target: PathBuf,
    lock: PathBuf,
    _held: File,
}

impl Locked {
    fn new(dir: &Path) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let target = dir.join(format!("{}-{number}", std::process::id()));
            let lock = target.with_extension("lock");
            let held = match File::create_new(&lock) {
                Ok(held) => held,
                // An earlier process of this number was killed.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(io_error("create", &lock)(error)),
            };
            // A sweep between the creation and the lock takes it away; try again.
            if held.try_lock().is_ok() && lock.exists() {
                return Ok(Self {
                    target,
                    lock,
                    _held: held,
                });
            }
        }
    }

    /// One that nobody holds.
    fn left(lock: PathBuf) -> Option<Self> {
        let held = File::open(&lock).ok()?;
        held.try_lock().ok()?;
        Some(Self {
            target: lock.with_extension(""),
            lock,
            _held: held,
        })
    }
}

fn sweep(run: &RunDir, dir: &Path) -> Result<()> {
    for entry in std::fs::read_dir(dir).map_err(io_error("list", dir))? {
        let path = entry.map_err(io_error("list", dir))?.path();
        if path.extension() == Some(OsStr::new("lock"))
            && let Some(left) = Locked::left(path)
        {
            take_away(run, &left)?;
        }
    }
    Ok(())
}

/// Unmounts and removes what is there; the lock last, for it is by the lock that the rest is found.
fn take_away(run: &RunDir, place: &Locked) -> Result<()> {
    match run.unmount(&place.target) {
        Err(lapstrake_snapshot::Error::NotMounted { .. }) | Ok(()) => {}
        Err(lapstrake_snapshot::Error::Io { source, .. })
            if source.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    match std::fs::remove_dir(&place.target) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(io_error("remove", &place.target)(error));
        }
        _ => {}
    }
    match std::fs::remove_file(&place.lock) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(io_error("remove", &place.lock)(error))
        }
        _ => Ok(()),
    }
}
