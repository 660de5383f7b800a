//! An OCI runtime's `config.json`, from what a container is to be and what its host is.
//!
//! [`config`] and [`exec::process`] are functions of their arguments. What they need to know is gathered
//! before, in the order of a container's life:
//!
//! 1. [`Facts::gather`], once: what the host can do.
//! 2. [`validate`], when the container is made: what contradicts itself or can't be had here.
//! 3. [`user::resolve`] and [`HostDevices::find`], when its root and mounts are there.
//! 4. [`config`], when it is started. The runtime makes its working directory if that is not there.
//!
//! The defaults are those of Docker, down to the order of environment variables. Nothing here is about how
//! a root or a volume comes to be: mounts arrive with paths on the host.

pub mod capability;
mod devices;
mod error;
pub mod exec;
mod facts;
pub mod files;
mod limits;
mod mounts;
mod namespaces;
mod process;
mod propagation;
pub mod resources;
mod seccomp;
mod security;
mod sysctl;
pub mod user;
mod validate;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod random;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::settings::Settings;
use process::put;

pub use devices::{HostDevice, HostDevices};
pub use error::{Class, Error, Result};
pub use facts::{CgroupVersion, Facts};
pub use limits::LimitError;
pub use mounts::{HostMount, ReadOnly, Shown};
pub use propagation::check_propagation;
pub use security::hidden_paths;
pub use user::Identity;
pub use validate::{Warning, validate, validate_resources};

/// A container, and where all that belongs to it is on the host.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Its id: the name of its control group.
    pub id: &'a str,
    /// What it is to be.
    pub settings: &'a Settings,
    /// The name of its host, as it sees it: its own, the host's, or that of the container whose network it joins.
    pub hostname: &'a str,
    /// Where its root is mounted.
    pub root: &'a Path,
    /// Who it runs as.
    pub user: &'a Identity,
    /// What is mounted in it, beside the root: all that its settings ask for.
    pub mounts: &'a [HostMount],
    /// Files that the engine keeps for it.
    pub files: &'a Files,
    /// Namespaces of others.
    pub join: &'a Join,
    /// Its devices.
    pub devices: &'a HostDevices,
}

/// Files and directories of the host that the engine keeps for a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// Shown as `/etc/hosts`, unless something else is mounted there.
    pub hosts: Option<PathBuf>,
    /// Shown as `/etc/hostname`.
    pub hostname: Option<PathBuf>,
    /// Shown as `/etc/resolv.conf`.
    pub resolv_conf: Option<PathBuf>,
    /// A tmpfs, shown as `/dev/shm`: that of the container whose IPC namespace it joins, or its own if
    /// others may join that. Without one it gets a tmpfs that nobody else sees.
    pub shm: Option<PathBuf>,
}

/// Namespaces that a container joins, each by a path as `/proc/1/ns/net`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Join {
    /// Network: that of another container, or one that was made for this one. Without one the runtime makes
    /// one in which there is nothing but loopback.
    pub network: Option<PathBuf>,
    /// IPC of another container.
    pub ipc: Option<PathBuf>,
    /// Processes of another container.
    pub pid: Option<PathBuf>,
}

/// The container's `config.json`.
///
/// # Errors
/// If the settings ask for what can't be: see [`validate`], which says so earlier.
pub fn config(request: &Request<'_>, facts: &Facts) -> Result<Value> {
    let host = &request.settings.host;
    let mounts = mounts::all(request, facts)?;
    let mut config = Map::new();
    put(&mut config, "ociVersion", json!("1.0.2"));
    put(&mut config, "process", process::main(request, facts)?);
    let root = json!({ "path": request.root, "readonly": host.security.read_only_root });
    put(&mut config, "root", root);
    if namespaces::is_own(&host.uts) && !request.hostname.is_empty() {
        put(&mut config, "hostname", json!(request.hostname));
    }
    put(&mut config, "mounts", json!(mounts.list));
    if !host.annotations.is_empty() {
        put(&mut config, "annotations", json!(host.annotations));
    }
    put(
        &mut config,
        "linux",
        linux(request, facts, mounts.propagation)?,
    );
    Ok(Value::Object(config))
}

/// What is Linux's own.
fn linux(request: &Request<'_>, facts: &Facts, propagation: Option<&'static str>) -> Result<Value> {
    let settings = request.settings;
    let security = &settings.host.security;
    let options = security::Options::parse(&security.options, facts)?;
    let mut linux = Map::new();
    put(
        &mut linux,
        "namespaces",
        namespaces::all(&settings.host, request.join)?,
    );
    let cgroup = facts.cgroup_path(&settings.host.resources, request.id)?;
    put(&mut linux, "cgroupsPath", json!(cgroup));
    put(
        &mut linux,
        "resources",
        resources::all(settings, request.devices, facts)?,
    );
    put(&mut linux, "devices", Value::Array(request.devices.list()));
    put(&mut linux, "sysctl", json!(sysctl::all(settings, facts)?));
    put(
        &mut linux,
        "maskedPaths",
        json!(security::masked(security, &options, facts)),
    );
    put(
        &mut linux,
        "readonlyPaths",
        json!(security::read_only(security, &options)),
    );
    let held = capability::of(security, facts)?;
    if let Some(filter) = seccomp::filter(&options, security.privileged, &held, facts)? {
        put(&mut linux, "seccomp", filter);
    }
    if let Some(propagation) = propagation {
        put(&mut linux, "rootfsPropagation", json!(propagation));
    }
    Ok(Value::Object(linux))
}
