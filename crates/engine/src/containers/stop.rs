//! Stopping a container: politely, then not; or with a signal of the client's.

use std::sync::Arc;
use std::time::Duration;

use lapstrake_monitor::client::Client;
use lapstrake_monitor::wire::State as MonitorState;

use super::Containers;
use super::container::Container;
use super::error::{Error, Result};
use super::record::Phase;
use super::signal;
use crate::events::Action;

/// How long a container that was killed has to be gone.
pub(crate) const KILL_WAIT: Duration = Duration::from_secs(10);

/// How long a client that sent the signal to kill waits to see that it came.
const KILL_SEEN: Duration = Duration::from_millis(900);

/// How to stop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stop {
    /// The signal to begin with; none for the container's own.
    pub signal: Option<String>,
    /// Seconds until it is killed; negative is never; none for the container's own.
    pub timeout: Option<i64>,
}

impl Containers {
    /// Stops a container. Its policy does not start it again.
    ///
    /// # Errors
    /// If there is none of that name, it does not run, or can't be killed.
    pub async fn stop(&self, name: &str, how: &Stop) -> Result<()> {
        let container = self.find(name)?;
        if !container.phase().is_active() {
            return Err(Error::NotModified {
                id: container.id.clone(),
                what: "already stopped",
            });
        }
        self.stop_running(&container, how).await?;
        self.tell(&container, Action::Stop, &[]);
        Ok(())
    }

    /// Stops a container if it runs, and starts it.
    ///
    /// # Errors
    /// As for [`Containers::stop`] and [`Containers::start`].
    pub async fn restart(&self, name: &str, how: &Stop) -> Result<()> {
        let container = self.find(name)?;
        if container.phase().is_active() {
            let _kept = container.keep();
            self.stop_running(&container, how).await?;
        }
        match self.start(&container.id).await {
            Ok(()) | Err(Error::NotModified { .. }) => {}
            Err(error) => return Err(error),
        }
        self.tell(&container, Action::Restart, &[]);
        Ok(())
    }

    /// Sends a signal to a container's init.
    ///
    /// # Errors
    /// If there is none of that name, it does not run, or the signal is none.
    pub async fn kill(&self, name: &str, signal: Option<&str>) -> Result<()> {
        let container = self.find(name).map_err(|error| match error {
            Error::NoContainer(_) => {
                Error::NotFound(format!("cannot kill container: {name}: {error}"))
            }
            error => error,
        })?;
        let number = match signal.filter(|signal| !signal.is_empty()) {
            None => signal::KILL,
            Some(signal) => signal::parse(signal)?,
        };
        if !container.phase().has_process() {
            if number == signal::KILL && self.give_up_start(&container).await? {
                self.tell(&container, Action::Kill, &[("signal", number.to_string())]);
                return Ok(());
            }
            return Err(Error::Conflict(format!(
                "cannot kill container: {name}: container {} is not running",
                container.id
            )));
        }
        let ends_it = number == signal::KILL
            || number == signal::parse(&stop_signal(&container)).unwrap_or(signal::TERM);
        if ends_it {
            // A client that means it to end does not want it again.
            self.mark_stopped(&container).await?;
        }
        self.send(&container, number).await?;
        if container.phase() == Phase::Paused && ends_it {
            self.unpause(&container.id).await?;
        }
        self.tell(&container, Action::Kill, &[("signal", number.to_string())]);
        if number == signal::KILL {
            // Clients look next how it ended. One that hangs in the kernel is not waited for.
            self.ends_within(&container, Some(KILL_SEEN)).await;
        }
        Ok(())
    }

    /// Ends what runs, or is about to run again.
    pub(crate) async fn stop_running(&self, container: &Arc<Container>, how: &Stop) -> Result<()> {
        let own = stop_signal(container);
        let number = signal::parse(how.signal.as_deref().unwrap_or(&own))?;
        let timeout = how
            .timeout
            .or_else(|| container.with(|record| record.settings.execution.stop_timeout));
        let timeout = match timeout {
            None => Some(self.inner.options.stop_timeout),
            Some(seconds) => u64::try_from(seconds).ok().map(Duration::from_secs),
        };
        self.mark_stopped(container).await?;
        if self.stay_down(container).await? {
            return Ok(());
        }
        if container.phase() == Phase::Paused {
            self.unpause(&container.id).await?;
        }
        self.send(container, number).await?;
        self.tell(container, Action::Kill, &[("signal", number.to_string())]);
        if timeout == Some(Duration::ZERO) || !self.ends_within(container, timeout).await {
            self.kill_now(container).await?;
        }
        Ok(())
    }

