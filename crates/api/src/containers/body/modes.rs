//! Networks and namespaces, as Docker names them in a word.

use lapstrake_engine::settings::{CgroupVersion, Namespace, NetworkMode};

use crate::error::Failure;

/// The network; any other word is a network's name.
pub(super) fn network(mode: &str) -> NetworkMode {
    match mode.split_once(':') {
        Some(("container", other)) => NetworkMode::Container(other.to_owned()),
        _ => match mode {
            "" | "default" => NetworkMode::Default,
            "none" => NetworkMode::None,
            "host" => NetworkMode::Host,
            name => NetworkMode::Named(name.to_owned()),
        },
    }
}

/// A namespace of this kind: `IPC`, `PID` or `UTS`.
pub(super) fn namespace(kind: &str, mode: &str) -> Result<Namespace, Failure> {
    match (mode.split_once(':'), mode) {
        (Some(("container", other)), _) if !other.is_empty() && kind != "UTS" => {
            Ok(Namespace::Container(other.to_owned()))
        }
        (_, "") | (_, "private") => Ok(Namespace::Private),
        (_, "host") => Ok(Namespace::Host),
        (_, "shareable") if kind == "IPC" => Ok(Namespace::Shareable),
        (_, "none") if kind == "IPC" => Ok(Namespace::None),
        _ => Err(Failure::invalid(format!("invalid {kind} mode: {mode}"))),
    }
}

/// The namespace of control groups; if nothing is said, what is the rule where there are groups of this version.
pub(super) fn cgroup(mode: &str, version: CgroupVersion) -> Result<Namespace, Failure> {
    match mode {
        "" => Ok(version.default_namespace()),
        "host" => Ok(Namespace::Host),
        "private" => Ok(Namespace::Private),
        other => Err(Failure::invalid(format!(
            "invalid cgroup namespace mode: {other}"
        ))),
    }
}
