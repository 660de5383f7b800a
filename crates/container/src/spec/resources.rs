//! Limits and weights, as an OCI runtime enforces them.
//!
//! They are written for the first version of control groups: runtimes translate them for the second.

use serde_json::{Map, Value, json};

use super::limits::LimitError;
use super::process::put;
use super::{CgroupVersion, Error, Facts, HostDevices, Result};
use crate::settings::{BlockRate, Resources, Settings};

/// Microseconds in which a share of processors is counted.
const PERIOD: i64 = 100_000;
const NANO: i64 = 1_000_000_000;

/// All of a container's resources, with the devices that it may use.
pub(super) fn all(settings: &Settings, devices: &HostDevices, facts: &Facts) -> Result<Value> {
    let resources = settled(&settings.host.resources);
    let mut all = limits(&resources, devices, facts)?;
    put(&mut all, "devices", json!(devices.rules(&settings.host)?));
    Ok(Value::Object(all))
}

/// What `runtime update --resources` reads: what is set in `resources`, and nothing of the rest.
///
/// # Errors
/// If a block device is not among `devices`.
pub fn update(resources: &Resources, devices: &HostDevices, facts: &Facts) -> Result<Value> {
    limits(resources, devices, facts).map(Value::Object)
}

fn limits(
    resources: &Resources,
    devices: &HostDevices,
    facts: &Facts,
) -> Result<Map<String, Value>> {
    let mut all = Map::new();
    let parts = [
        ("memory", memory(resources, facts)),
        ("cpu", cpu(resources)),
        ("blockIO", blocks(resources, devices, facts)?),
    ];
    for (key, part) in parts {
        if !part.is_empty() {
            put(&mut all, key, Value::Object(part));
        }
    }
    if let Some(pids) = resources.pids {
        let limit = if pids > 0 { pids } else { -1 };
        put(&mut all, "pids", json!({ "limit": limit }));
    }
    Ok(all)
}

fn memory(resources: &Resources, facts: &Facts) -> Map<String, Value> {
    let mut memory = Map::new();
    let set = |value: Option<i64>| value.filter(|value| *value != 0);
    if let Some(limit) = set(resources.memory) {
        put(&mut memory, "limit", json!(limit));
    }
    if let Some(reservation) = set(resources.memory_reservation) {
        put(&mut memory, "reservation", json!(reservation));
    }
    if let Some(swap) = set(resources.memory_swap)
        && facts.swap_limit
    {
        put(&mut memory, "swap", json!(swap));
    }
    if facts.cgroup == CgroupVersion::V1 {
        if let Some(swappiness) = resources.swappiness {
            put(&mut memory, "swappiness", json!(swappiness));
        }
        if resources.oom_kill_disable {
            put(&mut memory, "disableOOMKiller", json!(true));
        }
    }
    memory
}

/// Limits as they are in force: as in Docker, who limits memory only gets as much swap again.
pub fn settled(resources: &Resources) -> Resources {
    let mut settled = resources.clone();
    let memory = resources.memory.filter(|memory| *memory > 0);
    if let (Some(memory), None | Some(0)) = (memory, resources.memory_swap) {
        settled.memory_swap = Some(memory.saturating_mul(2));
    }
    settled
}

fn cpu(resources: &Resources) -> Map<String, Value> {
    let mut cpu = Map::new();
    if let Some(shares) = resources.cpu_shares.filter(|shares| *shares != 0) {
        put(&mut cpu, "shares", json!(shares));
    }
    if let Some(nano) = resources.nano_cpus.filter(|nano| *nano > 0) {
        let quota = i128::from(nano) * i128::from(PERIOD) / i128::from(NANO);
        put(&mut cpu, "period", json!(PERIOD));
        put(
            &mut cpu,
            "quota",
            json!(i64::try_from(quota).unwrap_or(i64::MAX)),
        );
    }
    if let Some(period) = resources.cpu_period.filter(|period| *period != 0) {
        put(&mut cpu, "period", json!(period));
    }
    if let Some(quota) = resources.cpu_quota.filter(|quota| *quota != 0) {
        put(&mut cpu, "quota", json!(quota));
    }
    if let Some(period) = resources.realtime_period.filter(|period| *period != 0) {
        put(&mut cpu, "realtimePeriod", json!(period));
    }
    if let Some(runtime) = resources.realtime_runtime.filter(|runtime| *runtime != 0) {
        put(&mut cpu, "realtimeRuntime", json!(runtime));
    }
    for (key, set) in [
        ("cpus", &resources.cpuset_cpus),
        ("mems", &resources.cpuset_mems),
    ] {
        if let Some(set) = set.as_deref().filter(|set| !set.is_empty()) {
            put(&mut cpu, key, json!(set));
        }
    }
    cpu
}

