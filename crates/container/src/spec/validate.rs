//! Whether a container can be as its settings say, told when it is made.

use super::{Error, Facts, Result, capability, devices, files, limits, seccomp, security, sysctl};
use crate::settings::{Namespace, NetworkMode, Resources, Settings, When};

/// What a client is told beside that its container was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// Swap is not limited.
    #[error(
        "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap."
    )]
    Swap,
    /// Swappiness has no effect.
    #[error(
        "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded."
    )]
    Swappiness,
    /// It can't be spared.
    #[error("Your kernel does not support OomKillDisable. OomKillDisable discarded.")]
    OomKill,
    /// It is never killed and never full.
    #[error(
        "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources."
    )]
    OomKillWithoutLimit,
    /// Weights have no effect.
    #[error(
        "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded."
    )]
    BlockWeight,
    /// System calls are not filtered.
    #[error(
        "Your kernel does not support seccomp, so the container's system calls are not filtered."
    )]
    Seccomp,
}

/// Checks all that can be known before the container has a root.
///
/// # Errors
/// The first thing that can't be.
pub fn validate(settings: &Settings, facts: &Facts) -> Result<Vec<Warning>> {
    let host = &settings.host;
    let mut warnings = validate_resources(&host.resources, facts)?;
    capability::of(&host.security, facts)?;
    let options = security::Options::parse(&host.security.options, facts)?;
    if !facts.seccomp && options.seccomp != security::Seccomp::Unconfined {
        warnings.push(Warning::Seccomp);
    }
    seccomp::check(&options)?;
    super::process::directory(settings)?;
    for rule in &host.device_rules {
        devices::parse_rule(rule)?;
    }
    if let Some(score) = host
        .oom_score
        .filter(|score| !(-1000..=1000).contains(score))
    {
        return Err(limits::LimitError::OomScore(score).into());
    }
    sysctl::all(settings, facts)?;
    files::check(settings)?;
    modes(settings)?;
    conflicts(settings)?;
    Ok(warnings)
}

/// Checks limits, as for `docker update`.
///
/// # Errors
/// The first thing that can't be.
pub fn validate_resources(resources: &Resources, facts: &Facts) -> Result<Vec<Warning>> {
    let mut warnings = Vec::new();
    limits::check(resources, facts, &mut warnings)?;
    Ok(warnings)
}

/// Checks for namespaces that nobody can have.
fn modes(settings: &Settings) -> Result<()> {
    let wrong = |what: &'static str, text: &str| {
        let text = text.to_owned();
        Err(Error::Malformed { what, text })
    };
    let host = &settings.host;
    for (what, namespace) in [
        ("UTS mode", &host.uts),
        ("cgroup namespace mode", &host.cgroup),
    ] {
        if let Namespace::Container(other) = namespace {
            return wrong(what, &format!("container:{other}"));
        }
    }
    match host.security.userns.as_deref() {
        None | Some("" | "host") => Ok(()),
        Some(mode) => wrong("userns mode", mode),
    }
}

fn conflicts(settings: &Settings) -> Result<()> {
    let (host, execution) = (&settings.host, &settings.execution);
    let has_name = execution
        .hostname
        .as_deref()
        .is_some_and(|name| !name.is_empty());
    let joins_network = matches!(host.network, NetworkMode::Container(_));
    let network = "the network mode";
    let pairs = [
        (joins_network && has_name, "hostname", network),
        (joins_network && !host.dns.is_empty(), "dns", network),
        (
            joins_network && !host.extra_hosts.is_empty(),
            "custom host-to-IP mapping",
            network,
        ),
        (
            host.uts == Namespace::Host && has_name,
            "hostname",
            "the UTS mode",
        ),
        (
            host.auto_remove && host.restart.when != When::No,
            "restart policy",
            "automatic removal",
        ),
    ];
    match pairs.into_iter().find(|(conflict, ..)| *conflict) {
        Some((_, one, other)) => Err(Error::Conflict { one, other }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(change: impl FnOnce(&mut Settings), wanted: &str) {
        let mut settings = Settings::default();
        change(&mut settings);
        let said = match validate(&settings, &Facts::example()) {
            Ok(warnings) => warnings.iter().map(ToString::to_string).collect(),
            Err(error) => error.to_string(),
        };
        assert_eq!(said, wanted);
    }

    fn other() -> String {
        "other".to_owned()
    }

    #[test]
    fn what_is_nothing_special_is_valid() {
        check(|_| {}, "");
        check(
            |settings| settings.host.security.userns = Some("host".to_owned()),
            "",
        );
        check(|settings| settings.host.oom_score = Some(-1000), "");
    }

    #[test]
    fn what_excludes_each_other_is_refused() {
        let joins = |settings: &mut Settings| {
            settings.host.network = NetworkMode::Container(other());
        };
        check(joins, "");
        check(
            |settings| {
                joins(settings);
                settings.execution.hostname = Some(other());
            },
            "conflicting options: hostname and the network mode",
        );
        check(
            |settings| {
                joins(settings);
                settings.host.dns = vec!["1.1.1.1".to_owned()];
            },
            "conflicting options: dns and the network mode",
        );
        check(
            |settings| {
                settings.host.uts = Namespace::Host;
                settings.execution.hostname = Some(other());
            },
            "conflicting options: hostname and the UTS mode",
        );
    }

    #[test]
    fn what_there_is_not_is_refused() {
        check(
            |settings| settings.host.uts = Namespace::Container(other()),
            "invalid UTS mode: container:other",
        );
        check(
            |settings| settings.host.security.userns = Some("remap".to_owned()),
            "invalid userns mode: remap",
        );
        check(
            |settings| settings.host.oom_score = Some(1001),
            "Invalid value 1001, range for oom score adj is [-1000, 1000]",
        );
        check(
            |settings| settings.execution.working_dir = Some("x".to_owned()),
            "the working directory 'x' is invalid, it needs to be an absolute path",
        );
        check(
            |settings| settings.host.resources.cgroup_parent = Some("../x".to_owned()),
            "invalid cgroup-parent: ../x",
        );
    }

    #[test]
    fn what_the_host_does_not_do_is_warned_of() {
        check(
            |settings| settings.host.resources.oom_kill_disable = true,
            &Warning::OomKillWithoutLimit.to_string(),
        );
        let facts = Facts {
            seccomp: false,
            ..Facts::example()
        };
        let warnings = validate(&Settings::default(), &facts).unwrap();
        assert_eq!(warnings, [Warning::Seccomp]);
    }
}
