//! One owner: the process that may change a store.
//!
//! `state/owner` is locked (`flock`) for as long as the owner lives, so a dead one never stands in
//! the way. Whoever is refused reads in it who is there:
//!
//! ```text
//! <pid> <name of the program>
//! <boot id>
//! open | closed
//! ```
//!
//! The last two lines tell the next owner whether the one before it went in an orderly way: if it
//! was killed, or the machine went down, there may be something to sweep. Within one boot every
//! process sees what was written last, so nothing here is synced.

use std::fmt;
use std::fs::{File, TryLockError};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result, io_error};

/// How long to sleep between two tries to become the owner.
const PAUSE: Duration = Duration::from_millis(20);

/// The process that owns a store, as far as it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process id, in the namespace where it runs.
    pub pid: u32,
    /// What its program calls itself.
    pub name: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {} ({})", self.pid, self.name)
    }
}

/// How long to wait for another owner to go.
pub struct Patience<'a> {
    /// At most this long.
    pub at_most: Duration,
    /// Is told once, before the wait begins, for whom.
    pub tell: &'a mut dyn FnMut(&Error),
}

impl fmt::Debug for Patience<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patience")
            .field("at_most", &self.at_most)
            .finish_non_exhaustive()
    }
}

/// How the owner before this one ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    /// In an orderly way, under the running kernel.
    Orderly,
    /// It was killed, or the machine went down, or nobody was there before.
    Unknown,
}

/// Being the owner. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Owner {
    file: File,
    boot_id: String,
    before: Before,
}

impl Owner {
    /// Becomes the owner of the store at `root`, whose state is in `state_dir`.
    pub(crate) fn become_one(
        root: &Path,
        state_dir: &Path,
        boot_id: &str,
        patience: Option<Patience<'_>>,
    ) -> Result<Self> {
        let path = state_dir.join("owner");
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(io_error("open", &path))?;
        lock(&file, &path, root, patience)?;
        let said = read(&file).map_err(io_error("read", &path))?;
        let before = match said.lines().skip(1).collect::<Vec<_>>()[..] {
            [boot, "closed"] if boot == boot_id => Before::Orderly,
            _ => Before::Unknown,
        };
        let owner = Self {
            file,
            boot_id: boot_id.to_owned(),
            before,
        };
        owner.write("open").map_err(io_error("write", &path))?;
        Ok(owner)
    }

    /// How the owner before this one ended.
    pub(crate) fn before(&self) -> Before {
        self.before
    }

    /// Lets the next owner believe that nothing is left to sweep.
    pub(crate) fn is_orderly(&self) {
        // If this fails, the next owner sweeps for nothing.
        drop(self.write("closed"));
    }

    fn write(&self, state: &str) -> std::io::Result<()> {
        let name = std::fs::read_to_string("/proc/self/comm").unwrap_or_default();
        let pid = std::process::id();
        let text = format!("{pid} {}\n{}\n{state}\n", name.trim(), self.boot_id);
        self.file.write_all_at(text.as_bytes(), 0)?;
        self.file.set_len(text.len() as u64)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // Closing is not enough: a child that was forked at this moment has the descriptor too,
        // until it executes its program.
        drop(self.file.unlock());
    }
}

fn lock(file: &File, path: &Path, root: &Path, patience: Option<Patience<'_>>) -> Result<()> {
    let try_lock = || match file.try_lock() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(in_use(file, root))),
        Err(TryLockError::Error(error)) => Err(io_error("lock", path)(error)),
    };
    let Some(mut refusal) = try_lock()? else {
        return Ok(());
    };
    if let Some(patience) = patience {
        (patience.tell)(&refusal);
        let start = Instant::now();
        while start.elapsed() < patience.at_most {
            thread::sleep(PAUSE);
            match try_lock()? {
                None => return Ok(()),
                Some(later) => refusal = later,
            }
        }
    }
    Err(refusal)
}

fn in_use(file: &File, root: &Path) -> Error {
    Error::InUse {
        root: root.to_owned(),
        holder: read(file).ok().as_deref().and_then(holder),
    }
}

fn holder(text: &str) -> Option<Holder> {
    let (pid, name) = text.lines().next()?.split_once(' ')?;
    Some(Holder {
        pid: pid.parse().ok()?,
        name: name.to_owned(),
    })
}

fn read(file: &File) -> std::io::Result<String> {
    // Three short lines; a file that is longer was not written here.
    let mut bytes = [0; 512];
    let length = file.read_at(&mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(dir: &Path, boot: &str) -> Result<Owner> {
        Owner::become_one(Path::new("/the/store"), dir, boot, None)
    }

    #[test]
    fn a_second_owner_is_told_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        let first = own(dir.path(), "b").unwrap();
        let refusal = own(dir.path(), "b").unwrap_err();
        let text = refusal.to_string();
        let pid = std::process::id();
        assert!(
            text.starts_with(&format!("the store at /the/store is in use by pid {pid} (")),
            "{text}"
        );
        assert_eq!(refusal.class(), crate::Class::FailedPrecondition);
        drop(first);
        own(dir.path(), "b").unwrap();
    }

    #[test]
    fn patience_waits_for_the_first_to_go_and_says_so_once() {
        let dir = tempfile::tempdir().unwrap();
        let first = own(dir.path(), "b").unwrap();
        let mut told = 0;
        let wait = |at_most, told: &mut u32| {
            let patience = Patience {
                at_most,
                tell: &mut |_refusal| *told += 1,
            };
            Owner::become_one(Path::new("/s"), dir.path(), "b", Some(patience))
        };
        assert!(wait(Duration::from_millis(30), &mut told).is_err());
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(50));
                drop(first);
            });
            wait(Duration::from_secs(10), &mut told).unwrap();
        });
        assert_eq!(told, 2);
    }

    #[test]
    fn only_an_orderly_end_under_this_kernel_needs_no_sweep() {
        let dir = tempfile::tempdir().unwrap();
        let before = |boot, orderly| {
            let owner = own(dir.path(), boot).unwrap();
            if orderly {
                owner.is_orderly();
            }
            owner.before()
        };
        assert_eq!(before("one", true), Before::Unknown);
        assert_eq!(before("one", false), Before::Orderly);
        assert_eq!(before("one", true), Before::Unknown);
        assert_eq!(before("two", true), Before::Unknown);
        assert_eq!(before("two", true), Before::Orderly);
    }
}
