//! Bringing what is written down together with what is there, when the daemon starts.
//!
//! A daemon may have been killed at any moment, and containers went on: some run, some ended, some were started
//! and not written down, some were half removed. Afterwards every record says what is, and nothing is left that has no
//! record.

mod gather;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lapstrake_monitor::client::Client;
use lapstrake_monitor::wire::State as MonitorState;

use super::attach::waiting_stream;
use super::container::Container;
use super::end::{Ended, Next};
use super::error::{Result, io_error};
use super::record::{Phase, now};
use super::{ContainerOptions, Containers, HowToRemove, Inner};
use crate::Engine;
use crate::Volumes;

use gather::Gathered;

/// How long runtimes that were at work when the last daemon ended may take, all together.
const PATIENCE: Duration = Duration::from_millis(500);
/// Between two looks whether it has come to an end.
const LOOK: Duration = Duration::from_millis(5);

/// What was found when the daemon started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Containers that there are.
    pub containers: usize,
    /// Those that run.
    pub running: usize,
    /// Those that ended while no daemon was there.
    pub ended: usize,
    /// Those that are started because of their policy.
    pub started: usize,
    /// Removals that were finished.
    pub removed: usize,
    /// Leftovers without a record that were swept: writable layers, directories, processes.
    pub swept: usize,
}

/// What is to be done for a container.
enum Finding {
    /// Nothing.
    AsRecorded,
    /// It runs under a monitor.
    Runs(u32, std::os::unix::net::UnixStream),
    /// It ended, and nobody wrote that down.
    Ended(Ended),
    /// It was to go.
    Removing,
}

impl Containers {
    /// Finds the containers of an engine.
    ///
    /// # Errors
    /// If the database or a directory can't be read.
    pub async fn open(
        engine: Arc<Engine>,
        volumes: Arc<Volumes>,
        options: ContainerOptions,
    ) -> Result<(Self, Reconciled)> {
        let all = Self {
            inner: Arc::new(Inner {
                engine,
                volumes,
                options,
                registry: Mutex::default(),
                facts: std::sync::OnceLock::new(),
                pruning: tokio::sync::Mutex::default(),
            }),
        };
        let Gathered {
            containers,
            live,
            known,
            swept,
        } = all.blocking(Self::gather).await?;
        let mut found = Reconciled {
            containers: containers.len(),
            swept,
            ..Reconciled::default()
        };
        let deadline = Instant::now() + PATIENCE;
        for container in containers {
            let has_dir = live.contains(&container.id);
            let id = container.id.clone();
            if let Err(error) = all
                .reconcile(container, has_dir, deadline, &mut found)
                .await
            {
                // The others are served all the same.
                all.note(&format!("container {id}: {error}"));
            }
        }
        let settle = move |all: &Self| {
            all.let_go_of_rooms()?;
            Ok(all.inner.volumes.settle(&|id| known.contains(id))?)
        };
        found.swept += all.blocking(settle).await?.removed.len();
        Ok((all, found))
    }

    async fn reconcile(
        &self,
        container: Arc<Container>,
        has_dir: bool,
        deadline: Instant,
        found: &mut Reconciled,
    ) -> Result<()> {
        let (this, all) = (Arc::clone(&container), self.clone());
        let finding = if has_dir || container.phase() != Phase::Created {
            self.blocking(move |_| all.look_at(&this, has_dir, deadline))
                .await?
        } else {
            Finding::AsRecorded
        };
        let policy = container.with(|record| record.settings.host.restart);
        match finding {
            Finding::Runs(pid, watch) => {
                found.running += 1;
                let new = container.change(|record| {
                    let new = !record.state.phase.has_process();
                    if new {
                        record.state.phase = Phase::Running;
                        record.state.out_of_memory = false;
                        record.state.started = Some(now());
                    }
                    record.state.pid = i32::try_from(pid).ok();
                    new
                });
                let this = Arc::clone(&container);
                let thawed = self.blocking(move |all| {
                    all.attach_again(&this)?;
                    all.forget_lost_execs(&this.id)?;
                    all.settle_pause(&this, pid)
                });
                if thawed.await? || new {
                    let this = Arc::clone(&container);
                    self.blocking(move |all| all.save(&this)).await?;
                }
                self.watch_run(Arc::clone(&container), waiting_stream(watch)?);
                self.watch_health(container);
            }
            Finding::Ended(ended) => {
                found.ended += 1;
                self.note(&format!(
                    "container {} ended with code {} while no daemon was there {}",
                    container.id, ended.code, ended.error
                ));
                match self.end(&container, ended).await {
                    Next::Nothing => {}
                    Next::Remove => self.remove_ended(&container).await,
                    Next::Restart(wait) => {
                        found.started += 1;
                        self.restart_after(container, wait);
                    }
                }
            }
            Finding::Removing => {
                let how = container.change(|record| {
                    record.state.phase = Phase::Exited;
                    HowToRemove {
                        force: false,
                        volumes: record.state.volumes_go,
                    }
                });
                match self.remove_held(&container, how).await {
                    Ok(()) => found.removed += 1,
                    Err(error) => self.note(&format!("container {}: {error}", container.id)),
                }
            }
            Finding::AsRecorded => {
                let (phase, stopped) =
                    container.with(|record| (record.state.phase, record.state.stopped));
                // It was being restarted by a client: who ends then does not stay.
                if phase == Phase::Exited
                    && container.with(|record| record.settings.host.auto_remove)
                {
                    self.remove_ended(&container).await;
                    found.removed += 1;
                    return Ok(());
                }
                let again = match phase {
                    Phase::Restarting => true,
                    Phase::Exited => policy.applies_at_start(stopped, None),
                    Phase::Created
                    | Phase::Running
                    | Phase::Paused
                    | Phase::Removing
                    | Phase::Dead => false,
                };
                if again {
                    found.started += 1;
                    container.change(|record| record.state.phase = Phase::Restarting);
                    self.restart_after(container, Duration::ZERO);
                }
            }
        }
        Ok(())
    }

