//! Waiting for a log to grow, to be rotated, or to end.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::fs::inotify;
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::time::Timestamp;

/// Between two looks where the kernel can't tell of changes.
const LOOK: Duration = Duration::from_millis(200);

/// Ends a [`Reader`](crate::logs::Reader) from another thread. Clones end the same reader.
#[derive(Debug, Clone)]
pub struct Stopper {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    ended: AtomicBool,
    stopped: AtomicBool,
    /// Readable once either was said.
    wake: OwnedFd,
}

impl Stopper {
    /// `path` is for messages.
    pub(super) fn new(path: &Path) -> Result<Self> {
        let wake = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| Error::io("follow", path, errno))?;
        Ok(Self {
            shared: Arc::new(Shared {
                ended: AtomicBool::new(false),
                stopped: AtomicBool::new(false),
                wake,
            }),
        })
    }

    /// Nothing is written to the log any more: the reader ends when it has read all that is there.
    pub fn ended(&self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Nobody wants to read any more: the reader ends now.
    pub fn stop(&self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.wake();
    }

    pub(super) fn has_ended(&self) -> bool {
        self.shared.ended.load(Ordering::SeqCst)
    }

    pub(super) fn has_stopped(&self) -> bool {
        self.shared.stopped.load(Ordering::SeqCst)
    }

    fn wake(&self) {
        // A counter of 8 bytes that is full, the only way for this to fail, is readable too.
        let _written = rustix::io::write(&self.shared.wake, &1_u64.to_ne_bytes());
    }
}

/// What tells of changes in the log's directory.
#[derive(Debug)]
pub(super) struct Follow {
    /// The log, for messages.
    path: PathBuf,
    /// Absent where the user has no more of them, which are few.
    changes: Option<OwnedFd>,
}

impl Follow {
    pub(super) fn new(path: &Path) -> Result<Self> {
        use inotify::{CreateFlags, WatchFlags};
        let of_interest = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
        let dir = path.parent().unwrap_or(Path::new("."));
        let watched = || {
            let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            inotify::add_watch(&changes, dir, of_interest)?;
            Ok(changes)
        };
        let changes = match watched() {
            Ok(changes) => Some(changes),
            Err(Errno::MFILE | Errno::NFILE | Errno::NOSPC) => None,
            Err(errno) => return Err(Error::io("follow", path, errno)),
        };
        Ok(Self {
            path: path.to_owned(),
            changes,
        })
    }

    /// Waits until there may be more to read. Returns whether `until` has passed.
    pub(super) fn wait(&mut self, stopper: &Stopper, until: Option<Timestamp>) -> Result<bool> {
        let left = match until {
            None => None,
            Some(until) => {
                let now = Timestamp::now().nanoseconds();
                let left = until.nanoseconds().saturating_sub(now);
                match u64::try_from(left) {
                    Ok(left) => Some(Duration::from_nanos(left)),
                    Err(_) => return Ok(true),
                }
            }
        };
        let timeout = match &self.changes {
            Some(_) => left,
            None => Some(left.map_or(LOOK, |left| left.min(LOOK))),
        };
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut waiting = vec![PollFd::new(&stopper.shared.wake, PollFlags::IN)];
        if let Some(changes) = &self.changes {
            waiting.push(PollFd::new(changes, PollFlags::IN));
        }
        match rustix::event::poll(&mut waiting, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::io("follow", &self.path, errno)),
        }
        self.drain();
        Ok(false)
    }

    /// What changed does not matter, only that something did.
    fn drain(&self) {
        let mut buffer = [MaybeUninit::uninit(); 1024];
        if let Some(changes) = &self.changes {
            let mut events = inotify::Reader::new(changes.as_fd(), &mut buffer);
            while events.next().is_ok() {}
        }
    }
}
