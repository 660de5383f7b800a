//! What of its host a container may use.

use serde::{Deserialize, Serialize};

/// Limits and weights for control groups. Nothing, or 0 where 0 means that, is what the kernel gives.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Bytes of memory.
    pub memory: Option<i64>,
    /// Bytes of memory and swap together; -1 is without limit.
    pub memory_swap: Option<i64>,
    /// Bytes of memory that are kept for it under pressure.
    pub memory_reservation: Option<i64>,
    /// How eagerly its memory is swapped: 0 to 100.
    pub swappiness: Option<u64>,
    /// Whether it waits instead of being killed when memory is short.
    pub oom_kill_disable: bool,
    /// Relative weight.
    pub cpu_shares: Option<u64>,
    /// Billionths of a processor; says the same as quota and period.
    pub nano_cpus: Option<i64>,
    /// Microseconds.
    pub cpu_period: Option<u64>,
    /// Microseconds in each period.
    pub cpu_quota: Option<i64>,
    /// Microseconds.
    pub realtime_period: Option<u64>,
    /// Microseconds in each period.
    pub realtime_runtime: Option<i64>,
    /// Processors: `0-2,4`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes.
    pub cpuset_mems: Option<String>,
    /// Processes and threads; -1 or 0 is without limit.
    pub pids: Option<i64>,
    /// Relative weight: 10 to 1000.
    pub block_weight: Option<u16>,
    /// Weights for devices.
    pub block_weights: Vec<BlockRate>,
    /// Bytes per second.
    pub read_bytes: Vec<BlockRate>,
    /// Bytes per second.
    pub write_bytes: Vec<BlockRate>,
    /// Operations per second.
    pub read_operations: Vec<BlockRate>,
    /// Operations per second.
    pub write_operations: Vec<BlockRate>,
    /// Per process.
    pub rlimits: Vec<Rlimit>,
    /// The control group's parent.
    pub cgroup_parent: Option<String>,
}

/// A rate, or a weight, for a block device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockRate {
    /// The device, by its path on the host.
    pub path: String,
    /// How much.
    pub rate: u64,
}

/// A limit for each process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// As `ulimit` names it: `nofile`.
    pub name: String,
    /// -1 is without limit.
    pub soft: i64,
    /// -1 is without limit.
    pub hard: i64,
}
