//! What clients send of a container to be made: Docker's names, made settings.
//!
//! Go writes `null` for what is empty, and clients leave out what they don't mean: both are the default.

use std::collections::BTreeMap;

use lapstrake_engine::settings::{
    BlockRate, CgroupVersion, Device, Execution, HostSettings, LogSettings, MountRequests,
    Namespace, NetworkMode, Resources, RestartPolicy, Rlimit, Security, When,
};
use serde::Deserialize;
use serde_json::Value;

use super::mount::Mount;
use crate::error::Failure;

/// The body of `POST /containers/create`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Body {
    #[serde(flatten)]
    pub(super) execution: Execution,
    pub(super) attach_stdin: bool,
    pub(super) attach_stdout: bool,
    pub(super) attach_stderr: bool,
    pub(super) tty: bool,
    pub(super) open_stdin: bool,
    pub(super) stdin_once: bool,
    pub(super) image: String,
    pub(super) network_disabled: bool,
    pub(super) host_config: HostConfig,
}

/// `HostConfig`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct HostConfig {
    #[serde(flatten)]
    resources: ResourcesBody,
    binds: Vec<String>,
    log_config: LogConfig,
    network_mode: String,
    restart_policy: RestartPolicyBody,
    auto_remove: bool,
    volume_driver: String,
    volumes_from: Vec<String>,
    mounts: Vec<Mount>,
    console_size: Vec<u16>,
    cap_add: Vec<String>,
    cap_drop: Vec<String>,
    cgroupns_mode: String,
    dns: Vec<String>,
    dns_options: Vec<String>,
    dns_search: Vec<String>,
    extra_hosts: Vec<String>,
    group_add: Vec<String>,
    ipc_mode: String,
    oom_score_adj: i32,
    pid_mode: String,
    privileged: bool,
    readonly_rootfs: bool,
    security_opt: Vec<String>,
    storage_opt: BTreeMap<String, String>,
    tmpfs: BTreeMap<String, String>,
    #[serde(rename = "UTSMode")]
    uts_mode: String,
    userns_mode: String,
    shm_size: i64,
    sysctls: BTreeMap<String, String>,
    runtime: String,
    init: bool,
    annotations: BTreeMap<String, String>,
    masked_paths: Option<Vec<String>>,
    readonly_paths: Option<Vec<String>>,
    links: Vec<String>,
}

