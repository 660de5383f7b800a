//! Whether limits can be: their ranges, and what contradicts what.

use std::collections::BTreeSet;

use super::{CgroupVersion, Facts, Result, Warning};
use crate::settings::Resources;

/// The least memory that a container starts with.
const MEMORY_MIN: i64 = 6 * 1024 * 1024;
/// Microseconds that the kernel's scheduler takes for a period.
const PERIOD: std::ops::RangeInclusive<u64> = 1000..=1_000_000;
const QUOTA_MIN: i64 = 1000;
const NANO: i64 = 1_000_000_000;
/// No machine has a higher processor number.
const SET_MAX: u32 = 8192;

/// Why a limit can't be. The words are Docker's: its clients' tests look for them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// Too little memory.
    #[error("Minimum memory limit allowed is 6MB")]
    Memory,
    /// Memory and swap together are less than memory.
    #[error("Minimum memoryswap limit should be larger than memory limit, see usage")]
    SwapBelowMemory,
    /// Swap is limited, memory not.
    #[error("You should always set the Memory limit when using Memoryswap limit, see usage")]
    SwapWithoutMemory,
    /// Swappiness out of range.
    #[error("Invalid value: {0}, valid memory swappiness range is 0-100")]
    Swappiness(u64),
    /// Too little reserved.
    #[error("Minimum memory reservation allowed is 6MB")]
    Reservation,
    /// More is reserved than allowed.
    #[error("Minimum memory limit can not be less than memory reservation limit, see usage")]
    ReservationAboveMemory,
    /// Two ways to say how much processor.
    #[error("Conflicting options: Nano CPUs and CPU {0} cannot both be set")]
    NanoAnd(&'static str),
    /// More processors than there are, or less than a hundredth of one.
    #[error("Range of CPUs is from 0.01 to {0}.00, as there are only {0} CPUs available")]
    NanoRange(u32),
    /// A period out of range.
    #[error("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")]
    Period,
    /// A quota out of range.
    #[error("CPU cfs quota can not be less than 1ms (i.e. 1000)")]
    Quota,
    /// Not a list of numbers.
    #[error("Invalid value {text} for cpuset {of}: invalid format: {text}")]
    Set {
        /// `cpus` or `mems`.
        of: &'static str,
        /// As it was given.
        text: String,
    },
    /// Processors or nodes that are not there.
    #[error("Requested {what} are not available - requested {asked}, available: {there}")]
    SetNotThere {
        /// `CPUs` or `memory nodes`.
        what: &'static str,
        /// As it was given.
        asked: String,
        /// What is there.
        there: String,
    },
    /// A weight out of range.
    #[error("Range of blkio weight is from 10 to 1000")]
    BlockWeight,
    /// A score out of range.
    #[error("Invalid value {0}, range for oom score adj is [-1000, 1000]")]
    OomScore(i32),
    /// A kind of limit that there is not.
    #[error("invalid ulimit type: {0}")]
    RlimitName(String),
    /// The soft limit is above the hard one.
    #[error("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")]
    RlimitOrder {
        /// Soft.
        soft: i64,
        /// Hard.
        hard: i64,
    },
    /// Above what the daemon itself has, which it may not raise.
    #[error(
        "ulimit {name}={asked} is above this host's hard limit {max}, which the daemon may not raise (it has no CAP_SYS_RESOURCE): ask for less, or raise the daemon's limit"
    )]
    RlimitTooHigh {
        /// As `ulimit` has it.
        name: String,
        /// What was asked for.
        asked: i64,
        /// What there is.
        max: u64,
    },
    /// Docker's words for updates that contradict what is in force.
    #[error("Conflicting options: {new} cannot be updated as {old} has already been set")]
    Update {
        /// What would be set.
        new: &'static str,
        /// What is set.
        old: &'static str,
    },
    /// An update would lower swap below memory.
    #[error(
        "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
    )]
    UpdateSwap,
}

/// Processors or memory nodes: `0-2,4`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Set(BTreeSet<u32>);

impl Set {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut set = BTreeSet::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (low, high) = part.split_once('-').unwrap_or((part, part));
            let (low, high): (u32, u32) = (low.trim().parse().ok()?, high.trim().parse().ok()?);
            if low > high || high > SET_MAX {
                return None;
            }
            set.extend(low..=high);
        }
        Some(Self(set))
    }

    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }
}

