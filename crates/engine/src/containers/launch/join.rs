//! What a container shares with another one: namespaces, and its name on the network.
//!
//! Who joins a container joins what that has now. One that does not run has nothing to join.

use std::path::PathBuf;

use lapstrake_container::settings::{Namespace, NetworkMode};
use lapstrake_container::spec::Join;

use super::super::Containers;
use super::super::error::{Error, Result};
use super::super::record::Record;

impl Containers {
    /// Its host name: that of the container whose network it has, or its own.
    pub(crate) fn hostname(&self, record: &Record) -> String {
        let of = match &record.settings.host.network {
            NetworkMode::Container(other) => self.record(other).ok(),
            _ => None,
        };
        let execution = &of.as_ref().unwrap_or(record).settings.execution;
        execution.hostname.clone().unwrap_or_default()
    }

    /// Namespaces of other containers that it joins.
    pub(super) fn join(&self, record: &Record) -> Result<Join> {
        let host = &record.settings.host;
        let namespace = |of: &Namespace, kind: &str| match of {
            Namespace::Container(other) => self.namespace_of(other, kind).map(Some),
            _ => Ok(None),
        };
        Ok(Join {
            network: match &host.network {
                NetworkMode::Container(other) => Some(self.namespace_of(other, "net")?),
                _ => None,
            },
            ipc: namespace(&host.ipc, "ipc")?,
            pid: namespace(&host.pid, "pid")?,
        })
    }

    fn namespace_of(&self, other: &str, kind: &str) -> Result<PathBuf> {
        let other = self.find(other)?;
        let pid = other.with(|record| {
            record
                .state
                .pid
                .filter(|_| record.state.phase.has_process())
        });
        let pid = pid.ok_or_else(|| {
            Error::Conflict(format!(
                "cannot join namespace of a non running container: container {} is {}",
                other.id,
                other.phase().name()
            ))
        })?;
        Ok(PathBuf::from(format!("/proc/{pid}/ns/{kind}")))
    }
}
