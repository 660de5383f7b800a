//! What is done when a container ended, and who waits for that.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;

use lapstrake_container::settings::wait_before_restart;
use lapstrake_monitor::Exit;
use lapstrake_monitor::wire::Answer;

use super::container::Container;
use super::memory::take_note;
use super::record::{Phase, State, now};
use super::remove::Known;
use super::size::Size;
use super::told::Told;
use super::{Containers, HowToRemove};
use crate::events::Action;

/// The code of a container whose monitor was killed: nobody knows how it ended.
pub(crate) const UNKNOWN: i32 = 255;

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    /// How many times the kernel killed a process of it for want of memory, as far as somebody saw.
    pub(crate) out_of_memory: u64,
    pub(crate) at: super::Nanoseconds,
    /// What went wrong, if something did.
    pub(crate) error: String,
}

impl Ended {
    pub(crate) fn of(exit: &Exit) -> Self {
        Self {
            code: i32::from(exit.code),
            // An older monitor says only whether.
            out_of_memory: exit.oom_times.max(u64::from(exit.oom_killed)),
            at: exit.finished_at.nanoseconds(),
            error: String::new(),
        }
    }

    /// Nobody saw how.
    pub(crate) fn unseen(why: &str) -> Self {
        Self {
            code: UNKNOWN,
            out_of_memory: 0,
            at: now(),
            error: why.to_owned(),
        }
    }
}

impl Containers {
    /// Does what is to be done when something happens to a container that runs, and when it ends. `watch` is a
    /// connection on which its monitor tells that.
    pub(crate) fn watch_run(&self, container: Arc<Container>, watch: UnixStream) {
        let all = self.clone();
        tokio::spawn(async move {
            // Whatever is told or not, the record on disk is what counts, if it could be written.
            let told = all.hear(&container, watch).await;
            let changing = container.changing().await;
            let this = Arc::clone(&container);
            let ended = all.blocking(move |all| Ok(all.how_it_ended(&this, told)));
            let ended = ended
                .await
                .unwrap_or_else(|error| Ended::unseen(&error.to_string()));
            let next = all.end(&container, ended).await;
            drop(changing);
            match next {
                Next::Nothing => {}
                Next::Remove => all.remove_ended(&container).await,
                Next::Restart(wait) => all.restart_after(container, wait),
            }
        });
    }

    /// Hears what happens to a container until it ends. How it ended, if its monitor says so.
    async fn hear(&self, container: &Arc<Container>, watch: UnixStream) -> Option<Exit> {
        let mut told = Told::new(watch);
        loop {
            match told.next().await? {
                Answer::Exited(exit) => return Some(exit),
                Answer::OutOfMemory { times } => self.out_of_memory(container, times).await,
                Answer::Done
                | Answer::Started { .. }
                | Answer::State(_)
                | Answer::RuntimeFailed { .. }
                | Answer::Refused { .. } => {}
            }
        }
    }

    /// What the exit record says, or else the monitor said.
    fn how_it_ended(&self, container: &Container, told: Option<Exit>) -> Ended {
        let places = self.places(&container.id);
        match (places.read_exit(), told) {
            (Ok(Some(exit)), _) => Ended::of(&exit),
            (_, Some(exit)) => Ended {
                error: "how it ended could not be written down: is the disk full?".to_owned(),
                ..Ended::of(&exit)
            },
            (Ok(None), None) => {
                // Its monitor was killed; what it started must not run on unseen.
                self.kill_unmonitored(container);
                Ended::unseen("its monitor was killed")
            }
            (Err(error), None) => Ended::unseen(&error.to_string()),
        }
    }