fn blocks(
    resources: &Resources,
    devices: &HostDevices,
    facts: &Facts,
) -> Result<Map<String, Value>> {
    let mut blocks = Map::new();
    if facts.block_weight {
        if let Some(weight) = resources.block_weight.filter(|weight| *weight != 0) {
            put(&mut blocks, "weight", json!(weight));
        }
        rates(
            &mut blocks,
            "weightDevice",
            "weight",
            &resources.block_weights,
            devices,
        )?;
    }
    for (key, list) in [
        ("throttleReadBpsDevice", &resources.read_bytes),
        ("throttleWriteBpsDevice", &resources.write_bytes),
        ("throttleReadIOPSDevice", &resources.read_operations),
        ("throttleWriteIOPSDevice", &resources.write_operations),
    ] {
        rates(&mut blocks, key, "rate", list, devices)?;
    }
    Ok(blocks)
}

fn rates(
    blocks: &mut Map<String, Value>,
    key: &str,
    unit: &str,
    list: &[BlockRate],
    devices: &HostDevices,
) -> Result<()> {
    let one = |rate: &BlockRate| {
        let (major, minor) = devices
            .blocks
            .get(&rate.path)
            .ok_or_else(|| Error::BlockDevice {
                path: rate.path.clone().into(),
                problem: "not a block device",
            })?;
        Ok(json!({ "major": major, "minor": minor, unit: rate.rate }))
    };
    let list: Vec<_> = list.iter().map(one).collect::<Result<_>>()?;
    if !list.is_empty() {
        put(blocks, key, Value::Array(list));
    }
    Ok(())
}

/// What holds after an update: what `new` sets, over what was. Devices, block rates and limits of processes
/// are not updated; whether the result can be is for [`super::validate_resources`] to say.
///
/// # Errors
/// If what is new contradicts what was, so that both would have to be given.
pub fn merge(old: &Resources, new: &Resources) -> Result<Resources> {
    let mut merged = settled(old);
    conflicts(&merged, new)?;
    let signed = |old: &mut Option<i64>, new: Option<i64>| {
        if let Some(new) = new.filter(|new| *new != 0) {
            *old = Some(new);
        }
    };
    let unsigned = |old: &mut Option<u64>, new: Option<u64>| {
        if let Some(new) = new.filter(|new| *new != 0) {
            *old = Some(new);
        }
    };
    let text = |old: &mut Option<String>, new: &Option<String>| {
        if let Some(new) = new.as_ref().filter(|new| !new.is_empty()) {
            *old = Some(new.clone());
        }
    };
    signed(&mut merged.memory, new.memory);
    signed(&mut merged.memory_swap, new.memory_swap);
    signed(&mut merged.memory_reservation, new.memory_reservation);
    unsigned(&mut merged.cpu_shares, new.cpu_shares);
    signed(&mut merged.nano_cpus, new.nano_cpus);
    unsigned(&mut merged.cpu_period, new.cpu_period);
    signed(&mut merged.cpu_quota, new.cpu_quota);
    unsigned(&mut merged.realtime_period, new.realtime_period);
    signed(&mut merged.realtime_runtime, new.realtime_runtime);
    text(&mut merged.cpuset_cpus, &new.cpuset_cpus);
    text(&mut merged.cpuset_mems, &new.cpuset_mems);
    // Here 0 says something: without limit.
    merged.pids = new.pids.or(merged.pids);
    if let Some(weight) = new.block_weight.filter(|weight| *weight != 0) {
        merged.block_weight = Some(weight);
    }
    Ok(merged)
}

