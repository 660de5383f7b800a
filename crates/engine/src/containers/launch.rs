//! From a record to a running process.
//!
//! Its root is mounted first, for what the runtime is told depends on what is in it; then it is configured, its monitor
//! begins, who waits is attached, and only then it starts. After an error all is as before.

mod configure;
mod join;
mod monitored;
mod shared_files;

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::Path;

use lapstrake_container::settings::HostSettings;
use lapstrake_monitor::orders::{Orders, Stdin, Terminal, Work};

use super::Containers;
use super::attach::connect_waiting;
use super::container::Container;
use super::dirs::{make_dir, write_json};
use super::error::{Error, Result, io_error};
use super::places::Places;
use super::record::Record;

pub(crate) use monitored::size;

/// A container that was started.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) pid: i32,
    /// On which is told what happens to it, and its end.
    pub(crate) watch: UnixStream,
}

impl Containers {
    /// Starts a container that does not run. After an error all is as before.
    pub(crate) fn launch(&self, container: &Container) -> Result<Launched> {
        let record = container.record();
        self.clear_last_run(&record.id)?;
        let launched = self.set_up(container, &record);
        if launched.is_err() {
            // The failure is what to tell.
            drop(self.wait_until_clean(&record.id));
            // Nor must what a monitor began that was killed run on.
            self.kill_unmonitored(container);
            if let Err(error) = self.tear_down(&record.id) {
                self.note(&format!("container {}: {error}", record.id));
            }
            self.let_go(&record.id);
        }
        launched
    }

    fn set_up(&self, container: &Container, record: &Record) -> Result<Launched> {
        let places = self.places(&record.id);
        make_dir(&places.run)?;
        make_dir(&places.files)?;
        forget_exit(&places.exit(false))?;
        self.inner.engine.mount_writable(&record.id, &places.root)?;
        let config = self.configure(record, &places)?;
        write_json(&places.run.join("config.json"), &config)?;
        let orders = self.orders(record, &places)?;
        let client = self.monitor(&places.run, &orders)?;
        let connected = connect_waiting(container, &client);
        // Before it starts: its monitor goes when it has ended, and that may be at once.
        let watch = connected.and_then(|()| Ok(client.watch()?));
        let watch = watch
            .inspect_err(|_failed| drop(client.dismiss()))?
            .into_stream();
        let pid = client.start().map_err(start_error)?;
        Ok(Launched {
            pid: i32::try_from(pid).map_err(|_| Error::Internal(format!("pid {pid}")))?,
            watch,
        })
    }

    /// What its monitor is told.
    fn orders(&self, record: &Record, places: &Places) -> Result<Orders> {
        let settings = &record.settings;
        let terminal = settings.tty.then(|| Terminal {
            size: settings.host.console_size.map(size),
        });
        let stdin = match (settings.open_stdin, settings.stdin_once) {
            (false, _) => Stdin::Closed,
            (true, false) => Stdin::Open,
            (true, true) => Stdin::Once,
        };
        let cgroup = self
            .facts()?
            .cgroup_path(&settings.host.resources, &record.id)?;
        Ok(Orders {
            id: record.id.clone(),
            runtime: self.runtime_for_monitor(settings.host.runtime.as_deref())?,
            work: Work::Container {
                bundle: places.run.clone(),
            },
            terminal,
            stdin,
            log: self.log_settings(record, places)?,
            exit_record: places.exit(settings.host.auto_remove),
            cgroup: Some(cgroup.display().to_string()),
            guard: self.guard_words(&settings.host)?,
        })
    }

    /// What a monitor hands to the guard of its layer, if that is limited.
    fn guard_words(&self, host: &HostSettings) -> Result<Option<serde_json::Value>> {
        let engine = &self.inner.engine;
        let limited = !host.storage_options.is_empty() || !engine.default_limit()?.is_none();
        let words = || serde_json::json!({ "root": engine.root(), "run": engine.run_path });
        Ok(limited.then(words))
    }
}

/// The runtime's words are what the client looks at.
fn start_error(error: lapstrake_monitor::Error) -> Error {
    match error {
        lapstrake_monitor::Error::Runtime { message } => Error::Start(format!(
            "failed to create task for container: failed to create shim task: OCI runtime create failed: {}: unknown",
            // One call of the runtime does here what Docker has two for; clients look at the words.
            message.replacen("runc run failed", "runc create failed", 1)
        )),
        other => other.into(),
    }
}

fn forget_exit(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Ok(()) => {
            let dir = path.parent().unwrap_or(path);
            lapstrake_sys::publish::sync_dir(dir).map_err(io_error("sync", dir))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error("remove", path)(error)),
    }
}
