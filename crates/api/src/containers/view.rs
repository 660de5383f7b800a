//! Parts of a container that lists and `inspect` show alike: its mounts and its networks.

use lapstrake_engine::containers::Record;
use lapstrake_engine::settings::{MountKind, MountPoint, NetworkMode};
use serde_json::{Map, Value, json};

use crate::daemon::Daemon;
use crate::networks;

/// `Mounts`.
pub(super) fn mounts(daemon: &Daemon, record: &Record) -> Value {
    // As in Docker, a container that was never started does not say where its volumes are.
    let has_run = record.state.started.is_some();
    let mounts = record.settings.host.mounts.iter();
    let shown = mounts.filter(|point| point.kind != MountKind::Tmpfs || point.request.is_some());
    shown.map(|point| mount(daemon, point, has_run)).collect()
}

fn mount(daemon: &Daemon, point: &MountPoint, has_run: bool) -> Value {
    let mut mount = Map::new();
    let mut set = |key: &str, value: Value| {
        mount.insert(key.to_owned(), value);
    };
    let kind = match point.kind {
        MountKind::Bind => "bind",
        MountKind::Volume => "volume",
        MountKind::Tmpfs => "tmpfs",
        MountKind::Image => "image",
    };
    set("Type", json!(kind));
    let source = match (point.kind, &point.name) {
        (MountKind::Volume, Some(name)) => {
            set("Name", json!(name));
            let volume = daemon.containers.volumes().get(name).ok();
            let at = volume.filter(|_| has_run).map(|volume| volume.mountpoint);
            at.map_or_else(String::new, |at| at.display().to_string())
        }
        (MountKind::Image, Some(name)) => name.clone(),
        _ => point.source.display().to_string(),
    };
    set("Source", json!(source));
    set("Destination", json!(point.destination));
    if let (MountKind::Volume, Some(driver)) = (point.kind, &point.driver) {
        set("Driver", json!(driver));
    }
    set("Mode", json!(point.mode));
    set("RW", json!(point.writable));
    let propagation = match point.kind {
        MountKind::Bind => point.bind.propagation.map_or("rprivate", |one| one.name()),
        MountKind::Volume | MountKind::Tmpfs | MountKind::Image => "",
    };
    set("Propagation", json!(propagation));
    Value::Object(mount)
}

/// The name of the network that a container is in, as clients know it.
pub(super) fn network_name(record: &Record) -> String {
    match &record.settings.host.network {
        NetworkMode::None => "none".to_owned(),
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::Container(id) => format!("container:{id}"),
        NetworkMode::Named(name) => name.clone(),
        NetworkMode::Default => "bridge".to_owned(),
    }
}

/// `NetworkSettings.Networks`.
pub(super) fn networks(daemon: &Daemon, record: &Record) -> Value {
    let name = network_name(record);
    if name.starts_with("container:") {
        return json!({});
    }
    let id = match record.state.started {
        Some(_) => networks::id(daemon, &name),
        None => String::new(),
    };
    json!({ name: {
        "IPAMConfig": null, "Links": null, "Aliases": null, "MacAddress": "", "DriverOpts": null,
        "GwPriority": 0, "NetworkID": id, "EndpointID": "", "Gateway": "", "IPAddress": "",
        "IPPrefixLen": 0, "IPv6Gateway": "", "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0,
        "DNSNames": null,
    }})
}
