//! What the daemon acknowledged, and whether that is still so.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::wares::Wares;
use super::{settles, words};
use crate::daemon::{Daemon, text};

/// Images that every scene has.
const BASE: &str = "busybox:latest";

/// What must be so.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// By id.
    pub(super) containers: BTreeMap<String, Container>,
    pub(super) gone: BTreeSet<String>,
    pub(super) volumes: BTreeSet<String>,
    pub(super) volumes_gone: BTreeSet<String>,
    pub(super) images: BTreeSet<String>,
    pub(super) images_gone: BTreeSet<String>,
    /// Images that could be pulled or loaded, and nobody is about to.
    pub(super) absent: BTreeSet<String>,
    pub(super) pushed: BTreeSet<String>,
    /// How many operations of each kind were acknowledged.
    pub(super) acknowledged: BTreeMap<&'static str, u64>,
    /// What was refused, though no client did anything wrong.
    pub(super) refused: Vec<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) does: Does,
    /// Whether `/copied` is in it.
    pub(super) copied: bool,
    /// Whether it counts, in its log and in a file of its name.
    pub(super) counts: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Does {
    Nothing,
    /// With this process number.
    Run(String),
    Pause(String),
    /// It ends by itself with this code; it need not have yet.
    EndWith(i32),
    /// It was stopped.
    Stopped,
}

impl Container {
    pub(super) fn new(name: &str, does: Does) -> Self {
        Self {
            name: name.to_owned(),
            does,
            copied: false,
            counts: false,
        }
    }

    pub(super) fn runs(&self) -> bool {
        matches!(self.does, Does::Run(_))
    }

    /// Whether this state (status, process number, exit code) is one that it may be found in.
    fn may_be(&self, state: &str) -> bool {
        match &self.does {
            Does::Nothing => state == "created 0 0",
            Does::Run(pid) => state == format!("running {pid} 0"),
            Does::Pause(pid) => state == format!("paused {pid} 0"),
            Does::EndWith(code) => state == format!("exited 0 {code}"),
            Does::Stopped => state.starts_with("exited 0 "),
        }
    }
}

impl Known {
    /// Compares what is there with what must be.
    pub(super) fn check(&self, daemon: &Daemon, wares: &Wares) {
        let listed = daemon.done(&["ps", "-a", "--no-trunc", "--format", "{{.ID}}"]);
        let there: BTreeSet<String> = words(&listed).into_iter().collect();
        let known: BTreeSet<String> = self.containers.keys().cloned().collect();
        let lost: Vec<_> = known.difference(&there).collect();
        assert!(lost.is_empty(), "lost: {lost:?}\n{}", daemon.log());
        let undead: Vec<_> = self.gone.intersection(&there).collect();
        assert!(
            undead.is_empty(),
            "removed and there: {undead:?}\n{}",
            daemon.log()
        );
        settles(
            || self.wrong_states(daemon).is_empty(),
            || format!("{:#?}\n{}", self.wrong_states(daemon), daemon.log()),
        );
        for container in self.containers.values() {
            if let Does::Run(pid) | Does::Pause(pid) = &container.does {
                assert!(fs::exists(format!("/proc/{pid}")).unwrap(), "{container:?}");
            }
        }
        for (id, container) in self.containers.iter().filter(|(_, one)| one.counts) {
            check_log(daemon, wares, id, container);
        }
        let listed = words(&daemon.done(&["volume", "ls", "-q"]));
        let volumes: BTreeSet<String> = listed.into_iter().collect();
        let lost: Vec<_> = self.volumes.difference(&volumes).collect();
        assert!(lost.is_empty(), "{lost:?}\n{}", daemon.log());
        let undead: Vec<_> = self.volumes_gone.intersection(&volumes).collect();
        assert!(undead.is_empty(), "{undead:?}\n{}", daemon.log());
        let images: BTreeSet<String> = images(daemon).into_iter().collect();
        let lost: Vec<_> = self.images.difference(&images).collect();
        assert!(lost.is_empty(), "{lost:?} {images:?}\n{}", daemon.log());
        let undead: Vec<_> = self.images_gone.intersection(&images).collect();
        assert!(undead.is_empty(), "{undead:?}\n{}", daemon.log());
        let pushed = |reference: &&String| !wares.has(reference);
        let lost: Vec<_> = self.pushed.iter().filter(pushed).collect();
        assert!(lost.is_empty(), "{lost:?}");
    }

