//! A disk that loses power: what a file system may have kept after each step of a workload.
//!
//! ```text
//! run the workload once on a CrashDisk -- after each step --> Cut: names, bytes, databases, and which are safe
//! Cut + Loss --> a directory that a file system could have left --> open the store there, and look (survey)
//! ```
//!
//! The workload runs undisturbed; [`CrashDisk`] notes after each step what would be safe if power
//! went then. One run therefore gives every cut, and each [`Cut`] is written out as often as there are
//! ways to lose what was not synced ([`Loss`]).
//!
//! What may be lost: a name that was made, moved or removed, until its directory was synced,
//! whatever other names were kept (file systems with a journal lose only the last ones; the store
//! does not count on it); bytes of a file, until it was synced: it is then empty, or has its length and
//! zeros (xfs, or a size that was written before the data), or some of its pages; commits of a database
//! behind the last synced one, from the end.
//!
//! What is not modelled: a sync that lies, and damage to what was safe.

mod database;
mod loss;
mod model;
mod survey;
mod write;

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lapstrake_store::{Commit, Disk, RealDisk};
use lapstrake_sys::publish::{Published, StagedFile};

pub use loss::{Bytes, Commits, Loss, Names};
pub use survey::{is_full, survey};

use model::Model;

/// What would be on disk, more or less, if power went at one moment.
#[derive(Debug, Clone)]
pub struct Cut {
    /// The step just before.
    pub after: String,
    model: Model,
}

/// A disk on a real directory that notes what is safe.
#[derive(Debug)]
pub struct CrashDisk {
    base: PathBuf,
    recorder: Mutex<Recorder>,
}

#[derive(Debug)]
struct Recorder {
    model: Model,
    cuts: Vec<Cut>,
}

impl CrashDisk {
    /// A disk on the directory `base`. All that is there now is safe.
    pub fn over(base: &Path) -> Self {
        let mut model = Model::default();
        model.take_in(model::ROOT, base);
        let mut recorder = Recorder {
            model,
            cuts: Vec::new(),
        };
        recorder.note("nothing".to_owned());
        Self {
            base: base.to_owned(),
            recorder: Mutex::new(recorder),
        }
    }

    /// How many steps were taken so far. What is acknowledged now must be there after a cut of this number
    /// and after all later ones.
    pub fn steps(&self) -> usize {
        self.recorder().cuts.len() - 1
    }

    /// The cut before the first step, and the one after each step so far.
    pub fn cuts(&self) -> Vec<Cut> {
        self.recorder().cuts.clone()
    }

    fn recorder(&self) -> MutexGuard<'_, Recorder> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inside<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.base)
            .unwrap_or_else(|_| panic!("{path:?} is not below {:?}", self.base))
    }

    /// Takes a step: what happens to the real directory first, what that means if it succeeds.
    fn step<T>(
        &self,
        words: &str,
        path: &Path,
        act: impl FnOnce() -> io::Result<T>,
        mean: impl FnOnce(&mut Model, &T),
    ) -> io::Result<T> {
        let mut recorder = self.recorder();
        let result = act()?;
        mean(&mut recorder.model, &result);
        recorder.note(format!("{words} {}", self.inside(path).display()));
        Ok(result)
    }
}

impl Recorder {
    fn note(&mut self, after: String) {
        self.model.look_at_bytes();
        self.cuts.push(Cut {
            after,
            model: self.model.clone(),
        });
    }
}

/// A directory for what a cut left: in memory where that can be, for there are thousands of them.
///
/// # Panics
/// If there can be none.
pub fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    dir.expect("a directory can be made")
}

/// The same file, to be read, however it was opened.
fn reopened(file: &File) -> File {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    File::open(path).expect("an open file can be opened to be read")
}

impl Disk for CrashDisk {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        let name = self.inside(path);
        let act = || RealDisk.make_dir(path);
        self.step("make the directory", path, act, |model, ()| {
            let node = model.new_dir();
            model.link(name, node);
        })
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        let name = self.inside(path);
        let act = || RealDisk.create(path);
        self.step("create", path, act, |model, file| {
            let node = model.file(&reopened(file));
            model.link(name, node);
        })
    }

    fn publish(&self, mut staged: StagedFile, path: &Path) -> io::Result<Published> {
        let (name, file) = (self.inside(path), reopened(staged.file()));
        let act = || RealDisk.publish(staged, path);
        self.step("publish", path, act, |model, published| {
            if *published == Published::New {
                let node = model.file(&file);
                model.link(name, node);
            }
        })
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<Published> {
        let (old, new) = (self.inside(from), self.inside(to));
        let act = || RealDisk.rename_new(from, to);
        self.step("rename to", to, act, |model, published| {
            if *published == Published::New {
                model.rename(old, new);
            }
        })
    }

    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (old, new) = (self.inside(from), self.inside(to));
        let act = || RealDisk.replace(from, to);
        self.step("replace", to, act, |model, ()| model.rename(old, new))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let name = self.inside(path);
        let act = || RealDisk.remove_file(path);
        self.step("remove", path, act, |model, ()| model.unlink(name))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let name = self.inside(path);
        let act = || RealDisk.remove_dir(path);
        self.step("remove the directory", path, act, |model, ()| {
            model.unlink(name);
        })
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        let act = || RealDisk.sync_file(file);
        self.step("sync a file of", &self.base, act, |model, ()| {
            model.sync_file(&reopened(file));
        })
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let name = self.inside(path);
        let act = || RealDisk.sync_dir(path);
        self.step("sync the directory", path, act, |model, ()| {
            model.sync_dir(name);
        })
    }

    fn committed(&self, path: &Path, commit: Commit) -> io::Result<()> {
        let name = self.inside(path);
        let act = || database::Snapshot::of(path);
        let words = match commit {
            Commit::Lazy => "commit to",
            Commit::Synced => "commit and sync",
        };
        self.step(words, path, act, |model, snapshot| {
            model.committed(name, snapshot.clone(), commit);
        })
        .map(drop)
    }
}
