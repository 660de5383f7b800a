//! From a command that was made ready to one that runs.

use std::os::unix::net::UnixStream;

use lapstrake_container::spec::{self, Identity};
use lapstrake_monitor::orders::{Orders, Stdin, Terminal, Work};
use lapstrake_monitor::wire::Attach;

use super::super::Containers;
use super::super::container::{Container, held};
use super::super::dirs::{make_dir, remove_dir, write_json};
use super::super::error::{Error, Result};
use super::super::launch::size;
use super::super::places::Places;
use super::super::record::Record;
use super::Exec;

/// A command that was started.
#[derive(Debug)]
pub(super) struct Launched {
    /// On which its end is told.
    pub(super) wait: UnixStream,
    /// Its streams, if somebody wants them.
    pub(super) stream: Option<UnixStream>,
}

impl Containers {
    /// Starts a command in a container. After an error nothing of it is left.
    pub(super) fn launch_exec(
        &self,
        container: &Container,
        exec: &Exec,
        streams: Option<Attach>,
        console_size: Option<(u16, u16)>,
    ) -> Result<Launched> {
        let record = container.record();
        let (settings, asked) = (&record.settings, &exec.settings);
        let places = self.places(&container.id);
        let dir = places.exec(&exec.id);
        make_dir(&dir)?;
        let started = || {
            let facts = self.facts()?;
            let user = self.exec_user(&record, &places, asked.user.as_deref())?;
            let hostname = self.hostname(&record);
            let request = spec::exec::Request {
                settings,
                hostname: &hostname,
                arguments: &asked.arguments,
                env: &asked.env,
                directory: asked.working_dir.as_deref(),
                user: &user,
                privileged: asked.privileged,
                tty: asked.tty,
                console_size: console_size.or(asked.console_size),
            };
            let process = dir.join("process.json");
            write_json(&process, &spec::exec::process(&request, facts)?)?;
            let orders = Orders {
                id: exec.id.clone(),
                runtime: self.runtime_for_monitor(settings.host.runtime.as_deref())?,
                work: Work::Exec {
                    container: container.id.clone(),
                    process,
                },
                terminal: asked.tty.then(|| Terminal {
                    size: console_size.or(asked.console_size).map(size),
                }),
                stdin: if asked.attach.stdin {
                    Stdin::Once
                } else {
                    Stdin::Closed
                },
                log: None,
                exit_record: dir.join("exit.json"),
                cgroup: None,
                guard: None,
            };
            let client = self.monitor(&dir, &orders)?;
            let stream = streams.map(|streams| client.attach(streams)).transpose();
            // Before it starts: its monitor goes when it has ended, and that may be at once.
            let both = stream.and_then(|stream| Ok((stream, client.wait()?)));
            let (stream, wait) = both.inspect_err(|_failed| drop(client.dismiss()))?;
            let wait = wait.into_stream();
            let pid = client.start().map_err(exec_error)?;
            held(&exec.outcome).pid = Some(pid);
            Ok(Launched { wait, stream })
        };
        started().inspect_err(|_failed| drop(remove_dir(&dir)))
    }

    fn exec_user(&self, record: &Record, places: &Places, asked: Option<&str>) -> Result<Identity> {
        let own = record.settings.execution.user.as_deref().unwrap_or("");
        let groups = &record.settings.host.security.groups;
        let asked = asked.filter(|user| !user.is_empty()).unwrap_or(own);
        Ok(spec::user::resolve(&places.root, asked, groups)?)
    }
}

/// The runtime's words are what the client looks at.
fn exec_error(error: lapstrake_monitor::Error) -> Error {
    match error {
        lapstrake_monitor::Error::Runtime { message } => {
            Error::Start(format!("OCI runtime exec failed: {message}: unknown"))
        }
        other => other.into(),
    }
}