    fn wrong_states(&self, daemon: &Daemon) -> Vec<String> {
        if self.containers.is_empty() {
            return Vec::new();
        }
        let format = "{{.Name}} {{.State.Status}} {{.State.Pid}} {{.State.ExitCode}}";
        let mut inspect = vec!["inspect", "--type=container", "-f", format];
        inspect.extend(self.containers.keys().map(String::as_str));
        let states = daemon.done(&inspect);
        let both = states.lines().zip(self.containers.values());
        let wrong = both.filter(|(line, container)| {
            let (name, state) = line.split_once(' ').unwrap();
            name != format!("/{}", container.name) || !container.may_be(state)
        });
        wrong
            .map(|(line, container)| format!("{line}: {container:?}"))
            .collect()
    }

    /// Removes what no client was told of, so that it does not pile up: that, too, must be possible.
    pub(super) fn forget_unacknowledged(&mut self, daemon: &Daemon, wares: &Wares) {
        self.absent = wares.absent(&self.images);
        let ids = words(&daemon.done(&["ps", "-aq", "--no-trunc"]));
        let unknown = |id: &&String| !self.containers.contains_key(*id);
        let unknown: Vec<_> = ids.iter().filter(unknown).map(String::as_str).collect();
        if !unknown.is_empty() {
            daemon.done(&[&["rm", "-f", "-v"], &unknown[..]].concat());
        }
        let volumes = words(&daemon.done(&["volume", "ls", "-q", "--filter", "dangling=true"]));
        for volume in volumes.iter().filter(|name| !self.volumes.contains(*name)) {
            daemon.done(&["volume", "rm", volume]);
        }
        for image in images(daemon) {
            if image != BASE && !self.images.contains(&image) {
                daemon.done(&["rmi", "-f", &image]);
            }
        }
    }

    /// That what was copied and committed is in the containers and images.
    pub(super) fn check_contents(&self, daemon: &Daemon) {
        let want = fs::read("/etc/hostname").unwrap();
        let at = daemon.path("copied");
        let check = |from: &str| {
            daemon.done(&["cp", &format!("{from}:/copied"), text(&at)]);
            assert_eq!(fs::read(&at).unwrap(), want, "{from}");
        };
        for (id, _) in self.containers.iter().filter(|(_, one)| one.copied) {
            check(id);
        }
        for image in self
            .images
            .iter()
            .filter(|name| name.starts_with("made:"))
            .take(8)
        {
            let id = daemon.done(&["create", "--network=none", image, "true"]);
            check(id.trim());
            daemon.done(&["rm", id.trim()]);
        }
        for image in self.images.iter().filter(|name| !name.starts_with("made:")) {
            daemon.done(&["run", "--rm", "--network=none", image, "ls", "/noise"]);
        }
    }
}

fn images(daemon: &Daemon) -> Vec<String> {
    let format = "{{.Repository}}:{{.Tag}}";
    words(&daemon.done(&["images", "--filter=dangling=false", "--format", format]))
}

/// That a log has every number up to that to which its container counted, once.
fn check_log(daemon: &Daemon, wares: &Wares, id: &str, container: &Container) {
    let counted = fs::read_to_string(wares.counts.join(&container.name)).unwrap_or_default();
    let counted = counted.trim().parse::<usize>().unwrap_or(0);
    let log = || -> Vec<String> { words(&daemon.done(&["logs", id])) };
    settles(
        || log().len() >= counted,
        || format!("{id}: {counted} lines, and in its log {}", log().len()),
    );
    for (want, line) in log().iter().enumerate() {
        assert_eq!(*line, (want + 1).to_string(), "{id}");
    }
}