/// Checks limits. What this host can't enforce is warned of; [`super::resources`] leaves it out.
pub(super) fn check(
    resources: &Resources,
    facts: &Facts,
    warnings: &mut Vec<Warning>,
) -> Result<()> {
    memory(resources, facts, warnings)?;
    cpu(resources, facts)?;
    set("cpus", resources.cpuset_cpus.as_deref(), &facts.cpuset_cpus)?;
    set("mems", resources.cpuset_mems.as_deref(), &facts.cpuset_mems)?;
    blocks(resources, facts, warnings)?;
    for limit in &resources.rlimits {
        super::process::rlimit(limit, facts)?;
    }
    facts.cgroup_path(resources, "x").map(drop)
}

fn memory(resources: &Resources, facts: &Facts, warnings: &mut Vec<Warning>) -> Result<()> {
    let set = |value: Option<i64>| value.filter(|value| *value != 0);
    let (memory, swap) = (set(resources.memory), set(resources.memory_swap));
    let reservation = set(resources.memory_reservation);
    if memory.is_some_and(|memory| memory < MEMORY_MIN) {
        return Err(LimitError::Memory.into());
    }
    match (memory, swap) {
        (None, Some(swap)) if swap > 0 => return Err(LimitError::SwapWithoutMemory.into()),
        (Some(memory), Some(swap)) if swap > 0 && swap < memory => {
            return Err(LimitError::SwapBelowMemory.into());
        }
        _ => {}
    }
    if reservation.is_some_and(|reservation| reservation < MEMORY_MIN) {
        return Err(LimitError::Reservation.into());
    }
    if let (Some(memory), Some(reservation)) = (memory, reservation)
        && memory < reservation
    {
        return Err(LimitError::ReservationAboveMemory.into());
    }
    if let Some(swappiness) = resources.swappiness {
        if swappiness > 100 {
            return Err(LimitError::Swappiness(swappiness).into());
        }
        if facts.cgroup == CgroupVersion::V2 {
            warnings.push(Warning::Swappiness);
        }
    }
    if memory.is_some() && !facts.swap_limit {
        warnings.push(Warning::Swap);
    }
    if resources.oom_kill_disable {
        match facts.cgroup {
            CgroupVersion::V2 => warnings.push(Warning::OomKill),
            CgroupVersion::V1 if memory.is_none() => warnings.push(Warning::OomKillWithoutLimit),
            CgroupVersion::V1 => {}
        }
    }
    Ok(())
}

fn cpu(resources: &Resources, facts: &Facts) -> Result<()> {
    let nano = resources.nano_cpus.filter(|nano| *nano != 0);
    let period = resources.cpu_period.filter(|period| *period != 0);
    let quota = resources.cpu_quota.filter(|quota| *quota != 0);
    if let Some(nano) = nano {
        if period.is_some() {
            return Err(LimitError::NanoAnd("Period").into());
        }
        if quota.is_some() {
            return Err(LimitError::NanoAnd("Quota").into());
        }
        if nano < NANO / 100 || nano > i64::from(facts.cpus) * NANO {
            return Err(LimitError::NanoRange(facts.cpus).into());
        }
    }
    if period.is_some_and(|period| !PERIOD.contains(&period)) {
        return Err(LimitError::Period.into());
    }
    if quota.is_some_and(|quota| quota > 0 && quota < QUOTA_MIN) {
        return Err(LimitError::Quota.into());
    }
    Ok(())
}

fn set(of: &'static str, asked: Option<&str>, there: &str) -> Result<()> {
    let Some(text) = asked.filter(|text| !text.is_empty()) else {
        return Ok(());
    };
    let Some(asked) = Set::parse(text) else {
        let text = text.to_owned();
        return Err(LimitError::Set { of, text }.into());
    };
    match Set::parse(there) {
        Some(known) if !known.0.is_empty() && !asked.0.is_subset(&known.0) => {
            let what = if of == "cpus" { "CPUs" } else { "memory nodes" };
            Err(LimitError::SetNotThere {
                what,
                asked: text.to_owned(),
                there: there.to_owned(),
            }
            .into())
        }
        _ => Ok(()),
    }
}

