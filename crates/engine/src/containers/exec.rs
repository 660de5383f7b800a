//! Commands that are run in a container that runs already.
//!
//! They are not written down: what became of one is known as long as the daemon and its container live.

mod launch;

use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::net::UnixStream;

use lapstrake_container::settings::Streams;
use lapstrake_monitor::Exit;
use lapstrake_monitor::client::Client;
use lapstrake_monitor::wire::{Attach, State};

use super::Containers;
use super::attach::waiting_stream;
use super::container::{Container, held};
use super::create::{hexadecimal, random};
use super::error::{Error, Result};
use super::record::Phase;
use super::told::Told;
use crate::events::Action;

use launch::Launched;

/// The exit code of a command that could not be begun, as shells have it.
const CANNOT_RUN: i32 = 126;

/// What is to be run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecSettings {
    /// The program and its arguments.
    pub arguments: Vec<String>,
    /// `NAME=value`, over the container's own.
    pub env: Vec<String>,
    /// `user[:group]`; the container's own if nothing.
    pub user: Option<String>,
    /// Where it runs; the container's own if nothing.
    pub working_dir: Option<String>,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Which streams its client is attached to.
    pub attach: Streams,
    /// Whether it may do everything.
    pub privileged: bool,
    /// What the client types to detach, for show.
    pub detach_keys: String,
    /// The terminal's rows and columns.
    pub console_size: Option<(u16, u16)>,
}

/// A command in a container.
#[derive(Debug)]
pub(crate) struct Exec {
    pub(crate) id: String,
    pub(crate) container: String,
    pub(crate) settings: ExecSettings,
    made: Instant,
    pub(crate) outcome: Mutex<Outcome>,
}

/// What became of a command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) started: bool,
    pub(crate) pid: Option<u32>,
    pub(crate) code: Option<i32>,
}

/// A command in a container, for show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecState {
    /// 64 hex digits.
    pub id: String,
    /// The container.
    pub container: String,
    /// What is run.
    pub settings: ExecSettings,
    /// Whether it runs.
    pub running: bool,
    /// Its process number while it runs.
    pub pid: Option<u32>,
    /// How it ended, when it did.
    pub code: Option<i32>,
}

impl Containers {
    /// Makes a command ready to run in a container. Its id.
    ///
    /// # Errors
    /// If there is no container of that name, or it does not run.
    pub async fn exec_create(&self, name: &str, settings: ExecSettings) -> Result<String> {
        let container = self.find(name)?;
        if settings.arguments.first().is_none_or(String::is_empty) {
            return Err(Error::Invalid("No exec command specified".to_owned()));
        }
        may_exec(&container, name)?;
        let id = hexadecimal(&random::<32>()?);
        let line = settings.arguments.join(" ");
        let exec = Exec {
            id: id.clone(),
            container: container.id.clone(),
            settings,
            made: Instant::now(),
            outcome: Mutex::default(),
        };
        held(&container.execs).insert(id.clone(), Arc::new(exec));
        self.forget_old_execs(&container);
        self.tell(
            &container,
            Action::ExecCreate(line),
            &[("execID", id.clone())],
        );
        Ok(id)
    }

    /// Starts a command. Its streams, if its client wants some.
    ///
    /// # Errors
    /// If there is none of that id, it was started before, its container does not run, or the runtime
    /// refuses.
    pub async fn exec_start(
        &self,
        id: &str,
        streams: Option<Attach>,
        console_size: Option<(u16, u16)>,
    ) -> Result<Option<UnixStream>> {
        let (container, exec) = self.find_exec(id)?;
        may_exec(&container, &container.id)?;
        {
            let mut outcome = held(&exec.outcome);
            if outcome.started {
                return Err(Error::Conflict(format!(
                    "exec {id} has already been started"
                )));
            }
            outcome.started = true;
        }
        let (this, of) = (Arc::clone(&exec), Arc::clone(&container));
        let started = self
            .blocking(move |all| all.launch_exec(&of, &this, streams, console_size))
            .await;
        let Launched { wait, stream } = match started {
            Ok(started) => started,
            Err(error) => {
                let code = match &error {
                    Error::Spec(_) => CANNOT_RUN,
                    other => super::start::code_of(&other.to_string()),
                };
                held(&exec.outcome).code = Some(code);
                container.tell_execs();
                return Err(error);
            }
        };
        let line = exec.settings.arguments.join(" ");
        self.tell(
            &container,
            Action::ExecStart(line),
            &[("execID", exec.id.clone())],
        );
        let wait = waiting_stream(wait)?;
        self.watch_exec(container, exec, wait);
        stream.map(waiting_stream).transpose()
    }

    /// Runs a command to its end and gives back how it ended and what it wrote, cut to `bytes_max`; nothing if
    /// it took longer than `limit`, then it is killed.
    pub(crate) async fn exec_run(
        &self,
        container: &Container,
        settings: ExecSettings,
        limit: std::time::Duration,
        bytes_max: usize,
    ) -> Result<(Option<i32>, Vec<u8>)> {
        let id = self.exec_create(&container.id, settings).await?;
        let streams = Attach {
            stdin: false,
            stdout: true,
            stderr: true,
        };
        let stream = self.exec_start(&id, Some(streams), None).await?;
        let mut output = Vec::new();
        let whole = async {
            if let Some(stream) = stream {
                super::frames::collect(stream, &mut output, bytes_max).await;
            }
            self.exec_code(&id).await
        };
        let code = tokio::time::timeout(limit, whole).await;
        if code.is_err() {
            let client = Client::new(&self.places(&container.id).exec(&id));
            // It may have ended just now.
            drop(
                self.blocking(move |_| Ok(client.signal(super::signal::KILL)?))
                    .await,
            );
        }
        Ok((code.ok().flatten(), output))
    }

