//! Security options, as Docker writes them: `key=value`, or with a colon.

use super::{Error, Facts, Result};
use crate::settings::Security;

/// What security options say.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Options<'a> {
    /// Whether programs gain nothing by set-uid bits and file capabilities.
    pub(super) no_new_privileges: bool,
    /// An AppArmor profile. Without one there is none: the daemon loads no profile of its own.
    pub(super) apparmor: Option<&'a str>,
    /// Which system calls are let through.
    pub(super) seccomp: Seccomp<'a>,
    /// Whether the container sees all of `/proc` and `/sys`.
    pub(super) all_paths: bool,
    /// Whether it may change its own control groups.
    pub(super) writable_cgroups: bool,
}

/// Which system calls are let through.
#[derive(Debug, Default, PartialEq)]
pub(super) enum Seccomp<'a> {
    /// Those of the default profile.
    #[default]
    Default,
    /// All.
    Unconfined,
    /// Those of this profile, in Docker's format.
    Profile(&'a str),
}

impl<'a> Options<'a> {
    pub(super) fn parse(options: &'a [String], facts: &Facts) -> Result<Self> {
        let mut parsed = Self::default();
        for option in options {
            parsed.add(option, facts)?;
        }
        Ok(parsed)
    }

    fn add(&mut self, option: &'a str, facts: &Facts) -> Result<()> {
        let wrong = || Error::SecurityValue(option.to_owned());
        let split = option.split_once('=').or_else(|| option.split_once(':'));
        match (option, split) {
            ("no-new-privileges", _) => self.no_new_privileges = true,
            (_, Some(("no-new-privileges", value))) => {
                self.no_new_privileges = value.parse().map_err(|_| wrong())?;
            }
            (_, Some(("writable-cgroups", value))) => {
                self.writable_cgroups = value.parse().map_err(|_| wrong())?;
            }
            (_, Some(("systempaths", "unconfined"))) => self.all_paths = true,
            (_, Some(("seccomp", "unconfined"))) => self.seccomp = Seccomp::Unconfined,
            (_, Some(("seccomp", "builtin"))) => self.seccomp = Seccomp::Default,
            (_, Some(("seccomp", profile))) => self.seccomp = Seccomp::Profile(profile),
            (_, Some(("apparmor", "unconfined"))) => self.apparmor = None,
            (_, Some(("apparmor", profile))) => self.apparmor = Some(apparmor(profile, facts)?),
            (_, Some(("label", value))) => label(value, facts)?,
            (_, Some(_)) => return Err(wrong()),
            (_, None) => return Err(Error::SecurityOption(option.to_owned())),
        }
        Ok(())
    }
}

fn apparmor<'a>(profile: &'a str, facts: &Facts) -> Result<&'a str> {
    match facts.apparmor {
        true => Ok(profile),
        false => Err(Error::NotHere {
            what: format!("AppArmor profile {profile:?}"),
            remedy: "its kernel has no AppArmor; use apparmor=unconfined",
        }),
    }
}

/// Where SELinux is not in force, labels mean nothing and are accepted, as in Docker.
fn label(value: &str, facts: &Facts) -> Result<()> {
    match value == "disable" || !facts.selinux {
        true => Ok(()),
        false => Err(Error::NotHere {
            what: format!("SELinux label {value:?}"),
            remedy: "Lapstrake gives containers no SELinux labels; use label=disable",
        }),
    }
}

/// Paths that a container does not see.
const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
/// Paths that it does not change.
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Paths that a container does not see.
/// The paths that a container does not see, and those that it does not change, unless its settings say
/// otherwise.
pub fn hidden_paths(facts: &Facts) -> (Vec<String>, Vec<String>) {
    let masked = MASKED.map(str::to_owned).into_iter();
    let masked = masked.chain(facts.hardware_paths.iter().cloned());
    (masked.collect(), READ_ONLY.map(str::to_owned).to_vec())
}

pub(super) fn masked(security: &Security, options: &Options<'_>, facts: &Facts) -> Vec<String> {
    match (
        &security.masked_paths,
        security.privileged || options.all_paths,
    ) {
        (_, true) => Vec::new(),
        (Some(paths), false) => paths.clone(),
        (None, false) => {
            let hardware = facts.hardware_paths.iter().cloned();
            MASKED
                .into_iter()
                .map(str::to_owned)
                .chain(hardware)
                .collect()
        }
    }
}

/// Paths that it does not change.
pub(super) fn read_only(security: &Security, options: &Options<'_>) -> Vec<String> {
    match (
        &security.read_only_paths,
        security.privileged || options.all_paths,
    ) {
        (_, true) => Vec::new(),
        (Some(paths), false) => paths.clone(),
        (None, false) => READ_ONLY.map(str::to_owned).to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(options: &[&str], test: impl FnOnce(Options<'_>)) {
        let options: Vec<_> = options.iter().map(|&option| option.to_owned()).collect();
        test(Options::parse(&options, &Facts::example()).unwrap());
    }

    #[test]
    fn options_are_read_in_both_spellings() {
        check(
            &["no-new-privileges", "seccomp:unconfined", "label:disable"],
            |options| {
                assert!(options.no_new_privileges);
                assert_eq!(options.seccomp, Seccomp::Unconfined);
            },
        );
        check(
            &[
                "no-new-privileges=false",
                "seccomp={}",
                "apparmor=unconfined",
            ],
            |options| {
                assert!(!options.no_new_privileges);
                assert_eq!(options.seccomp, Seccomp::Profile("{}"));
            },
        );
        check(
            &["systempaths=unconfined", "writable-cgroups=true"],
            |options| {
                assert!(options.all_paths && options.writable_cgroups);
            },
        );
    }

    #[test]
    fn what_is_not_known_or_not_here_is_refused() {
        for (option, said) in [
            ("x", "invalid --security-opt 1: \"x\""),
            ("no-new-privileges=x", "invalid --security-opt 2"),
            ("x=y", "invalid --security-opt 2: \"x=y\""),
            (
                "apparmor=mine",
                "AppArmor profile \"mine\" is not available",
            ),
        ] {
            let options = [option.to_owned()];
            let error = Options::parse(&options, &Facts::example()).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
    }
}
