//! Limits and weights: what `create` and `update` share.

use lapstrake_engine::settings::{BlockRate, Resources, Rlimit};
use serde::Deserialize;
use serde_json::Value;

use super::device::DeviceBody;
use super::given;
use crate::error::Failure;

/// The part of `HostConfig` that `POST /containers/{id}/update` has too.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(in crate::containers) struct ResourcesBody {
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
    pub(super) devices: Vec<DeviceBody>,
    pub(super) device_cgroup_rules: Vec<String>,
    pub(super) device_requests: Vec<Value>,
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

impl ResourcesBody {
    /// Limits and weights.
    pub(in crate::containers) fn settings(&self) -> Result<Resources, Failure> {
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

fn nonzero(number: i64) -> Option<i64> {
    (number != 0).then_some(number)
}
