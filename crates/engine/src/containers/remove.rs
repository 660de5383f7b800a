//! Removing a container, with all that is its own.
//!
//! It is written down first that it is to go, so that a daemon that finds it half gone goes on. The record is
//! the last to go.

use std::sync::Arc;

use tokio::time::Instant;

use super::Containers;
use super::container::Container;
use super::error::{Error, Result};
use super::record::Phase;
use super::stop::KILL_WAIT;
use super::turns::Busy;
use crate::events::Action;

/// How to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HowToRemove {
    /// Kill it if it runs.
    pub force: bool,
    /// Its anonymous volumes go too.
    pub volumes: bool,
}

/// Whether the database says already that a container is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// It does: the container runs there, and is removed when it is found to have ended.
    Yes,
    /// It does not.
    No,
}

impl HowToRemove {
    /// As it was asked for when the container was made.
    pub(crate) const AUTOMATIC: Self = Self {
        force: false,
        volumes: true,
    };
}

impl Containers {
    /// Removes a container.
    ///
    /// # Errors
    /// If there is none of that name, it runs and is not to be killed, or something of it can't be removed:
    /// then it is dead, and can be removed again.
    pub async fn remove(&self, name: &str, how: HowToRemove) -> Result<()> {
        let container = self.find(name)?;
        if container.phase().is_active() {
            if !how.force {
                return Err(is_active(&container));
            }
            self.kill_now(&container).await?;
        } else if how.force {
            self.give_up_start(&container).await?;
        }
        let _still = match how.force {
            false => container.still().await,
            // Something may be done with it that takes a file system that does not answer.
            true => {
                let still = container.still_by(Instant::now() + KILL_WAIT).await;
                still.map_err(|busy| is_busy(&container, busy))?
            }
        };
        self.remove_held(&container, how).await
    }

    /// Removes a container that its caller keeps from changing otherwise.
    pub(crate) async fn remove_held(
        &self,
        container: &Arc<Container>,
        how: HowToRemove,
    ) -> Result<()> {
        self.remove_known(container, how, Known::No).await
    }

    /// As [`Self::remove_held`]; `known` tells whether a daemon that starts would remove it anyhow.
    pub(crate) async fn remove_known(
        &self,
        container: &Arc<Container>,
        how: HowToRemove,
        known: Known,
    ) -> Result<()> {
        if self.registry().find(&container.id).is_err() {
            // Another was faster.
            return Ok(());
        }
        if container.phase().is_active() {
            return Err(is_active(container));
        }
        container.change(|record| {
            record.state.phase = Phase::Removing;
            record.state.volumes_go = how.volumes;
        });
        let this = Arc::clone(container);
        let removed = self.blocking(move |all| {
            if known == Known::No {
                all.save(&this)?;
            }
            all.remove_all(&this, how)
        });
        if let Err(error) = removed.await {
            container.change(|record| {
                record.state.phase = Phase::Dead;
                record.state.error = error.to_string();
            });
            let this = Arc::clone(container);
            self.blocking(move |all| all.save(&this)).await?;
            return Err(error);
        }
        self.forget(container);
        Ok(())
    }

    /// Takes a container that is gone from the list, and tells everybody.
    pub(crate) fn forget(&self, container: &Container) {
        let name = container.with(|record| record.name.clone());
        self.registry().remove(&container.id, &name);
        self.tell(container, Action::Destroy, &[]);
        container.tell_removed();
    }

    /// Removes what there is of a container; what is gone already is no error.
    pub(crate) fn remove_all(&self, container: &Container, how: HowToRemove) -> Result<()> {
        let id = &container.id;
        self.tear_down(id)?;
        let used = container.with(|record| record.last_used());
        match self.inner.engine.remove_used_writable(id, Some(used)) {
            Ok(()) => {}
            Err(error) if error.class() == crate::Class::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        if how.volumes {
            self.remove_anonymous_volumes(container);
        }
        super::dirs::remove_dir(&self.places(id).files)?;
        // Whoever had something to write down of it comes too late.
        let mut gone = super::container::held(&container.saving);
        self.inner.engine.store.state().remove_container(id)?;
        *gone = true;
        Ok(())
    }
}

fn is_busy(container: &Container, busy: Busy) -> Error {
    let what = match busy {
        Busy::Copying(what) => format!("docker cp {what}"),
        Busy::Changing => "it is being started".to_owned(),
    };
    Error::Conflict(format!(
        "cannot remove container \"{}\": {what}, and that did not end within {} s: wait until it has, or see to a file system that does not answer",
        container.with(|record| record.name.clone()),
        KILL_WAIT.as_secs()
    ))
}

fn is_active(container: &Container) -> Error {
    let (name, phase) = container.with(|record| (record.name.clone(), record.state.phase));
    let what = match phase {
        Phase::Paused => "paused: unpause and then stop the container",
        Phase::Restarting => "restarting: stop the container",
        Phase::Running | Phase::Created | Phase::Exited | Phase::Removing | Phase::Dead => {
            "running: stop the container"
        }
    };
    Error::Conflict(format!(
        "cannot remove container \"{name}\": container is {what} before removing or force remove"
    ))
}