fn conflicts(old: &Resources, new: &Resources) -> Result<()> {
    let set = |value: Option<i64>| value.is_some_and(|value| value != 0);
    let period = |of: &Resources| of.cpu_period.is_some_and(|period| period != 0);
    let pairs = [
        (set(new.nano_cpus) && period(old), "Nano CPUs", "CPU Period"),
        (
            set(new.nano_cpus) && set(old.cpu_quota),
            "Nano CPUs",
            "CPU Quota",
        ),
        (period(new) && set(old.nano_cpus), "CPU Period", "NanoCPUs"),
        (
            set(new.cpu_quota) && set(old.nano_cpus),
            "CPU Quota",
            "NanoCPUs",
        ),
    ];
    if let Some((_, new, old)) = pairs.into_iter().find(|(conflict, ..)| *conflict) {
        return Err(LimitError::Update { new, old }.into());
    }
    let swap = old.memory_swap.filter(|swap| *swap > 0);
    if let (Some(memory), Some(swap)) = (new.memory, swap)
        && !set(new.memory_swap)
        && memory > swap
    {
        return Err(LimitError::UpdateSwap.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: i64 = 1024 * 1024;

    fn check(resources: &Resources, facts: &Facts) -> Value {
        let mut devices = HostDevices::default();
        devices.blocks.insert("/dev/vda".to_owned(), (254, 0));
        update(resources, &devices, facts).unwrap()
    }

    #[test]
    fn limits_are_written_as_dockers() {
        let rate = |rate| {
            let path = "/dev/vda".to_owned();
            vec![BlockRate { path, rate }]
        };
        let all = Resources {
            memory: Some(64 * MB),
            memory_swap: Some(128 * MB),
            memory_reservation: Some(32 * MB),
            swappiness: Some(10),
            nano_cpus: Some(NANO / 2),
            cpu_shares: Some(512),
            cpuset_cpus: Some("0".to_owned()),
            pids: Some(100),
            block_weight: Some(300),
            read_bytes: rate(1_048_576),
            write_operations: rate(7),
            ..Resources::default()
        };
        let facts = Facts::example();
        assert_eq!(
            check(&all, &facts),
            json!({
                "memory": { "limit": 67_108_864, "swap": 134_217_728, "reservation": 33_554_432, "swappiness": 10 },
                "cpu": { "shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0" },
                "pids": { "limit": 100 },
                "blockIO": {
                    "weight": 300,
                    "throttleReadBpsDevice": [{ "major": 254, "minor": 0, "rate": 1_048_576 }],
                    "throttleWriteIOPSDevice": [{ "major": 254, "minor": 0, "rate": 7 }],
                },
            })
        );
        let mut second = facts;
        second.cgroup = CgroupVersion::V2;
        second.swap_limit = false;
        let memory = check(&all, &second)["memory"].clone();
        assert_eq!(
            memory,
            json!({ "limit": 67_108_864, "reservation": 33_554_432 })
        );
    }

    #[test]
    fn nothing_is_nothing_and_memory_alone_has_as_much_swap() {
        let facts = Facts::example();
        assert_eq!(check(&Resources::default(), &facts), json!({}));
        let memory = Resources {
            memory: Some(64 * MB),
            pids: Some(0),
            cpu_quota: Some(-1),
            ..Resources::default()
        };
        assert_eq!(
            check(&settled(&memory), &facts),
            json!({ "memory": { "limit": 64 * MB, "swap": 128 * MB }, "cpu": { "quota": -1 }, "pids": { "limit": -1 } })
        );
    }

    #[test]
    fn updates_change_what_they_name() {
        let old = Resources {
            memory: Some(64 * MB),
            cpu_shares: Some(5),
            pids: Some(9),
            ..Resources::default()
        };
        let new = Resources {
            memory: Some(65 * MB),
            cpu_shares: Some(0),
            pids: Some(-1),
            ..Resources::default()
        };
        let wanted = Resources {
            memory: Some(65 * MB),
            memory_swap: Some(128 * MB),
            pids: Some(-1),
            ..old.clone()
        };
        assert_eq!(merge(&old, &new).unwrap(), wanted);
        let too_much = Resources {
            memory: Some(129 * MB),
            ..Resources::default()
        };
        let said = merge(&old, &too_much).unwrap_err().to_string();
        assert!(
            said.contains("update the memoryswap at the same time"),
            "{said}"
        );
    }

    #[test]
    fn updates_do_not_contradict_what_was_set() {
        let old = Resources {
            nano_cpus: Some(NANO),
            memory: Some(64 * MB),
            memory_swap: Some(70 * MB),
            ..Resources::default()
        };
        let refused = |new: Resources, words: &str| {
            let said = merge(&old, &new).unwrap_err().to_string();
            assert!(said.contains(words), "{said}");
        };
        let new = Resources::default;
        refused(
            Resources {
                cpu_quota: Some(1000),
                ..new()
            },
            "CPU Quota cannot be updated as NanoCPUs has already been set",
        );
        refused(
            Resources {
                memory: Some(71 * MB),
                ..new()
            },
            "update the memoryswap at the same time",
        );
        let both = Resources {
            memory: Some(71 * MB),
            memory_swap: Some(72 * MB),
            ..new()
        };
        assert!(merge(&old, &both).is_ok());
    }
}
