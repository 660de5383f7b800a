//! Docker's `HostConfig`, as `inspect` gives it back: all that the client sent, over what it left out.
//!
//! It is kept in a container's record as text that only this module reads.

use lapstrake_engine::containers::Record;
use lapstrake_engine::settings::{Namespace, NetworkMode, When};
use serde_json::{Map, Value, json};

/// What Go writes for a client that sends nothing.
const DEFAULTS: &str = r#"{
    "Binds": null, "ContainerIDFile": "", "LogConfig": {"Type": "", "Config": {}},
    "NetworkMode": "", "PortBindings": {}, "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
    "AutoRemove": false, "VolumeDriver": "", "VolumesFrom": null, "ConsoleSize": [0, 0],
    "CapAdd": null, "CapDrop": null, "CgroupnsMode": "", "Dns": null, "DnsOptions": null,
    "DnsSearch": null, "ExtraHosts": null, "GroupAdd": null, "IpcMode": "", "Cgroup": "",
    "Links": null, "OomScoreAdj": 0, "PidMode": "", "Privileged": false,
    "PublishAllPorts": false, "ReadonlyRootfs": false, "SecurityOpt": null, "UTSMode": "",
    "UsernsMode": "", "ShmSize": 0, "Runtime": "", "Isolation": "", "CpuShares": 0,
    "Memory": 0, "NanoCpus": 0, "CgroupParent": "", "BlkioWeight": 0,
    "BlkioWeightDevice": null, "BlkioDeviceReadBps": null, "BlkioDeviceWriteBps": null,
    "BlkioDeviceReadIOps": null, "BlkioDeviceWriteIOps": null, "CpuPeriod": 0, "CpuQuota": 0,
    "CpuRealtimePeriod": 0, "CpuRealtimeRuntime": 0, "CpusetCpus": "", "CpusetMems": "",
    "Devices": null, "DeviceCgroupRules": null, "DeviceRequests": null,
    "MemoryReservation": 0, "MemorySwap": 0, "MemorySwappiness": null,
    "OomKillDisable": false, "PidsLimit": null, "Ulimits": null, "CpuCount": 0,
    "CpuPercent": 0, "IOMaximumIOps": 0, "IOMaximumBandwidth": 0,
    "MaskedPaths": null, "ReadonlyPaths": null
}"#;

fn defaults() -> Value {
    serde_json::from_str(DEFAULTS).expect("the text above is JSON")
}

/// What a container keeps of what its client sent.
pub(super) fn of(host_config: &Value) -> String {
    let mut document = defaults();
    if let (Value::Object(document), Value::Object(sent)) = (&mut document, host_config) {
        for (key, value) in sent {
            if !value.is_null() {
                document.insert(key.clone(), value.clone());
            }
        }
    }
    document.to_string()
}

/// What the daemon decided where the client did not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decided<'a> {
    /// The log driver.
    pub(super) log_driver: &'a str,
    /// The runtime.
    pub(super) runtime: &'a str,
    /// Paths that are masked.
    pub(super) masked: &'a [String],
    /// Paths that are read-only.
    pub(super) read_only: &'a [String],
}

/// `HostConfig` of a container.
pub(super) fn host_config(record: &Record, decided: Decided<'_>) -> Value {
    let kept: Value = serde_json::from_str(&record.document).unwrap_or_else(|_| defaults());
    let Value::Object(mut host) = kept else {
        return defaults();
    };
    let settings = &record.settings.host;
    if is_empty(&host, "NetworkMode") || host["NetworkMode"] == "default" {
        host.insert("NetworkMode".to_owned(), json!("bridge"));
    }
    if let NetworkMode::Container(id) = &settings.network {
        host.insert("NetworkMode".to_owned(), json!(format!("container:{id}")));
    }
    let cgroup = match settings.cgroup {
        Namespace::Private => "private",
        _ => "host",
    };
    for (key, value) in [
        ("CgroupnsMode", cgroup),
        ("IpcMode", "private"),
        ("Runtime", decided.runtime),
    ] {
        if is_empty(&host, key) {
            host.insert(key.to_owned(), json!(value));
        }
    }
    if host.get("ShmSize") == Some(&json!(0)) {
        host.insert("ShmSize".to_owned(), json!(64 << 20));
    }
    let swap = settings.resources.memory_swap;
    if let (Some(swap), Some(0)) = (swap, host.get("MemorySwap").and_then(Value::as_i64)) {
        host.insert("MemorySwap".to_owned(), json!(swap));
    }
    if host.get("MemorySwappiness") == Some(&json!(-1)) {
        host.insert("MemorySwappiness".to_owned(), Value::Null);
    }
    if host.get("PidsLimit") == Some(&json!(0)) {
        host.insert("PidsLimit".to_owned(), Value::Null);
    }
    if let Some(Value::Object(log)) = host.get_mut("LogConfig") {
        if is_empty(log, "Type") {
            log.insert("Type".to_owned(), json!(decided.log_driver));
        }
        let config = log.entry("Config").or_insert_with(|| json!({}));
        if config.is_null() {
            *config = json!({});
        }
    }
    let hides = !settings.security.privileged;
    for (key, paths) in [
        ("MaskedPaths", decided.masked),
        ("ReadonlyPaths", decided.read_only),
    ] {
        if hides && host.get(key).is_none_or(Value::is_null) {
            host.insert(key.to_owned(), json!(paths));
        }
    }
    if let Some(Value::Object(policy)) = host.get_mut("RestartPolicy")
        && is_empty(policy, "Name")
    {
        policy.insert("Name".to_owned(), json!("no"));
    }
    Value::Object(host)
}

/// The document after an update: what the client sent now over what it had sent.
pub(super) fn updated(record: &Record, sent: &Map<String, Value>) -> String {
    let kept = serde_json::from_str(&record.document).unwrap_or_else(|_| defaults());
    let Value::Object(mut document) = kept else {
        return record.document.clone();
    };
    for (key, value) in sent {
        let is_set = match value {
            Value::Null => false,
            Value::Number(number) => number.as_i64() != Some(0),
            Value::String(text) => !text.is_empty(),
            Value::Bool(set) => *set,
            Value::Array(values) => !values.is_empty(),
            // The policy, of which an empty name means that it stays.
            Value::Object(values) => values.get("Name").is_some_and(|name| name != ""),
        };
        if is_set {
            document.insert(key.clone(), value.clone());
        }
    }
    if record.settings.host.restart.when == When::No {
        let none = json!({"Name": "no", "MaximumRetryCount": 0});
        document.insert("RestartPolicy".to_owned(), none);
    }
    Value::Object(document).to_string()
}

fn is_empty(map: &Map<String, Value>, key: &str) -> bool {
    map.get(key)
        .is_none_or(|value| value.is_null() || value == "")
}
