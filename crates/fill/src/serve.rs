//! The worker: serves a layer's `data` as a file of a FUSE file system while it has holes.
//!
//! It keeps nothing that its successor could not find out: kill it at any time, start another with
//! the same device, and that one asks for what was in flight and checks by digest which spans are there.
//!
//! The thread that takes requests never waits for a fill. A read that needs a span not known to
//! be there is put aside; fillers check and fill, and answer it. One that waits too long gets EIO,
//! and so does one whose span cannot be made: never zeros, never fewer bytes than asked for.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lapstrake_sys::fuse::{Ask, Device, Kind, READ_BYTES_MAX, REQUEST_BYTES, ROOT, Request};
use rustix::io::Errno;

use crate::refill::Layer;

/// What the file is called.
pub const FILE_NAME: &str = "data";
const FILE: u64 = 2;

/// How the worker serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Threads that fill.
    pub fillers: usize,
    /// A read that is not answered by then gets EIO.
    pub deadline: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    /// Not looked at by this worker.
    Unknown,
    Queued,
    Present,
}

struct Waiting {
    pid: u32,
    offset: u64,
    size: usize,
    spans: Vec<usize>,
    since: Instant,
}

struct State {
    presence: Vec<Presence>,
    queue: VecDeque<usize>,
    /// By their unique numbers.
    waiting: BTreeMap<u64, Waiting>,
    ended: bool,
}

struct Worker<'a> {
    device: &'a Device,
    layer: &'a Layer,
    options: Options,
    state: Mutex<State>,
    changed: Condvar,
}

/// Answers the first request of a new file system. The keeper does this, before there are workers.
pub fn greet(device: &Device) -> io::Result<()> {
    let mut buffer = [0; REQUEST_BYTES];
    match device.receive(&mut buffer)? {
        Some(Request {
            unique,
            ask: Ask::Init { resend: true },
            ..
        }) => device.reply_init(unique),
        Some(Request {
            unique,
            ask: Ask::Init { resend: false },
            ..
        }) => {
            device.refuse(unique, Errno::PROTO)?;
            let what = "this kernel cannot resend FUSE requests: lazy layers need Linux 6.9";
            Err(io::Error::new(io::ErrorKind::Unsupported, what))
        }
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a file system begins with INIT",
        )),
    }
}

/// Serves until the file system ends. First it asks for what a predecessor left unanswered.
pub fn serve(device: &Device, layer: &Layer, options: Options) -> io::Result<()> {
    let worker = Worker {
        device,
        layer,
        options,
        state: Mutex::new(State {
            presence: vec![Presence::Unknown; layer.span_count()],
            queue: VecDeque::new(),
            waiting: BTreeMap::new(),
            ended: false,
        }),
        changed: Condvar::new(),
    };
    device.resend()?;
    std::thread::scope(|scope| {
        for _ in 0..options.fillers {
            scope.spawn(|| worker.fill());
        }
        scope.spawn(|| worker.expire());
        let outcome = worker.take_requests();
        worker.lock().ended = true;
        worker.changed.notify_all();
        outcome
    })
}