    /// Waits until a command has ended. How, or nothing if it is not known.
    pub async fn exec_code(&self, id: &str) -> Option<i32> {
        let (container, exec) = self.find_exec(id).ok()?;
        let mut seen = container.watch_execs();
        loop {
            if let Some(code) = held(&exec.outcome).code {
                return Some(code);
            }
            seen.changed().await.ok()?;
        }
    }

    /// What became of a command.
    ///
    /// # Errors
    /// If there is none of that id.
    pub fn exec_state(&self, id: &str) -> Result<ExecState> {
        let (_, exec) = self.find_exec(id)?;
        let outcome = *held(&exec.outcome);
        Ok(ExecState {
            id: exec.id.clone(),
            container: exec.container.clone(),
            settings: exec.settings.clone(),
            running: outcome.pid.is_some() && outcome.code.is_none(),
            pid: outcome.pid,
            code: outcome.code,
        })
    }

    /// The ids of the commands that run in a container.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn running_execs(&self, name: &str) -> Result<Vec<String>> {
        let container = self.find(name)?;
        let execs = held(&container.execs);
        let running = execs.values().filter(|exec| {
            let outcome = *held(&exec.outcome);
            outcome.pid.is_some() && outcome.code.is_none()
        });
        Ok(running.map(|exec| exec.id.clone()).collect())
    }

    /// Gives a command's terminal another size.
    ///
    /// # Errors
    /// If there is none of that id, or it does not run.
    pub async fn exec_resize(&self, id: &str, height: u16, width: u16) -> Result<()> {
        let (container, exec) = self.find_exec(id)?;
        let client = Client::new(&self.places(&container.id).exec(&exec.id));
        let size = lapstrake_monitor::orders::Size { height, width };
        self.blocking(move |_| Ok(client.resize(size)?)).await
    }

    /// Waits for a command's end.
    fn watch_exec(&self, container: Arc<Container>, exec: Arc<Exec>, wait: UnixStream) {
        let all = self.clone();
        tokio::spawn(async move {
            let told = Told::new(wait).exit().await;
            let dir = all.places(&container.id).exec(&exec.id);
            let read = all.blocking(move |all| {
                let exit = Exit::read(&dir.join("exit.json"));
                // Its monitor has said all it had to say.
                if let Err(error) = super::dirs::remove_dir(&dir) {
                    all.note(&error.to_string());
                }
                Ok(exit?)
            });
            // Of a container that has ended the record may be gone.
            let exit = read.await.ok().flatten().or(told);
            let code = exit.map_or(super::end::UNKNOWN, |exit| i32::from(exit.code));
            held(&exec.outcome).code = Some(code);
            container.tell_execs();
            let how = [("execID", exec.id.clone()), ("exitCode", code.to_string())];
            all.tell(&container, Action::ExecDie, &how);
            all.forget_old_execs(&container);
        });
    }

    /// Ends what waits to be started in a container and never will be, since the daemon that was about to was killed;
    /// and takes away what ended meanwhile. What runs, runs on.
    pub(crate) fn forget_lost_execs(&self, container: &str) -> Result<()> {
        let dir = self.places(container).run.join("exec");
        let Ok(entries) = std::fs::read_dir(&dir) else {
            // Nothing was ever run in it.
            return Ok(());
        };
        for entry in entries.flatten() {
            let client = Client::new(&entry.path());
            match client.state() {
                Ok(State::Starting | State::Running { .. }) => continue,
                Ok(State::NotStarted | State::Exited(_)) | Err(_) => {}
            }
            // One that ended goes by itself.
            drop(client.dismiss());
            super::dirs::remove_dir(&entry.path())?;
        }
        Ok(())
    }

    /// Keeps the list short of what has ended, or was never started.
    fn forget_old_execs(&self, container: &Container) {
        const KEPT: usize = 1024;
        let mut execs = held(&container.execs);
        while execs.len() > KEPT {
            let runs = |exec: &Exec| {
                let outcome = held(&exec.outcome);
                outcome.started && outcome.code.is_none()
            };
            let idle = execs.values().filter(|exec| !runs(exec));
            let Some(oldest) = idle.min_by_key(|exec| exec.made) else {
                return;
            };
            let id = oldest.id.clone();
            execs.remove(&id);
        }
    }

    /// By its id, or the beginning of one.
    pub(crate) fn find_exec(&self, id: &str) -> Result<(Arc<Container>, Arc<Exec>)> {
        let missing = || Error::NoExec(id.to_owned());
        if id.is_empty() {
            return Err(missing());
        }
        let mut found = None;
        for container in self.registry().all() {
            let execs = held(&container.execs);
            let matching = execs.range(id.to_owned()..);
            for (exec_id, exec) in matching.take_while(|(exec_id, _)| exec_id.starts_with(id)) {
                let one = (Arc::clone(&container), Arc::clone(exec));
                if exec_id == id {
                    return Ok(one);
                }
                if found.replace(one).is_some() {
                    return Err(missing());
                }
            }
        }
        found.ok_or_else(missing)
    }
}

/// Whether commands may be run in a container, which was called so.
fn may_exec(container: &Container, name: &str) -> Result<()> {
    match container.phase() {
        Phase::Running => Ok(()),
        Phase::Paused => Err(Error::Conflict(format!(
            "container {name} is paused, unpause the container before exec"
        ))),
        Phase::Restarting => Err(Error::Conflict(format!(
            "container {name} is restarting, wait until the container is running"
        ))),
        Phase::Created | Phase::Exited | Phase::Removing | Phase::Dead => Err(Error::Conflict(
            format!("container {} is not running", container.id),
        )),
    }
}
