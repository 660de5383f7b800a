//! A container's control groups: what they count, which processes are in them, whether they are frozen.

mod separate;
mod unified;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{Error, Result, parse, read, read_if_there};

/// Where control groups are mounted.
const MOUNTED: &str = "/sys/fs/cgroup";

/// The control groups in which a process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Groups {
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// A directory for each controller.
    Separate(BTreeMap<String, PathBuf>),
    /// One directory.
    Unified(PathBuf),
}

/// What a container uses, and may use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory.
    pub memory: Memory,
    /// Processors.
    pub cpu: Cpu,
    /// Processes and threads.
    pub pids: Pids,
    /// Block devices.
    pub blocks: Blocks,
}

/// Memory, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// In use, with the cache.
    pub usage: u64,
    /// The most that ever was, where the kernel tells.
    pub usage_max: Option<u64>,
    /// What it may use: the host's memory if it has no limit.
    pub limit: u64,
    /// How often it was at the limit, where the kernel tells.
    pub failures: Option<u64>,
    /// What the kernel tells beside, by its names.
    pub stat: BTreeMap<String, u64>,
}

/// Processors, in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cpu {
    /// All.
    pub total: u64,
    /// For each processor, where the kernel tells.
    pub each: Vec<u64>,
    /// In programs.
    pub user: u64,
    /// In the kernel.
    pub kernel: u64,
    /// Periods in which a quota counted.
    pub periods: u64,
    /// Periods in which it ran out.
    pub throttled_periods: u64,
    /// How long it had to wait for that.
    pub throttled_time: u64,
}

/// Processes and threads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pids {
    /// That there are.
    pub current: u64,
    /// That there may be.
    pub limit: Option<u64>,
}

/// Block devices, by operation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Blocks {
    /// Bytes.
    pub bytes: Vec<Block>,
    /// Operations.
    pub operations: Vec<Block>,
}

/// A counter of a block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The device.
    pub device: (u32, u32),
    /// `Read`, `Write`, …, as the kernel has it.
    pub operation: String,
    /// How much.
    pub value: u64,
}

/// All processors of the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HostCpu {
    /// Nanoseconds that they spent, idle or not.
    pub total: u64,
    /// How many there are.
    pub online: u32,
}

impl Groups {
    /// The groups of a process.
    ///
    /// # Errors
    /// If it has ended.
    pub fn of(pid: u32) -> Result<Self> {
        let path = PathBuf::from(format!("/proc/{pid}/cgroup"));
        let text = read_if_there(&path)?.ok_or(Error::Gone(pid))?;
        let unified = Path::new(MOUNTED).join("cgroup.controllers").exists();
        find(&text, unified).ok_or(Error::Strange { path, text })
    }

    /// What is used.
    ///
    /// # Errors
    /// If a file of the kernel can't be read. One that is not there counts nothing.
    pub fn usage(&self) -> Result<Usage> {
        let host = host_memory()?;
        let mut usage = match &self.kind {
            Kind::Separate(groups) => separate::usage(groups)?,
            Kind::Unified(group) => unified::usage(group)?,
        };
        let limit = &mut usage.memory.limit;
        if *limit == 0 || *limit > host {
            *limit = host;
        }
        Ok(usage)
    }

    /// The processes in them, and in groups below.
    ///
    /// # Errors
    /// If a list can't be read.
    pub fn processes(&self) -> Result<Vec<u32>> {
        let mut found = BTreeSet::new();
        let group = match &self.kind {
            Kind::Unified(group) => Some(group),
            // Any will do: a runtime puts processes into all of them.
            Kind::Separate(groups) => ["pids", "freezer", "memory", "devices"]
                .iter()
                .find_map(|name| groups.get(*name))
                .or_else(|| groups.values().next()),
        };
        if let Some(group) = group {
            processes(group, &mut found)?;
        }
        Ok(found.into_iter().collect())
    }

    /// Whether all in them stand still.
    ///
    /// # Errors
    /// If the kernel's answer can't be read.
    pub fn are_frozen(&self) -> Result<bool> {
        match &self.kind {
            Kind::Separate(groups) => {
                let Some(group) = groups.get("freezer") else {
                    return Ok(false);
                };
                let state = read_if_there(&group.join("freezer.state"))?;
                Ok(state.is_some_and(|state| state.trim() == "FROZEN"))
            }
            Kind::Unified(group) => {
                let events = read_if_there(&group.join("cgroup.events"))?.unwrap_or_default();
                Ok(parse::flat(&events).get("frozen") == Some(&1))
            }
        }
    }
}

