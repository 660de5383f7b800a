//! Kernel settings of a container: only of namespaces that are its own.

use std::collections::BTreeMap;

use super::namespaces::{is_own, owns_network};
use super::{Error, Facts, Result};
use crate::settings::Settings;

/// Settings of an IPC namespace, beside `fs.mqueue.`.
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];
const DOMAIN_NAME: &str = "kernel.domainname";

/// All kernel settings of the container: those that are given, its domain name, and what lets one with a
/// network of its own use low ports and ping.
pub(super) fn all(settings: &Settings, facts: &Facts) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    if owns_network(settings) {
        for (key, value) in &facts.network_sysctls {
            all.insert((*key).to_owned(), (*value).to_owned());
        }
    }
    let domain = settings.execution.domainname.as_deref().unwrap_or_default();
    if is_own(&settings.host.uts) && !domain.is_empty() {
        all.insert(DOMAIN_NAME.to_owned(), domain.to_owned());
    }
    for (key, value) in &settings.host.sysctls {
        let dotted = dotted(key);
        if !is_allowed(&dotted, settings) {
            return Err(Error::Sysctl(key.clone()));
        }
        all.insert(dotted, value.clone());
    }
    Ok(all)
}

/// A path with slashes means the same; dots in it then stand for themselves, as in sysctl(8).
fn dotted(key: &str) -> String {
    match key.find(['.', '/']).map(|at| key.as_bytes()[at]) {
        Some(b'/') => key
            .chars()
            .map(|c| match c {
                '/' => '.',
                '.' => '/',
                other => other,
            })
            .collect(),
        _ => key.to_owned(),
    }
}

fn is_allowed(key: &str, settings: &Settings) -> bool {
    let sound = key
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte));
    let in_ipc = IPC.contains(&key) || key.starts_with("fs.mqueue.");
    sound
        && !key.contains("..")
        && (key.starts_with("net.") && owns_network(settings)
            || in_ipc && is_own(&settings.host.ipc)
            || key == DOMAIN_NAME && is_own(&settings.host.uts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Namespace, NetworkMode};

    fn check(
        key: &str,
        change: impl FnOnce(&mut Settings),
    ) -> std::result::Result<Vec<String>, String> {
        let mut settings = Settings::default();
        if !key.is_empty() {
            settings.host.sysctls.insert(key.to_owned(), "1".to_owned());
        }
        change(&mut settings);
        let all = all(&settings, &Facts::example()).map_err(|error| error.to_string())?;
        Ok(all
            .into_iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect())
    }

    const USUAL: [&str; 2] = [
        "net.ipv4.ip_unprivileged_port_start=0",
        "net.ipv4.ping_group_range=0 2147483647",
    ];

    #[test]
    fn a_network_of_its_own_has_low_ports_and_ping() {
        assert_eq!(check("", |_| {}).unwrap(), USUAL);
        let host = |settings: &mut Settings| settings.host.network = NetworkMode::Host;
        assert_eq!(check("", host).unwrap(), [""; 0]);
        let own = check("net.ipv4.ip_unprivileged_port_start", |_| {}).unwrap();
        assert_eq!(own, ["net.ipv4.ip_unprivileged_port_start=1", USUAL[1]]);
    }

    #[test]
    fn only_its_own_namespaces_are_changed() {
        let host = |settings: &mut Settings| {
            settings.host.network = NetworkMode::Host;
            settings.host.ipc = Namespace::Host;
        };
        for (key, own) in [
            ("net.ipv4.ip_forward", true),
            ("net/ipv4/ip_forward", true),
            ("kernel.msgmax", true),
            ("fs.mqueue.msg_max", true),
            ("kernel.core_pattern", false),
            ("vm.swappiness", false),
            ("net...kernel.x", false),
            ("net./../kernel/core_pattern", false),
        ] {
            assert_eq!(check(key, |_| {}).is_ok(), own, "{key}");
            assert!(check(key, host).is_err(), "{key}");
        }
        let said = check("vm.x", |_| {}).unwrap_err();
        assert_eq!(said, "sysctl 'vm.x' is not in a separate kernel namespace");
    }

    #[test]
    fn the_domain_name_is_one() {
        let domain = |settings: &mut Settings| {
            settings.execution.domainname = Some("d.example".to_owned());
        };
        assert_eq!(check("", domain).unwrap()[0], "kernel.domainname=d.example");
    }
}
