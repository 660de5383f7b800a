//! Processes of a container that the kernel killed for want of memory.
//!
//! The container's cgroup counts them, and rings: in version 2 by the counter's own file, which can be polled; in version 1 by
//! an eventfd that it is given. A bell may ring for less than a kill, and in version 1 it rings before it, so after a ring the
//! counter is looked at for a while. Whatever rings or not, it is looked at when the process has ended: a kill may be told
//! late, but not be missed. What is counted between two looks is one time.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{io, str};

use rustix::event::{EventfdFlags, PollFlags, eventfd};

/// Where a cgroup with a counter may be: version 1, version 2, and version 2 beside version 1.
const FILES: [(&str, &str, Version); 3] = [
    ("/sys/fs/cgroup/memory", "memory.oom_control", Version::One),
    ("/sys/fs/cgroup", "memory.events", Version::Two),
    ("/sys/fs/cgroup/unified", "memory.events", Version::Two),
];

/// Between two looks after a ring. A container that is at its limit rings all the time.
const PACE: Duration = Duration::from_millis(100);

/// So many looks follow a ring.
const LOOKS: u32 = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// A cgroup's counter of kills, and what rings when it has counted.
#[derive(Debug)]
pub(super) struct Counter {
    file: File,
    /// Version 1: what rings in the file's stead. Dropped, it is registered no more.
    bell: Option<OwnedFd>,
    version: Version,
    tally: Tally,
    /// The next look, and how many follow it. The bell is not listened to meanwhile.
    looks: Option<(Instant, u32)>,
}

impl Counter {
    /// That of the cgroup with that path; `None` if none counts.
    ///
    /// # Errors
    /// If it counts, but can't be made to ring.
    pub(super) fn open(cgroup: &str) -> io::Result<Option<Self>> {
        let cgroup = cgroup.trim_start_matches('/');
        let found = FILES.iter().find_map(|(mount, name, version)| {
            let dir = Path::new(mount).join(cgroup);
            let file = File::open(dir.join(name)).ok()?;
            read(&file)?;
            Some((dir, file, *version))
        });
        let Some((dir, file, version)) = found else {
            return Ok(None);
        };
        let bell = match version {
            Version::One => Some(hang_up_bell(&dir, &file)?),
            Version::Two => None,
        };
        Ok(Some(Self {
            file,
            bell,
            version,
            tally: Tally::default(),
            // What was counted before it could ring is seen at once.
            looks: Some((Instant::now(), 0)),
        }))
    }

    /// What is to be waited for, unless it has rung just now.
    pub(super) fn bell(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let flags = match self.version {
            Version::One => PollFlags::IN,
            Version::Two => PollFlags::PRI,
        };
        let bell = self.bell.as_ref().map_or(self.file.as_fd(), AsFd::as_fd);
        self.looks.is_none().then_some((bell, flags))
    }

    /// The bell has rung.
    pub(super) fn rung(&mut self, now: Instant) {
        if let Some(bell) = &self.bell {
            // It is silent until it rings again, whatever it says.
            let _count = rustix::io::read(bell, &mut [0; 8]);
        }
        self.looks = Some((now, LOOKS));
    }

    /// When it is to be looked at though nothing rings.
    pub(super) fn due(&self) -> Option<Instant> {
        self.looks.map(|(at, _)| at)
    }

    /// Looks, if it is time: how many times there were, if there was one more.
    pub(super) fn look_if_due(&mut self, now: Instant) -> Option<u64> {
        let (at, more) = self.looks?;
        if now < at {
            return None;
        }
        self.looks = more.checked_sub(1).map(|more| (now + PACE, more));
        let before = self.tally.times;
        (self.look() > before).then_some(self.tally.times)
    }

    /// How many times were seen.
    pub(super) fn times(&self) -> u64 {
        self.tally.times
    }

    /// Looks: how many times there were.
    pub(super) fn look(&mut self) -> u64 {
        // What can't be read is a cgroup that is gone, and counts no more.
        if let Some(kills) = read(&self.file) {
            self.tally.see(kills);
        }
        self.tally.times
    }
}

/// How many times the kernel killed, as far as looks tell them apart.
#[derive(Debug, Default)]
struct Tally {
    kills: u64,
    times: u64,
}

impl Tally {
    fn see(&mut self, kills: u64) {
        self.times += u64::from(kills > self.kills);
        self.kills = kills;
    }
}

/// Makes a cgroup of version 1 ring an eventfd.
fn hang_up_bell(dir: &Path, counter: &File) -> io::Result<OwnedFd> {
    let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let order = format!("{} {}", bell.as_raw_fd(), counter.as_raw_fd());
    File::options()
        .write(true)
        .open(dir.join("cgroup.event_control"))?
        .write_all(order.as_bytes())?;
    Ok(bell)
}

fn read(counter: &File) -> Option<u64> {
    let mut text = [0; 1024];
    let length = counter.read_at(&mut text, 0).ok()?;
    kills(str::from_utf8(text.get(..length)?).ok()?)
}

fn kills(text: &str) -> Option<u64> {
    let count = |line: &str| line.strip_prefix("oom_kill ")?.parse().ok();
    text.lines().find_map(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_counted_in_both_versions() {
        let first = "oom_kill_disable 0\nunder_oom 1\noom_kill 1\n";
        assert_eq!(kills(first), Some(1));
        let second = "low 0\nhigh 0\nmax 9\noom 2\noom_kill 0\noom_group_kill 3\n";
        assert_eq!(kills(second), Some(0));
        // Before Linux 4.13.
        assert_eq!(kills("oom_kill_disable 0\nunder_oom 0\n"), None);
    }

    #[test]
    fn what_is_counted_between_two_looks_is_one_time() {
        let mut tally = Tally::default();
        let times = [0, 1, 1, 4, 4, 5].map(|kills| {
            tally.see(kills);
            tally.times
        });
        assert_eq!(times, [0, 1, 1, 2, 2, 3]);
    }
}
