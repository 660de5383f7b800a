//! `HostConfig`: what a container may do on its host.

use std::collections::BTreeMap;

use lapstrake_engine::settings::{
    CgroupVersion, HostSettings, LogSettings, MountRequests, Security,
};
use serde::Deserialize;

use super::device::DeviceBody;
use super::given;
use super::modes::{cgroup, namespace, network};
use super::ports::{self, PortBindings};
use super::resources::ResourcesBody;
use super::restart::RestartPolicyBody;
use crate::containers::mount::Mount;
use crate::error::Failure;

/// `HostConfig`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default, expecting = "an object")]
pub(in crate::containers) struct HostConfig {
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
    port_bindings: PortBindings,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct LogConfig {
    #[serde(rename = "Type")]
    kind: String,
    config: BTreeMap<String, String>,
}

impl HostConfig {
    /// What is to be mounted.
    pub(in crate::containers) fn mounts(&self) -> Result<MountRequests, Failure> {
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
    pub(in crate::containers) fn settings(
        self,
        cgroups: CgroupVersion,
    ) -> Result<HostSettings, Failure> {
        if !self.links.is_empty() {
            return Err(Failure::invalid(
                "links are not supported: use a network of your own, or --network container:NAME",
            ));
        }
        if !self.resources.device_requests.is_empty() {
            return Err(Failure::invalid(
                "could not select device driver \"\" with capabilities: device requests are not supported, give devices by --device",
            ));
        }
        ports::check(&self.port_bindings)?;
        let devices = self.resources.devices.iter().map(DeviceBody::device);
        Ok(HostSettings {
            mounts: Vec::new(),
            network: network(&self.network_mode),
            ipc: namespace("IPC", &self.ipc_mode)?,
            pid: namespace("PID", &self.pid_mode)?,
            uts: namespace("UTS", &self.uts_mode)?,
            cgroup: cgroup(&self.cgroupns_mode, cgroups)?,
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
