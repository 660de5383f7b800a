//! Which namespaces a container has for itself, which it shares, and which it joins.

use std::path::Path;

use serde_json::{Value, json};

use super::{Error, Join, Result};
use crate::settings::{HostSettings, Namespace, NetworkMode, Settings};

/// The namespaces, as the runtime has them. One that is not listed is the host's.
pub(super) fn all(host: &HostSettings, join: &Join) -> Result<Value> {
    let new = |kind: &str| json!({ "type": kind });
    let at = |kind: &str, path: &Path| json!({ "type": kind, "path": path });
    let mut list = vec![new("mount")];
    match (&host.network, &join.network) {
        (NetworkMode::Host, _) => {}
        (_, Some(path)) => list.push(at("network", path)),
        (NetworkMode::Container(id), None) => return Err(not_joined("network", id)),
        (NetworkMode::None | NetworkMode::Named(_) | NetworkMode::Default, None) => {
            list.push(new("network"));
        }
    }
    let kinds = [
        ("uts", &host.uts, None),
        ("pid", &host.pid, join.pid.as_deref()),
        ("ipc", &host.ipc, join.ipc.as_deref()),
        ("cgroup", &host.cgroup, None),
    ];
    for (kind, wanted, path) in kinds {
        match (wanted, path) {
            (Namespace::Host, _) => {}
            (Namespace::Container(_), Some(path)) => list.push(at(kind, path)),
            (Namespace::Container(id), None) => return Err(not_joined(kind, id)),
            (Namespace::Private | Namespace::Shareable | Namespace::None, _) => {
                list.push(new(kind))
            }
        }
    }
    Ok(Value::Array(list))
}

fn not_joined(kind: &'static str, container: &str) -> Error {
    let container = container.to_owned();
    Error::NotJoined { kind, container }
}

/// Whether it has a network namespace that no other container made.
pub(super) const fn owns_network(settings: &Settings) -> bool {
    match settings.host.network {
        NetworkMode::Host | NetworkMode::Container(_) => false,
        NetworkMode::None | NetworkMode::Named(_) | NetworkMode::Default => true,
    }
}

/// Whether the namespace is not the host's nor another container's.
pub(super) const fn is_own(namespace: &Namespace) -> bool {
    match namespace {
        Namespace::Private | Namespace::Shareable | Namespace::None => true,
        Namespace::Host | Namespace::Container(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &HostSettings, join: &Join) -> Vec<String> {
        let list = all(host, join).unwrap();
        let one = |one: &Value| match one["path"].as_str() {
            Some(path) => format!("{}={path}", one["type"].as_str().unwrap()),
            None => one["type"].as_str().unwrap().to_owned(),
        };
        list.as_array().unwrap().iter().map(one).collect()
    }

    #[test]
    fn they_are_its_own_the_hosts_or_anothers() {
        let mut host = HostSettings::default();
        let mut join = Join::default();
        assert_eq!(
            check(&host, &join),
            ["mount", "network", "uts", "pid", "ipc", "cgroup"]
        );
        host.cgroup = Namespace::Host;
        host.uts = Namespace::Host;
        host.pid = Namespace::Container("a".to_owned());
        assert_eq!(
            all(&host, &join).unwrap_err().to_string(),
            "cannot join the pid namespace of container a: it is not running"
        );
        join.pid = Some("/proc/7/ns/pid".into());
        join.network = Some("/run/netns/x".into());
        assert_eq!(
            check(&host, &join),
            ["mount", "network=/run/netns/x", "pid=/proc/7/ns/pid", "ipc"]
        );
        host.network = NetworkMode::Host;
        assert_eq!(check(&host, &join), ["mount", "pid=/proc/7/ns/pid", "ipc"]);
    }
}