    /// Cleans up after a container that ended, as far as no copy has its files, and writes it down. The caller keeps
    /// it from changing otherwise, and does what is left to do when it lets go.
    pub(crate) async fn end(&self, container: &Arc<Container>, ended: Ended) -> Next {
        let taken_down = match container.files_if_free() {
            Some(_files) => self.take_down(container).await,
            None => {
                self.take_down_later(Arc::clone(container));
                TakenDown::default()
            }
        };
        let ran = container.with(|record| {
            let ran = ended
                .at
                .saturating_sub(record.state.started.unwrap_or(ended.at));
            Duration::from_nanos(u64::try_from(ran).unwrap_or(0))
        });
        let policy = container.with(|record| record.settings.host.restart);
        let (stopped, restarts) =
            container.with(|record| (record.state.stopped, record.state.restarts));
        let again = !stopped && policy.applies(ended.code, restarts);
        let wait = again.then(|| wait_before_restart(container.last_wait(), ran));
        container.keep_wait(wait);
        let mut untold = 0;
        container.change_ended(|record| {
            let state = &mut record.state;
            state.phase = if again {
                Phase::Restarting
            } else {
                Phase::Exited
            };
            state.pid = None;
            state.code = ended.code;
            untold = take_note(state, ended.out_of_memory);
            state.out_of_memory_told = 0;
            state.finished = Some(ended.at);
            state.error = ended.error;
            state.restarts = if again { restarts + 1 } else { restarts };
            taken_down.note_in(state);
        });
        let auto_remove = container.with(|record| record.settings.host.auto_remove);
        let goes = auto_remove && wait.is_none() && !container.is_kept();
        if !goes {
            let this = Arc::clone(container);
            if let Err(error) = self.blocking(move |all| all.save(&this)).await {
                // What is to be done is done all the same: the exit record tells a later daemon.
                self.note(&format!(
                    "container {}: its end could not be recorded: {error}",
                    container.id
                ));
            }
        }
        self.tell_out_of_memory(container, untold);
        let how = [
            ("exitCode", ended.code.to_string()),
            ("execDuration", ran.as_secs().to_string()),
        ];
        self.tell(container, Action::Die, &how);
        match wait {
            Some(wait) => Next::Restart(wait),
            None if goes => Next::Remove,
            None => Next::Nothing,
        }
    }

    /// Takes down what a container had that ended, and looks what it uses.
    async fn take_down(&self, container: &Arc<Container>) -> TakenDown {
        let this = Arc::clone(container);
        let torn_down = self.blocking(move |all| {
            let size = all.settle_size(&this);
            all.tear_down(&this.id)?;
            all.let_go(&this.id);
            Ok(size)
        });
        match torn_down.await {
            Ok(size) => TakenDown {
                size,
                failed: String::new(),
            },
            Err(error) => TakenDown {
                size: None,
                failed: error.to_string(),
            },
        }
    }

    /// Does so when the copy is over that has its files.
    fn take_down_later(&self, container: Arc<Container>) {
        let all = self.clone();
        tokio::spawn(async move {
            let _still = container.still().await;
            // Whoever started or removed it meanwhile has taken that down.
            if !matches!(container.phase(), Phase::Exited | Phase::Restarting) {
                return;
            }
            let taken_down = all.take_down(&container).await;
            container.change(|record| taken_down.note_in(&mut record.state));
            let this = Arc::clone(&container);
            if let Err(error) = all.blocking(move |all| all.save(&this)).await {
                all.note(&format!("container {}: {error}", container.id));
            }
        });
    }

    pub(crate) async fn remove_ended(&self, container: &Arc<Container>) {
        let _still = container.still().await;
        let removed = self.remove_known(container, HowToRemove::AUTOMATIC, Known::Yes);
        if let Err(error) = removed.await {
            self.note(&format!(
                "container {}: could not be removed when it ended: {error}",
                container.id
            ));
        }
    }

    /// Starts a container again after a while, unless somebody says meanwhile that it is to stay down.
    pub(crate) fn restart_after(&self, container: Arc<Container>, wait: Duration) {
        let all = self.clone();
        tokio::spawn(async move {
            let stay_down = container.stay_down.notified();
            tokio::select! {
                () = stay_down => return,
                () = tokio::time::sleep(wait) => {}
            }
            let still = container.still().await;
            if container.phase() != Phase::Restarting {
                return;
            }
            let started = all.start_held(&container).await;
            drop(still);
            if let Err(error) = started {
                all.note(&format!(
                    "container {}: could not be started again: {error}",
                    container.id
                ));
            }
        });
    }
}

/// What came of taking down what a container had.
#[derive(Debug, Default)]
struct TakenDown {
    /// What its layer uses, if that is known.
    size: Option<Size>,
    /// What went wrong.
    failed: String,
}

impl TakenDown {
    fn note_in(&self, state: &mut State) {
        state.size = self.size.or(state.size);
        state.error = [state.error.as_str(), &self.failed]
            .join(" ")
            .trim()
            .to_owned();
    }
}

/// What is left to do for a container that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Nothing,
    Remove,
    Restart(Duration),
}
