//! Starting a container.

use std::sync::Arc;

use super::Containers;
use super::attach::waiting_stream;
use super::container::{Container, held};
use super::error::{Error, Result};
use super::record::{Phase, now};
use crate::events::Action;

impl Containers {
    /// Starts a container.
    ///
    /// # Errors
    /// If there is none of that name, it runs, is paused or being removed, or the runtime refuses.
    pub async fn start(&self, name: &str) -> Result<()> {
        let container = self.find(name)?;
        let _still = container.still().await;
        match container.phase() {
            Phase::Paused => {
                return Err(Error::Conflict(
                    "cannot start a paused container, try unpause instead".to_owned(),
                ));
            }
            Phase::Running => {
                return Err(Error::NotModified {
                    id: container.id.clone(),
                    what: "already running",
                });
            }
            Phase::Removing | Phase::Dead => {
                return Err(Error::Conflict(
                    "container is marked for removal and cannot be started".to_owned(),
                ));
            }
            Phase::Restarting => container.stay_down.notify_waiters(),
            Phase::Created | Phase::Exited => {}
        }
        container.change(|record| {
            record.state.restarts = 0;
            record.state.stopped = false;
        });
        self.start_held(&container).await
    }

    /// Starts a container that its caller keeps from changing otherwise.
    pub(crate) async fn start_held(&self, container: &Arc<Container>) -> Result<()> {
        let this = Arc::clone(container);
        let launched = self.blocking(move |all| all.launch(&this)).await;
        let launched = match launched {
            Ok(launched) => launched,
            Err(error) => {
                // Whoever waits for its streams, waits no longer.
                held(&container.waiting).clear();
                self.failed_to_start(container, &error).await?;
                return Err(error);
            }
        };
        let watch = waiting_stream(launched.watch)?;
        container.change(|record| {
            let state = &mut record.state;
            state.phase = Phase::Running;
            state.pid = Some(launched.pid);
            state.code = 0;
            state.error.clear();
            state.out_of_memory = false;
            state.started = Some(now());
            state.finished = None;
            state.health = None;
        });
        let this = Arc::clone(container);
        let saved = self.blocking(move |all| all.save(&this)).await;
        // It runs, whether that could be written down or not.
        self.tell(container, Action::Start, &[]);
        self.watch_run(Arc::clone(container), watch);
        self.watch_health(Arc::clone(container));
        saved
    }

    /// Writes down that a start failed. A container that was to be removed when it ended is removed.
    async fn failed_to_start(&self, container: &Arc<Container>, error: &Error) -> Result<()> {
        let code = code_of(&error.to_string());
        container.change_ended(|record| {
            let state = &mut record.state;
            state.phase = match state.started {
                None => Phase::Created,
                Some(_) => Phase::Exited,
            };
            state.pid = None;
            state.code = code;
            state.error = error.to_string();
        });
        let this = Arc::clone(container);
        if let Err(error) = self.blocking(move |all| all.save(&this)).await {
            // Why it was not started is what to tell.
            self.note(&format!("container {}: {error}", container.id));
        }
        if container.with(|record| record.settings.host.auto_remove) {
            self.remove_held(container, super::HowToRemove::AUTOMATIC)
                .await?;
        }
        Ok(())
    }
}

/// The exit code that a runtime's words stand for, as shells have it.
pub(crate) fn code_of(words: &str) -> i32 {
    let said = |what: &[&str]| what.iter().any(|one| words.contains(one));
    // A working directory that is not there is another matter.
    let of_command = said(&["exec: ", "exec /", "stat /"]);
    if said(&["executable file not found"]) || of_command && said(&["no such file or directory"]) {
        127
    } else if said(&["permission denied", "is a directory"]) {
        126
    } else {
        128
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_runtime_become_a_code() {
        for (words, code) in [
            ("exec: \"x\": executable file not found in $PATH", 127),
            ("stat /x: no such file or directory: unknown", 127),
            ("exec /x: no such file or directory", 127),
            (
                "chdir to cwd (\"/x\") set in config.json failed: no such file or directory",
                128,
            ),
            ("exec /etc: permission denied", 126),
            ("something else", 128),
        ] {
            assert_eq!(code_of(words), code);
        }
    }
}
