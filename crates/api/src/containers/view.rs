//! Parts of a container that lists and `inspect` show alike: its mounts and its networks.

use std::collections::BTreeMap;

use lapstrake_engine::containers::Record;
use lapstrake_engine::settings::{MountKind, MountPoint, NetworkMode};
use serde::Serialize;
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

/// As Docker writes what a container has in a network. There are no addresses yet.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Endpoint {
    #[serde(rename = "IPAMConfig")]
    ipam_config: (),
    links: (),
    aliases: (),
    mac_address: &'static str,
    driver_opts: (),
    gw_priority: u8,
    #[serde(rename = "NetworkID")]
    network_id: String,
    #[serde(rename = "EndpointID")]
    endpoint_id: &'static str,
    gateway: &'static str,
    #[serde(rename = "IPAddress")]
    ip_address: &'static str,
    #[serde(rename = "IPPrefixLen")]
    ip_prefix_len: u8,
    #[serde(rename = "IPv6Gateway")]
    ipv6_gateway: &'static str,
    #[serde(rename = "GlobalIPv6Address")]
    global_ipv6_address: &'static str,
    #[serde(rename = "GlobalIPv6PrefixLen")]
    global_ipv6_prefix_len: u8,
    #[serde(rename = "DNSNames")]
    dns_names: (),
}

/// `NetworkSettings.Networks`.
pub(super) fn networks(daemon: &Daemon, record: &Record) -> BTreeMap<String, Endpoint> {
    let name = network_name(record);
    if name.starts_with("container:") {
        return BTreeMap::new();
    }
    let network_id = match record.state.started {
        Some(_) => networks::id(daemon, &name),
        None => String::new(),
    };
    let endpoint = Endpoint {
        network_id,
        ..Endpoint::default()
    };
    BTreeMap::from([(name, endpoint)])
}
