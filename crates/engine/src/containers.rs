//! Containers: made over an image, started under a monitor, stopped and removed, found again after the
//! daemon was killed.
//!
//! ```text
//! state.db                        a record each                             on disk before an answer
//! state/containers/<id>/          the room of its writable layer
//! state/container-files/<id>/     its log, its exit record, /etc/hosts and the like
//! <run>/containers/<id>/          while it runs: its root, its bundle, its monitor's socket
//! <run>/runtime/                  the OCI runtime's own state
//! ```
//!
//! A container runs under a monitor ([`lapstrake_monitor`]), a process of its own that outlives the daemon. So
//! a record tells what the daemon knew, the monitor's exit record what came after, and [`Containers::open`]
//! brings the two together.
//!
//! Steps that wait are taken one after another for each container (`turns`), and no
//! lock over several containers is held while one waits: a container whose volume hangs holds up nobody else.

mod attach;
mod commit;
mod container;
mod create;
mod dirs;
mod end;
mod error;
mod exec;
mod files;
mod frames;
mod health;
mod launch;
mod logs;
mod memory;
mod merge;
mod mounts;
mod names;
mod pause;
mod places;
mod prune;
mod reconcile;
mod record;
mod registry;
mod remove;
mod rename;
mod runtime;
mod signal;
mod size;
mod start;
mod stop;
mod stubs;
mod take_down;
mod told;
mod turns;
mod update;
mod usage;
mod users;
mod validate;
mod view;
mod wait;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use lapstrake_bridge::blocking;
use lapstrake_container::spec::Facts;
use lapstrake_store::{Commit, ContainerRecord, Put};

use crate::Engine;
use crate::Volumes;
use crate::events::{Action, Bus, Kind as EventKind};

use container::{Container, held};
use registry::Registry;

pub use attach::{Attach, Attachment};
pub use commit::CommitContainer;
pub use container::Seen;
pub use create::{Created, NewContainer};
pub use error::{Error, Kind, Result};
pub use exec::{ExecSettings, ExecState};
pub use files::PutFiles;
pub use logs::Log;
pub use prune::{PruneContainers, PrunedContainers};
pub use reconcile::Reconciled;
pub use record::{Nanoseconds, Phase, Record, State, nanoseconds, now};
pub use remove::HowToRemove;
pub use size::{Size, Sizes};
pub use stop::Stop;
pub use update::Update;
pub use usage::Sample;
pub use wait::{Until, Wait};

pub use lapstrake_container::archive::PathStat;
pub use lapstrake_container::usage::cgroup::{Block, HostCpu, Usage};
pub use lapstrake_container::usage::network::Interface;
pub use lapstrake_container::usage::top::Processes;

/// What the daemon was told of containers.
#[derive(Debug, Clone)]
pub struct ContainerOptions {
    /// The program that monitors a container, and the arguments before the directory.
    pub monitor: (PathBuf, Vec<String>),
    /// The OCI runtimes, by name: programs on the path or paths.
    pub runtimes: std::collections::BTreeMap<String, String>,
    /// The name of the runtime for containers that ask for none.
    pub default_runtime: String,
    /// Where output goes when a container does not say.
    pub log: lapstrake_container::settings::LogSettings,
    /// How long a stop waits before it kills.
    pub stop_timeout: Duration,
    /// Changes of the daemon's are told here, a line each.
    pub tell: fn(&str),
}

/// The containers of a daemon. Clones are handles on the same.
#[derive(Debug, Clone)]
pub struct Containers {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    engine: Arc<Engine>,
    volumes: Arc<Volumes>,
    options: ContainerOptions,
    registry: Mutex<Registry>,
    /// What the host can do; looked at when it is first needed.
    facts: OnceLock<Facts>,
    /// One removal of all that don't run at a time.
    pruning: tokio::sync::Mutex<()>,
}

impl Containers {
    fn registry(&self) -> std::sync::MutexGuard<'_, Registry> {
        held(&self.inner.registry)
    }

    /// The container of this id, name, or beginning of an id.
    fn find(&self, name: &str) -> Result<Arc<Container>> {
        self.registry().find(name)
    }

    /// The record of a container, as it is now.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn record(&self, name: &str) -> Result<Record> {
        Ok(self.find(name)?.record())
    }

    /// Every record, as they are now, by id.
    pub fn records(&self) -> Vec<Record> {
        let all = self.registry().all();
        all.iter().map(|container| container.record()).collect()
    }

    /// The volumes of the daemon.
    pub fn volumes(&self) -> &Arc<Volumes> {
        &self.inner.volumes
    }

    /// Where what happens is told.
    pub fn events(&self) -> &Bus {
        self.inner.engine.events()
    }

    /// Does something that blocks with all that is needed.
    async fn blocking<T: Send + 'static>(
        &self,
        step: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let this = self.clone();
        blocking(move || step(&this)).await?
    }

    /// Writes a container's record, unless it is gone; waits until it is on disk.
    fn save(&self, container: &Container) -> Result<()> {
        let gone = held(&container.saving);
        if *gone {
            return Ok(());
        }
        let record = container.record();
        let body = serde_json::to_string(&record)
            .map_err(|error| Error::Internal(format!("cannot write a record: {error}")))?;
        let row = ContainerRecord {
            id: record.id,
            name: record.name,
            body,
        };
        match (self.inner.engine.store.state()).put_container(&row, Commit::Synced)? {
            Put::Done => Ok(()),
            Put::NameTaken(by) => Err(Error::NameTaken { name: row.name, by }),
        }
    }

    /// Tells that something happened to a container: with its name, image and labels, and what else there is
    /// to say.
    fn tell(&self, container: &Container, action: Action, more: &[(&str, String)]) {
        let attributes = container.with(|record| {
            let mut attributes = record.settings.execution.labels.clone();
            attributes.insert("image".to_owned(), record.settings.image.clone());
            attributes.insert("name".to_owned(), record.name.clone());
            attributes
        });
        let more = more
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()));
        let attributes = attributes.into_iter().chain(more).collect();
        let kind = EventKind::Container;
        self.events()
            .publish(kind, action, container.id.clone(), attributes);
    }

    /// A line for the daemon's log.
    fn note(&self, line: &str) {
        (self.inner.options.tell)(line);
    }
}
