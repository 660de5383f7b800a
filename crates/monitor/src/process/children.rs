//! Children: the runtime's calls, the process, and whatever is left to this process by those that end.
//!
//! A runtime that detaches leaves the container's first process to its nearest subreaper, which this is. A
//! container that shares the host's processes leaves its orphans too. All are reaped, known or not.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};

/// Tells of children that ended.
#[derive(Debug)]
pub(super) struct Children {
    wake: OwnedFd,
}

/// SIGCHLD, and the signals that end a process that does not care: nobody ends a monitor by accident.
const SIGNALS: [Signal; 7] = [
    Signal::CHILD,
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::TERM,
];

impl Children {
    pub(super) fn adopt() -> io::Result<Self> {
        Ok(Self {
            wake: lapstrake_sys::process::wake_on(&SIGNALS.map(Signal::as_raw))?,
        })
    }

    /// From now on, what is orphaned below this process is left to it.
    pub(super) fn keep_orphans(&self) -> io::Result<()> {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        Ok(())
    }

    /// All children that have ended since.
    pub(super) fn reap(&self) -> Vec<(Pid, WaitStatus)> {
        // Emptied first: a signal that comes during the loop makes it readable again.
        let mut count = [0; 8];
        let _count = rustix::io::read(&self.wake, &mut count);
        let mut ended = Vec::new();
        while let Ok(Some(child)) = rustix::process::wait(WaitOptions::NOHANG) {
            ended.push(child);
        }
        ended
    }
}

impl AsFd for Children {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
