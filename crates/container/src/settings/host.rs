//! What a container may do on its host.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{MountPoint, Resources, RestartPolicy};

/// What a container may do on its host, and what it gets there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostSettings {
    /// What is mounted in it, in the order of destinations: requests that were resolved when it was made.
    pub mounts: Vec<MountPoint>,
    /// Its network.
    pub network: NetworkMode,
    /// Inter-process communication.
    pub ipc: Namespace,
    /// Process numbers.
    pub pid: Namespace,
    /// Host and domain name.
    pub uts: Namespace,
    /// Control groups: a namespace of its own, or the host's view.
    pub cgroup: Namespace,
    /// When it is started again.
    pub restart: RestartPolicy,
    /// Whether it is removed when it ended.
    pub auto_remove: bool,
    /// Where its output goes.
    pub log: LogSettings,
    /// What it may do.
    pub security: Security,
    /// What it may use.
    pub resources: Resources,
    /// Devices of the host.
    pub devices: Vec<Device>,
    /// Rules for control groups: `c 42:* rmw`.
    pub device_rules: Vec<String>,
    /// Whether a small init reaps its orphans.
    pub init: bool,
    /// The OCI runtime, by its name in the configuration.
    pub runtime: Option<String>,
    /// Bytes of `/dev/shm`.
    pub shm_size: Option<u64>,
    /// Kernel settings of its namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Name servers.
    pub dns: Vec<String>,
    /// Options of the resolver.
    pub dns_options: Vec<String>,
    /// Domains to search.
    pub dns_search: Vec<String>,
    /// `name:address`.
    pub extra_hosts: Vec<String>,
    /// `size=…` and the like, for its writable layer.
    pub storage_options: BTreeMap<String, String>,
    /// -1000 to 1000.
    pub oom_score: Option<i32>,
    /// The terminal's rows and columns at the start.
    pub console_size: Option<(u16, u16)>,
    /// Free-form, handed to the runtime.
    pub annotations: BTreeMap<String, String>,
}

/// Security settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Security {
    /// Everything is allowed.
    pub privileged: bool,
    /// Capabilities beside the default ones; `ALL` is all.
    pub cap_add: Vec<String>,
    /// Capabilities that it does not get.
    pub cap_drop: Vec<String>,
    /// `seccomp=unconfined`, `no-new-privileges`, …, as Docker writes them.
    pub options: Vec<String>,
    /// Whether its root can't be written.
    pub read_only_root: bool,
    /// Groups beside its user's own.
    pub groups: Vec<String>,
    /// Paths that it does not see; nothing for the default ones.
    pub masked_paths: Option<Vec<String>>,
    /// Paths that it does not change; nothing for the default ones.
    pub read_only_paths: Option<Vec<String>>,
    /// `host`, or nothing: user namespaces.
    pub userns: Option<String>,
}

/// A namespace: its own, or whose.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Namespace {
    /// Its own, and nobody else's.
    #[default]
    Private,
    /// Its own, that others may join.
    Shareable,
    /// The host's.
    Host,
    /// None, as far as that is possible: for IPC, no `/dev/shm`.
    None,
    /// That of another container, by id.
    Container(String),
}

/// A network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkMode {
    /// Nothing but loopback.
    None,
    /// The host's.
    Host,
    /// That of another container, by id.
    Container(String),
    /// A network by its name; `bridge` is there always.
    Named(String),
    /// The default bridge.
    #[default]
    Default,
}

/// Where output goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogSettings {
    /// `json-file`, `local` or `none`; empty is the daemon's default.
    pub driver: String,
    /// `max-size` and the like.
    pub options: BTreeMap<String, String>,
}

/// A device of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Where on the host.
    pub host: String,
    /// Where in the container.
    pub container: String,
    /// Some of `rwm`.
    pub access: String,
}
