//! The janitor: a thread that sweeps what a dead owner left, and empties the trash, when nobody
//! waits for it.
//!
//! It starts when there is something to do. Closing the store waits for a sweep, which is short, but
//! not for the trash: what is left of it is for the next owner.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::error::{Error, Result};
use crate::object::Object;
use crate::shared::Shared;
use crate::sweep::{Swept, sweep};

#[derive(Debug)]
pub(crate) struct Janitor {
    shared: Arc<Shared>,
    sweeping: Arc<Sweeping>,
    stop: Arc<AtomicBool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Whether the sweep is over, and what it kept.
#[derive(Debug, Default)]
pub(crate) struct Sweeping {
    outcome: Mutex<Outcome>,
    over: Condvar,
}

#[derive(Debug, Default)]
enum Outcome {
    #[default]
    NotNeeded,
    Running,
    Done(BTreeSet<Object>),
    Failed(String),
}

impl Janitor {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            sweeping: Arc::default(),
            stop: Arc::default(),
            threads: Mutex::default(),
        }
    }

    /// Sweeps in the background, then empties the trash.
    pub(crate) fn sweep(&self) -> Result<()> {
        *lock(&self.sweeping.outcome) = Outcome::Running;
        let (shared, sweeping) = (Arc::clone(&self.shared), Arc::clone(&self.sweeping));
        let stop = Arc::clone(&self.stop);
        self.start("sweep", move || {
            // A panic in the sweep must not leave others waiting for its end.
            let mut end = End {
                sweeping: &sweeping,
                outcome: Outcome::Failed("it panicked".to_owned()),
            };
            end.outcome = match sweep(&shared) {
                Ok(swept) => Outcome::Done(swept.strays),
                Err(error) => Outcome::Failed(error.to_string()),
            };
            drop(end);
            empty(&shared, &stop);
        })
    }

    /// Empties the trash in the background.
    pub(crate) fn empty_trash(&self) -> Result<()> {
        let (shared, stop) = (Arc::clone(&self.shared), Arc::clone(&self.stop));
        self.start("trash", move || empty(&shared, &stop))
    }

    /// Waits until what a dead owner left can no longer be taken for something that is being made,
    /// and throws away what was kept of these objects though nothing is recorded of them: nobody
    /// vouches for its bytes.
    pub(crate) fn make_room(&self, objects: &[Object]) -> Result<()> {
        let mut outcome = self.sweeping.ended();
        match &mut *outcome {
            Outcome::NotNeeded | Outcome::Running => {}
            Outcome::Failed(why) => return Err(Error::NotSwept(why.clone())),
            Outcome::Done(strays) => {
                for object in objects {
                    if strays.remove(object) {
                        self.shared.throw_away(object)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// What can be waited for.
    pub(crate) fn sweeping(&self) -> &Arc<Sweeping> {
        &self.sweeping
    }

    /// Learns of a sweep that was done elsewhere.
    pub(crate) fn learn(&self, swept: &Swept) {
        *lock(&self.sweeping.outcome) = Outcome::Done(swept.strays.clone());
    }

    /// Whether nothing is left for the next owner to sweep.
    pub(crate) fn is_done(&self) -> bool {
        matches!(
            *lock(&self.sweeping.outcome),
            Outcome::NotNeeded | Outcome::Done(_)
        )
    }

    fn start(&self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
        let mut threads = lock(&self.threads);
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread.map_err(Error::NoThread)?);
        Ok(())
    }

    pub(crate) fn finish(&self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in std::mem::take(&mut *lock(&self.threads)) {
            // A panic was told on standard error; the store is closed all the same.
            drop(thread.join());
        }
    }
}

impl Sweeping {
    /// Waits until no sweep is running.
    pub(crate) fn wait(&self) {
        drop(self.ended());
    }

    fn ended(&self) -> MutexGuard<'_, Outcome> {
        let running = |outcome: &mut Outcome| matches!(outcome, Outcome::Running);
        let ended = self.over.wait_while(lock(&self.outcome), running);
        ended.unwrap_or_else(PoisonError::into_inner)
    }
}

struct End<'a> {
    sweeping: &'a Sweeping,
    outcome: Outcome,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        *lock(&self.sweeping.outcome) = std::mem::take(&mut self.outcome);
        self.sweeping.over.notify_all();
    }
}

fn empty(shared: &Shared, stop: &AtomicBool) {
    // What can't be removed now is tried again by the next owner, or told by `prune`.
    drop(shared.trash.empty(&|| stop.load(Ordering::Relaxed)));
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
