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

/// Kills every child that there is.
pub(super) fn kill_all() {
    let own = rustix::process::getpid();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|process| process.file_name().to_str()?.parse().ok());
    for pid in pids.filter_map(Pid::from_raw) {
        if parent_of(pid) == Some(own) {
            // It may have ended by itself; nobody else reaps it, so the number is still its.
            let _killed = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
}

fn parent_of(pid: Pid) -> Option<Pid> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).ok()?;
    // The name, in parentheses, may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    Pid::from_raw(rest.split_whitespace().nth(1)?.parse().ok()?)
}

impl AsFd for Children {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