/// Reads `/proc/PID/cgroup`: a number, controllers and a path in each line.
fn find(text: &str, unified: bool) -> Option<Groups> {
    let below = |dir: &Path, path: &str| dir.join(path.trim_start_matches('/'));
    let root = Path::new(MOUNTED);
    let mut groups = BTreeMap::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        if controllers.is_empty() {
            if unified {
                let kind = Kind::Unified(below(root, path));
                return Some(Groups { kind });
            }
            continue;
        }
        for controller in controllers.split(',') {
            let name = controller.strip_prefix("name=").unwrap_or(controller);
            groups.insert(name.to_owned(), below(&root.join(name), path));
        }
    }
    (!groups.is_empty()).then_some(Groups {
        kind: Kind::Separate(groups),
    })
}

fn processes(group: &Path, found: &mut BTreeSet<u32>) -> Result<()> {
    let listed = read_if_there(&group.join("cgroup.procs"))?.unwrap_or_default();
    found.extend(listed.lines().filter_map(|line| line.parse::<u32>().ok()));
    let Ok(entries) = std::fs::read_dir(group) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            processes(&entry.path(), found)?;
        }
    }
    Ok(())
}

fn host_memory() -> Result<u64> {
    let path = Path::new("/proc/meminfo");
    let text = read(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes
        .map(|kilobytes| kilobytes.saturating_mul(1024))
        .ok_or_else(|| Error::Strange {
            path: path.to_owned(),
            text: text.clone(),
        })
}

/// What the host's processors did since it started.
///
/// # Errors
/// If `/proc/stat` can't be read.
pub fn host_cpu() -> Result<HostCpu> {
    Ok(parse_host_cpu(&read(Path::new("/proc/stat"))?))
}

/// Nanoseconds of a tick, as the kernel counts them for programs.
const TICK: u64 = 10_000_000;

fn parse_host_cpu(text: &str) -> HostCpu {
    let mut cpu = HostCpu::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("cpu") => {
                // User, nice, system, idle, waiting, interrupts: what follows is in these already.
                let ticks = words.take(7).filter_map(|word| word.parse::<u64>().ok());
                cpu.total = ticks.fold(0, u64::saturating_add).saturating_mul(TICK);
            }
            Some(word) if word.starts_with("cpu") => cpu.online += 1,
            _ => {}
        }
    }
    cpu
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_by_controller() {
        let text = "9:name=systemd:/d/ID\n4:memory:/d/ID\n1:cpu,cpuacct:/d/ID:x\n0::/d/ID\n";
        let Some(Groups {
            kind: Kind::Separate(groups),
        }) = find(text, false)
        else {
            panic!("separate groups");
        };
        let listed: Vec<_> = groups
            .iter()
            .map(|(name, path)| format!("{name}={}", path.display()))
            .collect();
        assert_eq!(
            listed,
            [
                "cpu=/sys/fs/cgroup/cpu/d/ID:x",
                "cpuacct=/sys/fs/cgroup/cpuacct/d/ID:x",
                "memory=/sys/fs/cgroup/memory/d/ID",
                "systemd=/sys/fs/cgroup/systemd/d/ID"
            ]
        );
        let kind = Kind::Unified("/sys/fs/cgroup/d/ID".into());
        assert_eq!(find("0::/d/ID\n", true), Some(Groups { kind }));
        assert_eq!(find("", true), None);
        assert_eq!(find("x\n", false), None);
    }

    #[test]
    fn the_hosts_processors_are_added_up() {
        let text = "cpu  1 2 3 4 5 6 7 100 100 100\ncpu0 1 1\ncpu1 1 1\nintr 5\n";
        let wanted = HostCpu {
            total: 28 * TICK,
            online: 2,
        };
        assert_eq!(parse_host_cpu(text), wanted);
    }

    #[test]
    fn this_process_has_groups() {
        let groups = Groups::of(std::process::id()).unwrap();
        let usage = groups.usage().unwrap();
        assert!(usage.memory.limit > 0, "{usage:?}");
        assert!(groups.processes().unwrap().contains(&std::process::id()));
        assert!(!groups.are_frozen().unwrap());
        assert!(matches!(Groups::of(u32::MAX), Err(Error::Gone(_))));
    }
}
