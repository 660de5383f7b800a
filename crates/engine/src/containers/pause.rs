//! Holding a container up, and letting it go on.

use std::sync::Arc;

use super::Containers;
use super::container::Container;
use super::error::{Error, Result};
use super::record::Phase;
use crate::events::Action;
use lapstrake_container::usage::cgroup::Groups;
use lapstrake_monitor::client::Client;
use lapstrake_monitor::wire::State;

impl Containers {
    /// Holds all processes of a container up.
    ///
    /// # Errors
    /// If there is none of that name, it does not run or is paused already, or the runtime refuses.
    pub async fn pause(&self, name: &str) -> Result<()> {
        let container = self.find(name)?;
        let _changing = container.changing().await;
        self.must_run(&container)
            .map_err(|_| Error::Conflict(format!("container {} is not running", container.id)))?;
        if container.phase() == Phase::Paused {
            return Err(Error::Conflict(format!(
                "container {} is already paused",
                container.id
            )));
        }
        if let Err(error) = self.order(&container, "pause").await {
            // It may have ended just now, and its record does not say so yet.
            return Err(match self.has_ended(&container).await {
                true => Error::Conflict(format!("container {} is not running", container.id)),
                false => error,
            });
        }
        self.settle(&container, Phase::Running, Phase::Paused)
            .await?;
        self.tell(&container, Action::Pause, &[]);
        Ok(())
    }

    /// Lets a paused container go on.
    ///
    /// # Errors
    /// If there is none of that name, it is not paused, or the runtime refuses.
    pub async fn unpause(&self, name: &str) -> Result<()> {
        let container = self.find(name)?;
        let _changing = container.changing().await;
        if container.phase() != Phase::Paused {
            return Err(Error::Conflict(format!(
                "container {} is not paused",
                container.id
            )));
        }
        self.order(&container, "resume").await?;
        self.settle(&container, Phase::Paused, Phase::Running)
            .await?;
        self.tell(&container, Action::Unpause, &[]);
        Ok(())
    }

    /// Whether a container is held up is what its record says, when a daemon starts: a pause that nobody was
    /// told of is taken back, also that of a commit. One that was let go on without the record runs. Whether the record
    /// was changed.
    pub(crate) fn settle_pause(&self, container: &Container, pid: u32) -> Result<bool> {
        let is_frozen = is_frozen(pid);
        match container.phase() {
            Phase::Running if is_frozen => {
                self.note(&format!(
                    "container {} was being paused: it goes on",
                    container.id
                ));
                self.order_held(container, "resume").map(|()| false)
            }
            Phase::Paused if !is_frozen => {
                container.change(|record| record.state.phase = Phase::Running);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Lets a container that was killed die: frozen processes do not, and a pause may have been at work when a
    /// daemon before this one was killed.
    pub(crate) async fn thaw_killed(&self, container: &Arc<Container>) -> Result<()> {
        let this = Arc::clone(container);
        self.blocking(move |all| {
            let pid = this.with(|record| record.state.pid);
            let pid = pid.and_then(|pid| u32::try_from(pid).ok());
            match pid.is_some_and(is_frozen) && this.phase() == Phase::Running {
                true => all.order_held(&this, "resume"),
                false => Ok(()),
            }
        })
        .await
    }

    async fn settle(&self, container: &Arc<Container>, from: Phase, to: Phase) -> Result<()> {
        container.change(|record| {
            // It may have ended meanwhile.
            if record.state.phase == from {
                record.state.phase = to;
            }
        });
        let this = Arc::clone(container);
        self.blocking(move |all| all.save(&this)).await
    }

    /// Whether its monitor says that it has ended, or is gone.
    async fn has_ended(&self, container: &Container) -> bool {
        let client = Client::new(&self.places(&container.id).run);
        let state = self.blocking(move |_| Ok(client.state()?)).await;
        !matches!(
            state,
            Ok(State::NotStarted | State::Starting | State::Running { .. })
        )
    }

    async fn order(&self, container: &Arc<Container>, verb: &'static str) -> Result<()> {
        let this = Arc::clone(container);
        self.blocking(move |all| all.order_held(&this, verb)).await
    }

    fn order_held(&self, container: &Container, verb: &str) -> Result<()> {
        let runtime = container.with(|record| record.settings.host.runtime.clone());
        let runtime = self.runtime(runtime.as_deref())?;
        runtime.order(&[verb, &container.id]).map(drop)
    }
}

/// Whether the control group of a process is frozen; of one that is gone, it is not.
fn is_frozen(pid: u32) -> bool {
    let frozen = Groups::of(pid).and_then(|groups| groups.are_frozen());
    frozen.unwrap_or(false)
}
