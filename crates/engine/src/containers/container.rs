//! A container that the daemon knows: its record, and who waits for what of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::attach::Waiting;
use super::exec::Exec;
use super::record::{Phase, Record};
use super::size::Look;
use super::turns::Turns;

/// A container. Its record is looked at and changed under a lock that is held for no step that waits;
/// steps that do are taken in turn, see [`super::turns`].
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) id: String,
    record: Mutex<Record>,
    pub(super) turns: Turns,
    /// Held while its record is written, so that the last that is written is the newest. Whether it is to be
    /// written no more, because the container is gone.
    pub(crate) saving: Mutex<bool>,
    seen: watch::Sender<Seen>,
    /// Who attached before the start.
    pub(crate) waiting: Mutex<Vec<Waiting>>,
    /// What runs, or ran, in it beside its init.
    pub(crate) execs: Mutex<BTreeMap<String, Arc<Exec>>>,
    execs_ended: watch::Sender<u64>,
    /// How many clients want it to be there when it has ended, since they start it again.
    kept: AtomicUsize,
    /// Told when it is not to be started again.
    pub(crate) stay_down: Notify,
    /// What its layer used when somebody looked while it ran. Held during a look.
    pub(super) looked: Mutex<Option<Look>>,
    /// How long its policy waited before it was started again last.
    last_wait: Mutex<Option<Duration>>,
}

/// What can be waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What it does.
    pub phase: Phase,
    /// How many times it ended since the daemon knows it.
    pub exits: u64,
    /// How it ended last.
    pub code: i32,
    /// What went wrong then.
    pub error: String,
    /// Whether it is no more.
    pub removed: bool,
}

impl Container {
    pub(crate) fn new(record: Record) -> Self {
        let seen = Seen {
            phase: record.state.phase,
            exits: 0,
            code: record.state.code,
            error: record.state.error.clone(),
            removed: false,
        };
        Self {
            id: record.id.clone(),
            record: Mutex::new(record),
            turns: Turns::default(),
            saving: Mutex::new(false),
            seen: watch::Sender::new(seen),
            waiting: Mutex::default(),
            execs: Mutex::default(),
            execs_ended: watch::Sender::new(0),
            kept: AtomicUsize::new(0),
            stay_down: Notify::new(),
            looked: Mutex::default(),
            last_wait: Mutex::default(),
        }
    }

    /// The record as it is now.
    pub(crate) fn record(&self) -> Record {
        self.locked().clone()
    }

    /// Looks at the record.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&Record) -> T) -> T {
        look(&self.locked())
    }

    pub(crate) fn phase(&self) -> Phase {
        self.locked().state.phase
    }

    /// Changes the record, and tells those who wait for its phase. Whoever changes what must survive
    /// saves it.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Record) -> T) -> T {
        let mut record = self.locked();
        let value = change(&mut record);
        let phase = record.state.phase;
        self.seen.send_if_modified(|seen| {
            let changed = seen.phase != phase;
            seen.phase = phase;
            changed
        });
        value
    }

    /// Changes the record because it ended.
    pub(crate) fn change_ended(&self, change: impl FnOnce(&mut Record)) {
        let mut record = self.locked();
        change(&mut record);
        let state = &record.state;
        self.seen.send_modify(|seen| {
            seen.phase = state.phase;
            seen.exits += 1;
            seen.code = state.code;
            seen.error.clone_from(&state.error);
        });
    }

    /// Tells that a command in it ended.
    pub(crate) fn tell_execs(&self) {
        self.execs_ended.send_modify(|ended| *ended += 1);
    }

    pub(crate) fn watch_execs(&self) -> watch::Receiver<u64> {
        self.execs_ended.subscribe()
    }

    pub(crate) fn last_wait(&self) -> Option<Duration> {
        *held(&self.last_wait)
    }

    pub(crate) fn keep_wait(&self, wait: Option<Duration>) {
        *held(&self.last_wait) = wait;
    }

    /// Keeps it from being removed when it ends, as long as what is returned lives.
    pub(crate) fn keep(&self) -> Kept<'_> {
        self.kept.fetch_add(1, Ordering::Relaxed);
        Kept(self)
    }

    /// Whether it stays when it ends, though it was made to go then.
    pub(crate) fn is_kept(&self) -> bool {
        self.kept.load(Ordering::Relaxed) > 0
    }

    /// Tells that it is no more.
    pub(crate) fn tell_removed(&self) {
        self.seen.send_modify(|seen| seen.removed = true);
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Seen> {
        self.seen.subscribe()
    }

    fn locked(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who wants a container to be there when it has ended.
#[derive(Debug)]
pub(crate) struct Kept<'a>(&'a Container);

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        self.0.kept.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The content of a lock, also after a panic of somebody who held it.
pub(crate) fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
