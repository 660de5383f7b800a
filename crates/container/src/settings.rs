//! What a client asked a container to be, as the engine acts on it.
//!
//! Settings are part of a container's record: they are written as JSON, and fields that are added later have
//! defaults.

mod health;
mod host;
mod limits;
mod mount;
mod restart;

use serde::{Deserialize, Serialize};

use lapstrake_oci::config::Execution;

pub use health::{Health, HealthCheck, HealthStatus, Probe};
pub use host::{Device, HostSettings, LogSettings, Namespace, NetworkMode, Security};
pub use limits::{BlockRate, Resources, Rlimit};
pub use mount::{
    BindOptions, MountKind, MountPoint, MountRequest, MountRequests, Propagation, TmpfsOptions,
    VolumeOptions,
};
pub use restart::{RestartPolicy, When, wait_before_restart};

/// What a container is to be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The image, as the client named it.
    pub image: String,
    /// What runs: the client's wishes over the image's own.
    pub execution: Execution,
    /// Which streams the client that made it wanted to be attached to.
    pub attach: Streams,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether standard input stays open though nobody is attached.
    pub open_stdin: bool,
    /// Whether standard input ends with the first client that was attached to it.
    pub stdin_once: bool,
    /// Whether it is to have no network at all.
    pub network_disabled: bool,
    /// What it may do on, and get of, its host.
    pub host: HostSettings,
}

/// The three standard streams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streams {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

impl Settings {
    /// The program and its arguments: entrypoint, then command.
    pub fn arguments(&self) -> Vec<String> {
        let (entrypoint, cmd) = (&self.execution.entrypoint, &self.execution.cmd);
        entrypoint.iter().chain(cmd).flatten().cloned().collect()
    }
}
