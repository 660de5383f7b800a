//! Which driver: a pure function of what was found and what was asked for, with its reasons.
//!
//! The order is erofs, overlay2, vfs: the first that works here. What earlier drivers made does not
//! decide, as it does for Docker: layers are content, so a store goes on with any driver, and what
//! another one realised lies beside it until it is forgotten. A driver that was asked for and cannot
//! work is refused, with the reason and what to do instead; nothing is silently replaced.

mod facts;
mod name;
mod probe;

use std::fmt;

pub use facts::{Content, Erofs, Facts, State};
pub use name::{DriverName, NameError};
pub use probe::{Paths, probe};

/// Why a driver was not chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It was asked for, and cannot work here.
    #[error(
        "storage driver {driver} cannot work here: {problem}{}",
        works(alternatives)
    )]
    Refused {
        /// Which.
        driver: DriverName,
        /// Why, and what to do about it.
        problem: Problem,
        /// Those that would work.
        alternatives: Vec<DriverName>,
    },
    /// None works.
    #[error("no storage driver can work here: {}", list(problems))]
    None {
        /// Each, and why not.
        problems: Vec<(DriverName, Problem)>,
    },
}

fn works(alternatives: &[DriverName]) -> String {
    match alternatives {
        [] => String::new(),
        [only] => format!(" ({only} would work: --storage-driver {only})"),
        [first, ..] => {
            let all: Vec<_> = alternatives.iter().map(ToString::to_string).collect();
            format!(
                " ({} would work: --storage-driver {first})",
                all.join(" or ")
            )
        }
    }
}

fn list(problems: &[(DriverName, Problem)]) -> String {
    let all: Vec<_> = problems
        .iter()
        .map(|(driver, problem)| format!("{driver}: {problem}"))
        .collect();
    all.join("; ")
}

/// What stands in a driver's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is missing.
    pub why: String,
    /// What to do.
    pub instead: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.why, self.instead)
    }
}

/// A driver that was considered: why it cannot work, or what is worth knowing if it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub driver: DriverName,
    /// Its verdict.
    pub verdict: Result<Vec<String>, Problem>,
}

/// The driver to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Which.
    pub driver: DriverName,
    /// Why this one.
    pub why: String,
    /// All that were considered, in order.
    pub candidates: Vec<Candidate>,
    /// What else there is to say: what other drivers have realised here.
    pub notes: Vec<String>,
}

/// Chooses the driver that was asked for, or the first that works.
pub fn choose(wanted: Option<DriverName>, facts: &Facts) -> Result<Choice, Error> {
    let candidates: Vec<Candidate> = DriverName::ALL
        .into_iter()
        .map(|driver| Candidate {
            driver,
            verdict: judge(driver, facts),
        })
        .collect();
    let working: Vec<DriverName> = candidates
        .iter()
        .filter(|candidate| candidate.verdict.is_ok())
        .map(|candidate| candidate.driver)
        .collect();
    let problem_of = |driver| {
        let of = |candidate: &&Candidate| candidate.driver == driver;
        candidates.iter().find(of)?.verdict.clone().err()
    };
    let (driver, why) = match (wanted, working.first()) {
        (Some(driver), _) => {
            if let Some(problem) = problem_of(driver) {
                return Err(Error::Refused {
                    driver,
                    problem,
                    alternatives: working,
                });
            }
            (driver, "it was asked for".to_owned())
        }
        (None, Some(first)) => (*first, why_first(*first)),
        (None, None) => {
            let problems = DriverName::ALL
                .into_iter()
                .filter_map(|driver| Some((driver, problem_of(driver)?)));
            return Err(Error::None {
                problems: problems.collect(),
            });
        }
    };
    Ok(Choice {
        driver,
        why,
        candidates,
        notes: prior(driver, facts),
    })
}

fn why_first(driver: DriverName) -> String {
    match driver {
        DriverName::Erofs => "it works here, and nothing has to be unpacked".to_owned(),
        DriverName::Overlay2 => {
            "erofs does not work here; layers are unpacked once and shared".to_owned()
        }
        DriverName::Vfs => {
            "neither erofs nor overlay2 works here; every root is a full copy".to_owned()
        }
    }
}

fn prior(chosen: DriverName, facts: &Facts) -> Vec<String> {
    let others = facts
        .realised
        .iter()
        .filter(|(driver, count)| *driver != chosen && *count > 0);
    others
        .map(|(driver, count)| {
            format!(
                "{driver} has unpacked {count} layers here: they take space, and are used again with --storage-driver {driver}"
            )
        })
        .collect()
}