impl Worker<'_> {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_requests(&self) -> io::Result<()> {
        let mut buffer = [0; REQUEST_BYTES];
        while let Some(request) = self.device.receive(&mut buffer)? {
            self.answer(&request)?;
        }
        Ok(())
    }

    fn answer(&self, request: &Request) -> io::Result<()> {
        let (device, unique) = (self.device, request.unique);
        let file = Kind::File {
            bytes: self.layer.data_len(),
        };
        match (&request.ask, request.node) {
            (Ask::Init { .. }, _) => device.reply_init(unique),
            (Ask::Lookup { name }, ROOT) if **name == *FILE_NAME.as_bytes() => {
                device.reply_node(unique, FILE, file)
            }
            (Ask::Lookup { .. }, _) => device.refuse(unique, Errno::NOENT),
            (Ask::Attributes, ROOT) => device.reply_attributes(unique, ROOT, Kind::Directory),
            (Ask::Attributes, FILE) => device.reply_attributes(unique, FILE, file),
            (Ask::Open | Ask::OpenDirectory, _) => device.reply_open(unique),
            (Ask::Read { offset, size }, FILE) => self.read(request, *offset, *size),
            (Ask::ReadDirectory | Ask::Release, _) => device.reply(unique, &[]),
            (Ask::Statfs, _) => device.reply_statfs(unique),
            (Ask::Interrupt { of }, _) => self.interrupt(*of),
            (Ask::Forget | Ask::Destroy, _) => Ok(()),
            (Ask::Attributes | Ask::Read { .. } | Ask::Other, _) => {
                device.refuse(unique, Errno::NOSYS)
            }
        }
    }

    fn read(&self, request: &Request, offset: u64, size: u32) -> io::Result<()> {
        let left = self.layer.data_len().saturating_sub(offset);
        let size = u64::from(size.min(READ_BYTES_MAX)).min(left);
        let mut spans = self.layer.spans_of(offset..offset + size);
        let size = usize::try_from(size).expect("at most READ_BYTES_MAX");
        let mut state = self.lock();
        spans.retain(|span| state.presence[*span] != Presence::Present);
        if spans.is_empty() {
            drop(state);
            return self.reply_read(request.unique, offset, size);
        }
        for span in &spans {
            if state.presence[*span] == Presence::Unknown {
                state.presence[*span] = Presence::Queued;
                state.queue.push_back(*span);
            }
        }
        let (pid, since) = (request.pid, Instant::now());
        let waiting = Waiting {
            pid,
            offset,
            size,
            spans,
            since,
        };
        state.waiting.insert(request.unique, waiting);
        self.changed.notify_all();
        Ok(())
    }

    fn reply_read(&self, unique: u64, offset: u64, size: usize) -> io::Result<()> {
        let mut bytes = vec![0; size];
        match self.layer.read(offset, &mut bytes) {
            Ok(()) => self.device.reply(unique, &bytes),
            Err(_) => self.device.refuse(unique, Errno::IO),
        }
    }

    /// Only a task that is being killed is let go: one with a timer would see its read fail.
    fn interrupt(&self, of: u64) -> io::Result<()> {
        let mut state = self.lock();
        let killed = state
            .waiting
            .get(&of)
            .is_some_and(|waiting| is_killed(waiting.pid));
        if killed {
            state.waiting.remove(&of);
            drop(state);
            self.device.refuse(of, Errno::INTR)?;
        }
        Ok(())
    }

    fn fill(&self) {
        loop {
            let mut state = self.lock();
            let span = loop {
                if state.ended {
                    return;
                }
                if let Some(span) = state.queue.pop_front() {
                    break span;
                }
                state = self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            };
            drop(state);
            let filled = match self.layer.is_present(span) {
                Ok(true) => Ok(span..span + 1),
                Ok(false) => self.layer.fill(span),
                Err(error) => Err(error),
            };
            self.settle(span, filled.ok());
        }
    }

    /// Answers those that waited for a span; `filled` is what is there now, `None` if it failed.
    fn settle(&self, span: usize, filled: Option<std::ops::Range<usize>>) {
        let mut state = self.lock();
        let failed = filled.is_none();
        state.presence[span] = Presence::Unknown;
        for there in filled.into_iter().flatten() {
            state.presence[there] = Presence::Present;
        }
        let State {
            presence, waiting, ..
        } = &mut *state;
        let ready: Vec<_> = waiting
            .extract_if(.., |_, read| {
                let hit = failed && read.spans.contains(&span);
                read.spans
                    .retain(|span| presence[*span] != Presence::Present);
                hit || read.spans.is_empty()
            })
            .collect();
        drop(state);
        for (unique, read) in ready {
            let sent = if read.spans.is_empty() {
                self.reply_read(unique, read.offset, read.size)
            } else {
                self.device.refuse(unique, Errno::IO)
            };
            // Without the device there is nobody to tell; the thread that takes requests ends.
            if sent.is_err() {
                return;
            }
        }
    }

    fn expire(&self) {
        let mut state = self.lock();
        while !state.ended {
            let late: Vec<_> = state
                .waiting
                .extract_if(.., |_, read| read.since.elapsed() >= self.options.deadline)
                .map(|(unique, _)| unique)
                .collect();
            for unique in late {
                if self.device.refuse(unique, Errno::IO).is_err() {
                    return;
                }
            }
            let pause = self.options.deadline.min(Duration::from_secs(1));
            let waited = self.changed.wait_timeout(state, pause);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Whether SIGKILL is pending for a task, or it is gone. Of a task that has no number here nothing
/// is known; the deadline ends its wait.
fn is_killed(pid: u32) -> bool {
    const SIGKILL_BIT: u64 = 1 << 8;
    if pid == 0 {
        return false;
    }
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else {
        return true;
    };
    status
        .lines()
        .filter_map(|line| {
            line.strip_prefix("SigPnd:")
                .or(line.strip_prefix("ShdPnd:"))
        })
        .filter_map(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .any(|mask| mask & SIGKILL_BIT != 0)
}
