//! What a container leaves on the machine, and who should not have left it.

use std::collections::BTreeSet;
use std::fs;

use super::wares::Wares;
use super::{settles, words};
use crate::daemon::Daemon;

/// That nothing is there of containers that don't run, and of those that are no more.
pub(super) fn check(daemon: &Daemon, wares: &Wares) {
    // A monitor goes a moment after it told of the end, and so does a run directory.
    settles(
        || leaks(daemon, wares).is_empty(),
        || format!("{:#?}\n{}", leaks(daemon, wares), daemon.log()),
    );
}

fn leaks(daemon: &Daemon, wares: &Wares) -> Vec<String> {
    let ids = |arguments: &[&str]| -> BTreeSet<String> {
        words(&daemon.done(arguments)).into_iter().collect()
    };
    let running = ids(&["ps", "-q", "--no-trunc"]);
    let all = ids(&["ps", "-aq", "--no-trunc"]);
    let volumes = ids(&["volume", "ls", "-q"]);
    let mut found = Vec::new();
    for (dir, may) in [
        ("run/containers", &running),
        ("run/runtime", &running),
        ("root/state/container-files", &all),
        ("root/state/containers", &all),
        ("root/state/volumes", &volumes),
    ] {
        let names = daemon.names_in(dir).into_iter();
        let leaked = names.filter(|name| !may.contains(name));
        found.extend(leaked.map(|name| format!("{dir}/{name}")));
    }
    let of_running = |line: &String| ids_in(line).any(|id| running.contains(id));
    let strange = |line: &String| ids_in(line).next().is_some() && !of_running(line);
    found.extend(
        daemon
            .processes()
            .into_iter()
            .filter(|line| !of_running(line)),
    );
    found.extend(daemon.mounts().into_iter().filter(strange));
    found.extend(daemon.loop_devices().into_iter().filter(strange));
    for dir in wares.cgroup_dirs() {
        let cgroups = fs::read_dir(dir).into_iter().flatten().flatten();
        let cgroups = cgroups.filter(|entry| entry.path().is_dir());
        let cgroups = cgroups.map(|entry| entry.path().display().to_string());
        found.extend(cgroups.filter(|line| !of_running(line)));
    }
    found
}

/// That nothing is there at all.
pub(super) fn nothing_left(daemon: &Daemon, wares: &Wares) {
    let left = || {
        let mut left = [daemon.processes(), daemon.loop_devices()].concat();
        for dir in [
            "run/containers",
            "run/runtime",
            "run/volumes",
            "run/volume-parts",
            "run/volume-rooms",
            "root/state/container-files",
            "root/state/containers",
            "root/state/volumes",
        ] {
            let names = daemon.names_in(dir).into_iter();
            left.extend(names.map(|name| format!("{dir}/{name}")));
        }
        left
    };
    settles(|| left().is_empty(), || format!("{:#?}", left()));
    check(daemon, wares);
}

/// 64 hex digits in a row.
fn ids_in(line: &str) -> impl Iterator<Item = &str> {
    let parts = line.split(|c: char| !c.is_ascii_hexdigit());
    parts.filter(|part| part.len() == 64)
}
