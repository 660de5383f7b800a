//! The reader of a log, across rotated files, with or without following what is still written.
//!
//! Filters mean what they mean to Docker: the last `tail` entries of both streams are taken first, then
//! times and streams are looked at; pieces of a long line count each; the first entry after `until`
//! ends it all.

mod cursor;
mod follow;
mod opened;
mod tail;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::logs::Format;
use crate::logs::entry::Entry;
use crate::time::Timestamp;
use crate::wire::Stream;

use cursor::{Cursor, Next};
use follow::Follow;
use opened::{Opened, inode};

pub use follow::Stopper;

/// What to read of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// Only so many entries at the end.
    pub tail: Option<u64>,
    /// Nothing earlier.
    pub since: Option<Timestamp>,
    /// Nothing later.
    pub until: Option<Timestamp>,
    /// Whether to wait for what comes, until [`Stopper::ended`] is called.
    pub follow: bool,
}

/// Reads a log: an iterator that blocks if it follows.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    format: Format,
    query: Query,
    stopper: Stopper,
    follow: Option<Follow>,
    current: Option<Cursor>,
    /// Files behind the current one, oldest first.
    behind: VecDeque<Cursor>,
    skipped: u64,
    done: bool,
}

impl Reader {
    /// Opens the log that is written to `path`. A log that does not exist (yet) is empty.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(path: &Path, format: Format, query: Query) -> Result<Self> {
        let stopper = Stopper::new(path)?;
        // Before the first look, so that nothing comes unseen between the two.
        let follow = query.follow.then(|| Follow::new(path)).transpose()?;
        let mut behind = VecDeque::new();
        for opened in newest_first(path, None)? {
            behind.push_front(Cursor::new(opened, format));
        }
        if let Some(count) = query.tail {
            tail::keep_last(&mut behind, count, path)?;
        }
        let too_old = |cursor: &Cursor| {
            let last = cursor.last_time();
            last.zip(query.since)
                .is_some_and(|(last, since)| last < since)
        };
        behind.retain(|cursor| !too_old(cursor));
        Ok(Self {
            path: path.to_owned(),
            format,
            query,
            stopper,
            follow,
            current: None,
            behind,
            skipped: 0,
            done: false,
        })
    }

    /// Ends this reader from another thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// How much was skipped so far because it is not an entry: what a crash left torn.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    fn next_entry(&mut self) -> Result<Option<Entry>> {
        while !self.done {
            // Asked before the look: what was written before the end was told is seen by the look.
            let last_look = self.follow.is_none() || self.stopper.has_ended();
            if self.stopper.has_stopped() {
                break;
            }
            match self.advance()? {
                Some(entry) if self.query.until.is_some_and(|until| entry.time > until) => break,
                Some(entry) => {
                    if self.query.wants(&entry) {
                        return Ok(Some(entry));
                    }
                }
                None if last_look => {
                    self.done = true;
                    let left = self.current.as_mut().and_then(Cursor::leave);
                    let in_time =
                        |entry: &Entry| self.query.until.is_none_or(|until| entry.time <= until);
                    return Ok(left.filter(|entry| in_time(entry) && self.query.wants(entry)));
                }
                None => {
                    let follow = self.follow.as_mut();
                    let over = follow.map(|follow| follow.wait(&self.stopper, self.query.until));
                    if over.transpose()?.unwrap_or(true) {
                        break;
                    }
                }
            }
        }
        self.done = true;
        Ok(None)
    }

    /// The next entry of those that are there.
    fn advance(&mut self) -> Result<Option<Entry>> {
        loop {
            let Some(current) = &mut self.current else {
                self.current = self.behind.pop_front();
                if self.current.is_none() && (self.follow.is_none() || !self.look_behind()?) {
                    return Ok(None);
                }
                continue;
            };
            match current.next(&self.path)? {
                Next::Entry(entry) => return Ok(Some(entry)),
                Next::Garbage => self.skipped += 1,
                // It has a successor, so nothing is added to it any more, and it was read since.
                Next::End if current.is_complete() => {
                    let left = current.leave();
                    self.current = None;
                    if left.is_some() {
                        return Ok(left);
                    }
                }
                Next::End => {
                    let complete =
                        !self.behind.is_empty() || (self.follow.is_some() && self.look_behind()?);
                    if !complete {
                        return Ok(None);
                    }
                    if let Some(current) = &mut self.current {
                        current.set_complete();
                    }
                }
            }
        }
    }

    /// Looks for files that are newer than the current one.
    fn look_behind(&mut self) -> Result<bool> {
        let inode = self.current.as_ref().and_then(Cursor::inode);
        for opened in newest_first(&self.path, inode)? {
            self.behind.push_front(Cursor::new(opened, self.format));
        }
        Ok(!self.behind.is_empty())
    }
}

impl Iterator for Reader {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_entry();
        // What can't be read now can't be read again either.
        self.done |= next.is_err();
        next.transpose()
    }
}

impl Query {
    /// Everything of both streams that is there.
    pub const ALL: Self = Self {
        stdout: true,
        stderr: true,
        tail: None,
        since: None,
        until: None,
        follow: false,
    };

    fn wants(&self, entry: &Entry) -> bool {
        let stream = match entry.stream {
            Stream::Stdin => false,
            Stream::Stdout => self.stdout,
            Stream::Stderr => self.stderr,
        };
        stream && self.since.is_none_or(|since| entry.time >= since)
    }
}

/// The log's files from the newest on, up to the one with that inode.
///
/// While this walk goes up, a rotation may come down the same way: then a file is met twice, or there is a
/// gap of one number where it is just being moved. Only if a rotation ends meanwhile, and
/// another may have begun, is it walked again.
fn newest_first(path: &Path, up_to: Option<u64>) -> Result<Vec<Opened>> {
    let mut found = Vec::new();
    for _ in 0..WALKS {
        let newest = inode(path)?;
        // Between two steps of a rotation there is none; the last step will wake a follower.
        if up_to.is_some() && (newest == up_to || newest.is_none()) {
            return Ok(Vec::new());
        }
        found = walk(path, up_to)?;
        if inode(path)? == newest {
            break;
        }
    }
    Ok(found)
}

/// Files that are rotated faster than they can be opened are read with gaps.
const WALKS: usize = 100;

fn walk(path: &Path, up_to: Option<u64>) -> Result<Vec<Opened>> {
    let mut found: Vec<Opened> = Vec::new();
    let mut missing = 0;
    for index in 0.. {
        let Some(opened) = Opened::open(path, index)? else {
            missing += 1;
            if missing == 2 {
                break;
            }
            continue;
        };
        missing = 0;
        if opened.inode.is_some() && opened.inode == up_to {
            break;
        }
        let before = found.last().and_then(|before| before.inode);
        if before.is_none() || before != opened.inode {
            found.push(opened);
        }
    }
    Ok(found)
}