/// The part of `HostConfig` that `POST /containers/{id}/update` has too.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ResourcesBody {
    memory: i64,
    memory_swap: i64,
    memory_reservation: i64,
    memory_swappiness: Option<i64>,
    oom_kill_disable: bool,
    cpu_shares: i64,
    nano_cpus: i64,
    cpu_period: i64,
    cpu_quota: i64,
    cpu_realtime_period: i64,
    cpu_realtime_runtime: i64,
    cpuset_cpus: String,
    cpuset_mems: String,
    pids_limit: Option<i64>,
    blkio_weight: u16,
    blkio_weight_device: Vec<WeightDevice>,
    blkio_device_read_bps: Vec<RateDevice>,
    blkio_device_write_bps: Vec<RateDevice>,
    #[serde(rename = "BlkioDeviceReadIOps")]
    blkio_device_read_iops: Vec<RateDevice>,
    #[serde(rename = "BlkioDeviceWriteIOps")]
    blkio_device_write_iops: Vec<RateDevice>,
    ulimits: Vec<Ulimit>,
    cgroup_parent: String,
    devices: Vec<DeviceBody>,
    device_cgroup_rules: Vec<String>,
    device_requests: Vec<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct LogConfig {
    #[serde(rename = "Type")]
    kind: String,
    config: BTreeMap<String, String>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct RestartPolicyBody {
    name: String,
    maximum_retry_count: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WeightDevice {
    path: String,
    weight: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RateDevice {
    path: String,
    rate: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Ulimit {
    name: String,
    soft: i64,
    hard: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct DeviceBody {
    path_on_host: String,
    path_in_container: String,
    cgroup_permissions: String,
}

/// Reads a document in which `null` is the default.
pub(super) fn read<T: serde::de::DeserializeOwned>(mut value: Value) -> Result<T, Failure> {
    without_nulls(&mut value);
    serde_json::from_value(value)
        .map_err(|error| Failure::invalid(format!("invalid JSON: {error}")))
}

fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(without_nulls);
        }
        Value::Array(values) => values.iter_mut().for_each(without_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

impl HostConfig {
    /// What is to be mounted.
    pub(super) fn mounts(&self) -> Result<MountRequests, Failure> {
        let mounts = self.mounts.iter().map(Mount::request);
        Ok(MountRequests {
            binds: self.binds.clone(),
            mounts: mounts.collect::<Result<_, _>>()?,
            tmpfs: self.tmpfs.clone(),
            volumes_from: self.volumes_from.clone(),
            volumes: Vec::new(),
            volume_driver: given(&self.volume_driver),
        })
    }

    /// What a container may do on its host; mounts are resolved later.
    pub(super) fn settings(self, cgroup: CgroupVersion) -> Result<HostSettings, Failure> {
        if !self.links.is_empty() {
            return Err(Failure::invalid(
                "links are not supported: use a network of your own, or --network container:NAME",
            ));
        }
        if !self.resources.device_requests.is_empty() {
            return Err(Failure::internal(
                "could not select device driver \"\" with capabilities: device requests are not supported, give devices by --device",
            ));
        }
        let devices = self.resources.devices.iter().map(DeviceBody::device);
        Ok(HostSettings {
            mounts: Vec::new(),
            network: network(&self.network_mode),
            ipc: namespace("IPC", &self.ipc_mode)?,
            pid: namespace("PID", &self.pid_mode)?,
            uts: namespace("UTS", &self.uts_mode)?,
            cgroup: match self.cgroupns_mode.as_str() {
                "" => cgroup.default_namespace(),
                "host" => Namespace::Host,
                "private" => Namespace::Private,
                other => {
                    return Err(Failure::invalid(format!(
                        "invalid cgroup namespace mode: {other}"
                    )));
                }
            },
            restart: self.restart_policy.policy()?,
            auto_remove: self.auto_remove,
            log: LogSettings {
                driver: self.log_config.kind,
                options: self.log_config.config,
            },
            security: Security {
                privileged: self.privileged,
                cap_add: self.cap_add,
                cap_drop: self.cap_drop,
                options: self.security_opt,
                read_only_root: self.readonly_rootfs,
                groups: self.group_add,
                masked_paths: self.masked_paths,
                read_only_paths: self.readonly_paths,
                userns: given(&self.userns_mode),
            },
            devices: devices.collect(),
            device_rules: self.resources.device_cgroup_rules.clone(),
            resources: self.resources.settings()?,
            init: self.init,
            runtime: given(&self.runtime),
            shm_size: match u64::try_from(self.shm_size) {
                Ok(0) => None,
                Ok(size) => Some(size),
                Err(_) => return Err(Failure::invalid("SHM size can not be less than 0")),
            },
            sysctls: self.sysctls,
            dns: self.dns,
            dns_options: self.dns_options,
            dns_search: self.dns_search,
            extra_hosts: self.extra_hosts,
            storage_options: self.storage_opt,
            oom_score: (self.oom_score_adj != 0).then_some(self.oom_score_adj),
            console_size: match self.console_size[..] {
                [0, 0] => None,
                [height, width] => Some((height, width)),
                _ => None,
            },
            annotations: self.annotations,
        })
    }
}

impl RestartPolicyBody {
    /// The policy.
    pub(super) fn policy(&self) -> Result<RestartPolicy, Failure> {
        let when = match self.name.as_str() {
            "" | "no" => When::No,
            "always" => When::Always,
            "unless-stopped" => When::UnlessStopped,
            "on-failure" => When::OnFailure,
            other => {
                return Err(Failure::invalid(format!(
                    "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
                )));
            }
        };
        let times_max = u32::try_from(self.maximum_retry_count).map_err(|_| {
            Failure::invalid("invalid restart policy: maximum retry count cannot be negative")
        })?;
        Ok(RestartPolicy { when, times_max })
    }

    /// Whether none was named.
    pub(super) fn is_empty(&self) -> bool {
        self.name.is_empty()
    }
}

impl ResourcesBody {
    /// Limits and weights.
    pub(super) fn settings(&self) -> Result<Resources, Failure> {
        let positive = |name: &str, number: i64| match u64::try_from(number) {
            Ok(0) => Ok(None),
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(Failure::invalid(format!(
                "{name} can not be negative: {number}"
            ))),
        };
        let rates = |rates: &[RateDevice]| {
            let rates = rates.iter().map(|one| BlockRate {
                path: one.path.clone(),
                rate: one.rate,
            });
            rates.collect()
        };
        Ok(Resources {
            memory: nonzero(self.memory),
            memory_swap: nonzero(self.memory_swap),
            memory_reservation: nonzero(self.memory_reservation),
            swappiness: match self.memory_swappiness {
                None | Some(-1) => None,
                Some(number) => Some(
                    u64::try_from(number)
                        .ok()
                        .filter(|n| *n <= 100)
                        .ok_or_else(|| {
                            Failure::invalid(format!(
                                "invalid value: {number}, valid memory swappiness range is 0-100"
                            ))
                        })?,
                ),
            },
            oom_kill_disable: self.oom_kill_disable,
            cpu_shares: positive("CPU shares", self.cpu_shares)?,
            nano_cpus: nonzero(self.nano_cpus),
            cpu_period: positive("CPU cfs period", self.cpu_period)?,
            cpu_quota: nonzero(self.cpu_quota),
            realtime_period: positive("CPU real-time period", self.cpu_realtime_period)?,
            realtime_runtime: nonzero(self.cpu_realtime_runtime),
            cpuset_cpus: given(&self.cpuset_cpus),
            cpuset_mems: given(&self.cpuset_mems),
            pids: self.pids_limit.filter(|limit| *limit != 0),
            block_weight: (self.blkio_weight != 0).then_some(self.blkio_weight),
            block_weights: (self.blkio_weight_device.iter())
                .map(|one| BlockRate {
                    path: one.path.clone(),
                    rate: one.weight,
                })
                .collect(),
            read_bytes: rates(&self.blkio_device_read_bps),
            write_bytes: rates(&self.blkio_device_write_bps),
            read_operations: rates(&self.blkio_device_read_iops),
            write_operations: rates(&self.blkio_device_write_iops),
            rlimits: (self.ulimits.iter())
                .map(|one| Rlimit {
                    name: one.name.clone(),
                    soft: one.soft,
                    hard: one.hard,
                })
                .collect(),
            cgroup_parent: given(&self.cgroup_parent),
        })
    }
}

impl DeviceBody {
    fn device(&self) -> Device {
        let or = |text: &String, default: &str| {
            if text.is_empty() {
                default.to_owned()
            } else {
                text.clone()
            }
        };
        Device {
            host: self.path_on_host.clone(),
            container: or(&self.path_in_container, &self.path_on_host),
            access: or(&self.cgroup_permissions, "rwm"),
        }
    }
}

fn nonzero(number: i64) -> Option<i64> {
    (number != 0).then_some(number)
}

pub(super) fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn network(mode: &str) -> NetworkMode {
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

fn namespace(kind: &str, mode: &str) -> Result<Namespace, Failure> {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body(value: Value) -> Body {
        read(value).expect("a body")
    }

    #[test]
    fn what_is_null_or_missing_is_the_default() {
        let body = body(json!({
            "Image": "busybox", "Cmd": ["echo", "hi"], "Env": null, "Entrypoint": null, "Labels": {},
            "Volumes": {"/anon": {}},
            "HostConfig": {
                "Binds": null, "PidsLimit": 0, "MemorySwappiness": -1, "ConsoleSize": [0, 0],
                "MaskedPaths": null, "NetworkMode": "default", "ShmSize": 0, "Ulimits": [],
            },
        }));
        assert_eq!(body.image, "busybox");
        assert_eq!(
            body.execution.cmd.as_deref(),
            Some(&["echo".to_owned(), "hi".to_owned()][..])
        );
        assert!(body.execution.volumes.contains("/anon"));
        let host = body
            .host_config
            .settings(CgroupVersion::V1)
            .expect("settings");
        let defaults = HostSettings {
            cgroup: Namespace::Host,
            ..HostSettings::default()
        };
        assert_eq!(host, defaults);
    }

    #[test]
    fn control_groups_are_its_own_as_in_docker() {
        let own = |mode: &str, version| {
            let body = body(json!({"HostConfig": {"CgroupnsMode": mode}}));
            let host = body.host_config.settings(version).expect("settings");
            host.cgroup == Namespace::Private
        };
        let versions = [CgroupVersion::V1, CgroupVersion::V2];
        assert_eq!(versions.map(|version| own("", version)), [false, true]);
        assert_eq!(versions.map(|version| own("host", version)), [false; 2]);
        assert_eq!(versions.map(|version| own("private", version)), [true; 2]);
    }

    #[test]
    fn limits_and_namespaces_are_read() {
        let body = body(json!({"Image": "a", "HostConfig": {
            "Memory": 10_485_760, "NanoCpus": 500_000_000, "IpcMode": "shareable",
            "PidMode": "container:other", "NetworkMode": "container:other", "UTSMode": "host",
            "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
            "Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}],
            "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "", "CgroupPermissions": ""}],
            "BlkioDeviceReadIOps": [{"Path": "/dev/vda", "Rate": 7}],
        }}));
        let host = body
            .host_config
            .settings(CgroupVersion::V1)
            .expect("settings");
        assert_eq!(host.resources.memory, Some(10_485_760));
        assert_eq!(host.ipc, Namespace::Shareable);
        assert_eq!(host.pid, Namespace::Container("other".to_owned()));
        assert_eq!(host.network, NetworkMode::Container("other".to_owned()));
        assert_eq!(
            (host.restart.when, host.restart.times_max),
            (When::OnFailure, 3)
        );
        assert_eq!(
            (&*host.devices[0].container, &*host.devices[0].access),
            ("/dev/null", "rwm")
        );
        assert_eq!(host.resources.read_operations[0].rate, 7);
        assert_eq!(host.resources.rlimits[0].hard, 20);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for host in [
            json!({"IpcMode": "nonsense"}),
            json!({"RestartPolicy": {"Name": "sometimes"}}),
            json!({"MemorySwappiness": 101}),
            json!({"ShmSize": -1}),
            json!({"Links": ["a:b"]}),
        ] {
            let body = body(json!({"Image": "a", "HostConfig": host}));
            assert!(body.host_config.settings(CgroupVersion::V1).is_err());
        }
    }
}