    fn look_at(&self, container: &Container, has_dir: bool, deadline: Instant) -> Result<Finding> {
        let phase = container.phase();
        let places = self.places(&container.id);
        if phase == Phase::Removing {
            return Ok(Finding::Removing);
        }
        let client = Client::new(&places.run);
        let state = if has_dir {
            settled(&client, deadline)
        } else {
            None
        };
        match state {
            Some(MonitorState::Running { pid }) => {
                if let Ok(watch) = client.watch() {
                    return Ok(Finding::Runs(pid, watch.into_stream()));
                }
            }
            // The runtime waits for something, such as a file system that does not answer. Nobody was told of
            // this start.
            Some(MonitorState::Starting) => self.kill_unmonitored(container),
            Some(MonitorState::NotStarted) => {
                // It may go by itself meanwhile.
                drop(client.dismiss());
            }
            Some(MonitorState::Exited(exit)) => return Ok(Finding::Ended(Ended::of(&exit))),
            None => {}
        }
        if phase.has_process() {
            let exit = places.read_exit()?;
            let ended = exit.map_or_else(
                || {
                    self.kill_unmonitored(container);
                    Ended::unseen(
                        "its monitor is gone: the machine was restarted, or it was killed",
                    )
                },
                |exit| Ended::of(&exit),
            );
            return Ok(Finding::Ended(ended));
        }
        if has_dir {
            // Its monitor may have been killed while the runtime was at work.
            self.kill_unmonitored(container);
            let size = self.settle_size(container);
            self.tear_down(&container.id)?;
            if phase == Phase::Exited && size.is_some() {
                // A copy had its files until the daemon was killed.
                container.change(|record| record.state.size = size);
                self.save(container)?;
            }
        }
        Ok(Finding::AsRecorded)
    }

    /// Lets go of the rooms that a daemon before had mounted, but for those of containers that run.
    fn let_go_of_rooms(&self) -> Result<()> {
        for id in names_in(&crate::writable::seats(&self.inner.engine.run_path))? {
            let container = self.find(&id);
            if container.is_ok_and(|container| !container.phase().has_process()) {
                self.let_go(&id);
            }
        }
        Ok(())
    }

    /// Ends what a monitor that is gone had started.
    pub(crate) fn kill_unmonitored(&self, container: &Container) {
        let runtime = container.with(|record| record.settings.host.runtime.clone());
        self.delete_from_runtime(runtime.as_deref(), &container.id);
    }

    fn delete_from_runtime(&self, runtime: Option<&str>, id: &str) {
        if !self.runtime_state().join(id).exists() {
            return;
        }
        let deleted = self
            .runtime(runtime)
            .and_then(|runtime| runtime.order(&["delete", "--force", id]));
        if let Err(error) = deleted {
            self.note(&format!("container {id}: {error}"));
        }
    }
}

/// How far a monitor is, when the runtime that it may have called has come to an end, or the time is over.
fn settled(client: &Client, deadline: Instant) -> Option<MonitorState> {
    loop {
        match client.state().ok()? {
            MonitorState::Starting if Instant::now() < deadline => std::thread::sleep(LOOK),
            state => return Some(state),
        }
    }
}

fn names_in(dir: &std::path::Path) -> Result<BTreeSet<String>> {
    let names = lapstrake_sys::dir::names(dir).map_err(io_error("list", dir))?;
    let names = names.into_iter();
    Ok(names
        .map(|name| name.to_string_lossy().into_owned())
        .collect())
}

/// Whether a name is an id that a daemon gave.
pub(crate) fn is_id(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}
