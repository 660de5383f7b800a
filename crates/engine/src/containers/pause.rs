//! Holding a container up, and letting it go on.

use super::Containers;
use super::container::Container;
use super::error::{Error, Result};
use super::record::Phase;
use crate::events::Action;
use lapstrake_monitor::client::Client;
use lapstrake_monitor::wire::State;

impl Containers {
    /// Holds all processes of a container up.
    ///
    /// # Errors
    /// If there is none of that name, it does not run or is paused already, or the runtime refuses.
    pub async fn pause(&self, name: &str) -> Result<()> {
        let container = self.find(name)?;
        let _changing = container.changing.lock().await;
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
        let _changing = container.changing.lock().await;
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

    async fn settle(
        &self,
        container: &std::sync::Arc<Container>,
        from: Phase,
        to: Phase,
    ) -> Result<()> {
        container.change(|record| {
            // It may have ended meanwhile.
            if record.state.phase == from {
                record.state.phase = to;
            }
        });
        let this = std::sync::Arc::clone(container);
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

    async fn order(&self, container: &Container, verb: &'static str) -> Result<()> {
        let id = container.id.clone();
        let runtime = container.with(|record| record.settings.host.runtime.clone());
        self.blocking(move |all| {
            let runtime = all.runtime(runtime.as_deref())?;
            runtime.order(&[verb, &id]).map(drop)
        })
        .await
    }
}