fn blocks(resources: &Resources, facts: &Facts, warnings: &mut Vec<Warning>) -> Result<()> {
    let weight = resources.block_weight.filter(|weight| *weight != 0);
    let weights = resources.block_weights.iter().map(|one| one.rate);
    let all = weight.map(u64::from).into_iter().chain(weights);
    let mut any = false;
    for weight in all {
        any = true;
        if !(10..=1000).contains(&weight) {
            return Err(LimitError::BlockWeight.into());
        }
    }
    if any && !facts.block_weight {
        warnings.push(Warning::BlockWeight);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: i64 = 1024 * 1024;

    fn check(resources: &Resources) -> std::result::Result<Vec<Warning>, String> {
        let mut warnings = Vec::new();
        let done = super::check(resources, &Facts::example(), &mut warnings);
        done.map(|()| warnings).map_err(|error| error.to_string())
    }

    fn refused(resources: &Resources, words: &str) {
        let said = check(resources).unwrap_err();
        assert!(said.contains(words), "{said}");
    }

    #[test]
    fn memory_has_a_minimum_and_an_order() {
        let limit = |memory: i64, swap: i64, reservation: i64| Resources {
            memory: Some(memory),
            memory_swap: Some(swap),
            memory_reservation: Some(reservation),
            ..Resources::default()
        };
        assert_eq!(check(&limit(6 * MB, 0, 0)), Ok(vec![]));
        assert_eq!(check(&limit(8 * MB, 8 * MB, 8 * MB)), Ok(vec![]));
        assert_eq!(check(&limit(8 * MB, -1, 0)), Ok(vec![]));
        refused(
            &limit(6 * MB - 1, 0, 0),
            "Minimum memory limit allowed is 6MB",
        );
        refused(&limit(8 * MB, 7 * MB, 0), "larger than memory limit");
        refused(&limit(0, 7 * MB, 0), "always set the Memory limit");
        refused(&limit(8 * MB, 0, 9 * MB), "less than memory reservation");
        refused(
            &limit(0, 0, MB),
            "Minimum memory reservation allowed is 6MB",
        );
    }

    #[test]
    fn processors_are_counted_one_way() {
        let cpu = |nano: i64, period: u64, quota: i64| Resources {
            nano_cpus: Some(nano),
            cpu_period: Some(period),
            cpu_quota: Some(quota),
            ..Resources::default()
        };
        assert_eq!(check(&cpu(NANO / 2, 0, 0)), Ok(vec![]));
        assert_eq!(check(&cpu(0, 1000, 1000)), Ok(vec![]));
        assert_eq!(check(&cpu(0, 0, -1)), Ok(vec![]));
        refused(
            &cpu(NANO, 1000, 0),
            "Nano CPUs and CPU Period cannot both be set",
        );
        refused(
            &cpu(NANO, 0, 1000),
            "Nano CPUs and CPU Quota cannot both be set",
        );
        refused(
            &cpu(5 * NANO, 0, 0),
            "from 0.01 to 4.00, as there are only 4",
        );
        refused(&cpu(-1, 0, 0), "from 0.01");
        refused(&cpu(0, 999, 0), "CPU cfs period");
        refused(&cpu(0, 1_000_001, 0), "CPU cfs period");
        refused(&cpu(0, 0, 999), "CPU cfs quota");
    }

    #[test]
    fn sets_are_within_what_is_there() {
        let set = |cpus: &str| Resources {
            cpuset_cpus: Some(cpus.to_owned()),
            ..Resources::default()
        };
        assert_eq!(check(&set("0-2,3")), Ok(vec![]));
        assert_eq!(check(&set("")), Ok(vec![]));
        refused(
            &set("4"),
            "Requested CPUs are not available - requested 4, available: 0-3",
        );
        refused(&set("2-1"), "Invalid value 2-1 for cpuset cpus");
        refused(&set("a"), "Invalid value a for cpuset cpus");
        refused(&set("0-4294967295"), "Invalid value");
    }

    #[test]
    fn what_the_host_cannot_do_is_warned_of() {
        let resources = Resources {
            oom_kill_disable: true,
            swappiness: Some(101),
            ..Resources::default()
        };
        refused(&resources, "valid memory swappiness range is 0-100");
        let resources = Resources {
            swappiness: Some(1),
            ..resources
        };
        assert_eq!(check(&resources), Ok(vec![Warning::OomKillWithoutLimit]));
    }
}