fn judge(driver: DriverName, facts: &Facts) -> Result<Vec<String>, Problem> {
    match driver {
        DriverName::Erofs => erofs(facts),
        DriverName::Overlay2 => overlay2(facts),
        DriverName::Vfs => vfs(facts),
    }
}

fn problem(why: impl Into<String>, instead: impl Into<String>) -> Problem {
    Problem {
        why: why.into(),
        instead: instead.into(),
    }
}

fn erofs(facts: &Facts) -> Result<Vec<String>, Problem> {
    let release = &facts.release;
    match facts.erofs {
        Erofs::Missing => {
            return Err(problem(
                format!("Linux {release} here has no EROFS"),
                "load its module (modprobe erofs) or use a kernel that has it",
            ));
        }
        Erofs::OneDevice => {
            return Err(problem(
                format!("EROFS of Linux {release} cannot keep contents in a file of their own"),
                "use Linux 5.16 or later",
            ));
        }
        Erofs::Devices => {}
    }
    overlay(facts)?;
    let Content { kind, backs_mounts } = &facts.content;
    if *backs_mounts {
        return Ok(Vec::new());
    }
    if !facts.loop_devices {
        return Err(problem(
            format!(
                "layers on {kind} cannot be mounted as files by Linux {release}, and there are no loop devices"
            ),
            "load their module (modprobe loop), or use Linux 6.12 or later with layers on ext4, xfs or btrfs",
        ));
    }
    Ok(vec![format!(
        "layers on {kind} cannot be mounted as files by Linux {release}: they go through loop devices, two for each"
    )])
}

fn overlay2(facts: &Facts) -> Result<Vec<String>, Problem> {
    overlay(facts)?;
    Ok(shared_blocks(
        facts,
        "unpacked layers share blocks with their data",
    ))
}

fn vfs(facts: &Facts) -> Result<Vec<String>, Problem> {
    let State { kind, xattrs, .. } = &facts.state;
    if !*xattrs && !facts.vfs_without_xattrs {
        return Err(problem(
            format!("{kind} has no extended attributes, which capabilities of files need"),
            "keep the state on ext4, xfs or btrfs, or accept broken containers with --storage-opt vfs.xattrs=i_want_broken_containers",
        ));
    }
    let mut notes = shared_blocks(facts, "copies share blocks");
    if notes.is_empty() {
        notes.push(format!(
            "{kind} cannot share blocks: every root takes its full size"
        ));
    }
    Ok(notes)
}

fn shared_blocks(facts: &Facts, what: &str) -> Vec<String> {
    let shares = facts.state.shares_blocks;
    shares
        .then(|| format!("{what} ({} can)", facts.state.kind))
        .into_iter()
        .collect()
}

/// What both drivers that mount overlays need.
fn overlay(facts: &Facts) -> Result<(), Problem> {
    let State {
        path,
        kind,
        d_type,
        xattrs,
        upper,
        ..
    } = &facts.state;
    let elsewhere = format!(
        "keep {} on a local ext4, xfs or btrfs (content may stay where it is)",
        path.display()
    );
    if !facts.overlay {
        return Err(problem(
            format!("Linux {} here has no overlay", facts.release),
            "load its module (modprobe overlay) or use a kernel that has it",
        ));
    }
    if let Some(why) = never_an_upper(kind) {
        return Err(problem(
            format!("writable layers on {kind} {why}"),
            elsewhere,
        ));
    }
    if !*d_type {
        return Err(problem(
            format!("{kind} here does not tell the types of files in directories (d_type), without which whiteouts show as files"),
            match &**kind {
                "xfs" => "make the file system anew with mkfs.xfs -n ftype=1, or keep the state on another one".to_owned(),
                _ => elsewhere,
            },
        ));
    }
    if !*xattrs {
        return Err(problem(
            format!(
                "{kind} here has no trusted extended attributes, with which overlay marks directories"
            ),
            elsewhere,
        ));
    }
    match upper {
        Ok(()) => Ok(()),
        Err(why) => Err(problem(
            format!("the kernel takes no writable layer on {kind} ({why})"),
            elsewhere,
        )),
    }
}

/// What is known to go wrong, even where a trial succeeds.
fn never_an_upper(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "nfs" | "cifs" | "smb" | "smb2" | "ceph" | "9p" => {
            "do not work: overlay needs a local file system for them"
        }
        "overlay" | "aufs" => "do not work: they would be an overlay on an overlay",
        "ecryptfs" => "do not work: it cannot make whiteouts, and its names are too short",
        "vfat" | "exfat" | "ntfs" | "ntfs3" => "do not work: it keeps no owners",
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