    /// Kills what runs, and waits until that is over.
    pub(crate) async fn kill_now(&self, container: &Arc<Container>) -> Result<()> {
        self.mark_stopped(container).await?;
        if self.stay_down(container).await? {
            return Ok(());
        }
        self.send(container, signal::KILL).await?;
        let number = signal::KILL.to_string();
        self.tell(container, Action::Kill, &[("signal", number)]);
        if container.phase() == Phase::Paused {
            self.unpause(&container.id).await?;
        }
        self.thaw_killed(container).await?;
        if self.ends_within(container, Some(KILL_WAIT)).await {
            return Ok(());
        }
        Err(Error::Internal(format!(
            "container {} was killed and did not end within {} s: a process of it waits for a disk or a file system that does not answer",
            container.id,
            KILL_WAIT.as_secs()
        )))
    }

    /// Kills the runtime that is starting a container, if one is: it may wait for a file system that does not
    /// answer. The start then fails. Whether there was one.
    pub(crate) async fn give_up_start(&self, container: &Arc<Container>) -> Result<bool> {
        if !container.is_changing() {
            return Ok(false);
        }
        let client = Client::new(&self.places(&container.id).run);
        let killed = self.blocking(move |_| {
            let starts = matches!(client.state(), Ok(MonitorState::Starting));
            Ok(starts && client.signal(signal::KILL).is_ok())
        });
        killed.await
    }

    /// Writes down that a client wants it to end, before it may: a policy sees it even if the daemon is killed.
    async fn mark_stopped(&self, container: &Arc<Container>) -> Result<()> {
        let new = container.change(|record| !std::mem::replace(&mut record.state.stopped, true));
        if new {
            let this = Arc::clone(container);
            self.blocking(move |all| all.save(&this)).await?;
        }
        Ok(())
    }

    /// Sees to it that a container that is about to be started again is not. Whether that was so: if it was being
    /// started at that moment, it runs now.
    async fn stay_down(&self, container: &Arc<Container>) -> Result<bool> {
        if container.phase() != Phase::Restarting {
            return Ok(false);
        }
        container.stay_down.notify_waiters();
        let changing = match container.changing_within(KILL_WAIT).await {
            Some(changing) => changing,
            None => {
                self.give_up_start(container).await?;
                container.changing().await
            }
        };
        let was = container.change(|record| {
            let was = record.state.phase == Phase::Restarting;
            if was {
                record.state.phase = Phase::Exited;
            }
            was
        });
        if was {
            let this = Arc::clone(container);
            self.blocking(move |all| all.save(&this)).await?;
        }
        drop(changing);
        if container.phase().has_process() {
            // A start forgets that somebody wanted it to stop.
            self.mark_stopped(container).await?;
            return Ok(false);
        }
        Ok(true)
    }

    /// Sends a signal; to a container that has just ended, in vain.
    async fn send(&self, container: &Container, number: i32) -> Result<()> {
        let client = Client::new(&self.places(&container.id).run);
        let sent = self.blocking(move |_| Ok(client.signal(number))).await?;
        match sent {
            Ok(())
            | Err(lapstrake_monitor::Error::Gone(_) | lapstrake_monitor::Error::Refused { .. }) => {
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether it ends in time; without a limit, when it does.
    async fn ends_within(&self, container: &Container, limit: Option<Duration>) -> bool {
        let mut seen = container.watch();
        let ended = seen.wait_for(|seen| seen.removed || !seen.phase.has_process());
        match limit {
            None => ended.await.is_ok(),
            Some(limit) => tokio::time::timeout(limit, ended).await.is_ok(),
        }
    }
}

fn stop_signal(container: &Container) -> String {
    let own = container.with(|record| record.settings.execution.stop_signal.clone());
    own.unwrap_or_else(|| "SIGTERM".to_owned())
}
