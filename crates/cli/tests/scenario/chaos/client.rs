//! What a client does until the daemon is gone. What was asked and not answered may be done or not.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Random;
use super::known::{Container, Does, Known};
use super::wares::Wares;
use crate::daemon::{Daemon, text};

/// More than these do not run at a time.
const RUNNING: usize = 8;

const COUNT: &str = "i=0; while :; do i=$((i+1)); echo $i; echo $i >/counts/$NAME; sleep 0.2; done";
const END: &str = "sleep 0.3; exit 7";

pub(super) struct Client<'a> {
    pub(super) daemon: &'a Daemon,
    pub(super) wares: &'a Wares,
    pub(super) known: &'a Mutex<Known>,
    pub(super) over: &'a AtomicBool,
    pub(super) random: Random,
    pub(super) number: u64,
}

impl Client<'_> {
    pub(super) fn work(mut self) {
        for step in 0.. {
            if self.over.load(Ordering::SeqCst) {
                return;
            }
            let name = format!("c{}-{step}", self.number);
            match self.random.below(16) {
                0..=2 => self.run(&name),
                3 | 4 => self.make(&name),
                5 => self.remove(),
                6 => self.volume(&name),
                7 => self.pull(),
                8 => self.push(&name),
                9 => self.load(),
                10 => self.change(&name),
                11 => self.stop(),
                12 => self.execute(),
                13 => self.remove_image(),
                14 => self.prune(&name),
                _ => self.look(),
            }
        }
    }

    /// What a command printed, if it was acknowledged.
    pub(super) fn done(&self, kind: &'static str, arguments: &[&str]) -> Option<String> {
        let output = self.daemon.docker(arguments);
        let mut known = self.known.lock().unwrap();
        if output.status.success() {
            *known.acknowledged.entry(kind).or_default() += 1;
            return Some(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        if !is_because_it_went(&said) {
            known.refused.push(format!("{arguments:?}: {said}"));
        }
        None
    }

    /// As [`Self::done`], for a container that is made: its id.
    fn container(
        &self,
        kind: &'static str,
        verb: &[&str],
        name: &str,
        rest: &[&str],
    ) -> Option<String> {
        let parent = self.wares.cgroup_parent();
        let common = ["--network=none", "--cgroup-parent", &parent, "--name", name];
        self.done(kind, &[verb, &common, rest].concat())
    }

    pub(super) fn with_known<T>(&self, look: impl FnOnce(&mut Known) -> T) -> T {
        look(&mut self.known.lock().unwrap())
    }

    /// Takes one of the containers for itself. What it does with it is written down when it is acknowledged.
    fn take(&mut self, which: impl Fn(&Container) -> bool) -> Option<(String, Container)> {
        let mut known = self.known.lock().unwrap();
        let fitting = known.containers.iter().filter(|(_, one)| which(one));
        let ids = fitting.map(|(id, _)| id.clone()).collect();
        let id = self.random.one(ids)?;
        known.containers.remove_entry(&id)
    }

    fn put(&self, id: String, container: Container) {
        self.with_known(|known| known.containers.insert(id, container));
    }

    fn run(&mut self, name: &str) {
        let running =
            |known: &mut Known| known.containers.values().filter(|one| one.runs()).count();
        if self.with_known(running) >= RUNNING {
            return self.remove();
        }
        let counts = format!("{}:/counts", text(&self.wares.counts));
        let environment = format!("NAME={name}");
        let kind = self.random.below(5);
        let id = match kind {
            0 => self.container("run", &["run", "-d"], name, &["busybox", "sleep", "1000"]),
            1 => {
                let limited = [
                    "--storage-opt=size=32m",
                    "-v",
                    "/data",
                    "busybox",
                    "sleep",
                    "1000",
                ];
                self.container("run, limited", &["run", "-d"], name, &limited)
            }
            2 => self.container("run", &["run", "-d"], name, &["busybox", "sh", "-c", END]),
            3 => {
                let arguments = ["busybox", "true"];
                self.container("run --rm", &["run", "--rm"], name, &arguments);
                return;
            }
            _ => {
                let arguments = [
                    "-v",
                    &counts,
                    "-e",
                    &environment,
                    "busybox",
                    "sh",
                    "-c",
                    COUNT,
                ];
                self.container("run", &["run", "-d"], name, &arguments)
            }
        };
        let Some(id) = id else { return };
        let does = if kind == 2 {
            Some(Does::EndWith(7))
        } else {
            self.running(&id)
        };
        let Some(does) = does else { return };
        let counts = kind == 4;
        self.put(
            id,
            Container {
                counts,
                ..Container::new(name, does)
            },
        );
    }

    fn running(&self, id: &str) -> Option<Does> {
        let pid = self.done("inspect", &["inspect", "-f", "{{.State.Pid}}", id]);
        pid.map(Does::Run)
    }

    /// Makes a container, copies a file into it and makes an image of it.
    fn make(&mut self, name: &str) {
        let made = self.container(
            "create",
            &["create"],
            name,
            &["-v", "/data", "busybox", "true"],
        );
        let Some(id) = made else { return };
        let mut made = Container::new(name, Does::Nothing);
        let into = format!("{id}:/copied");
        made.copied = self.done("cp", &["cp", "/etc/hostname", &into]).is_some();
        let image = format!("made:{name}");
        if made.copied && self.done("commit", &["commit", &id, &image]).is_some() {
            self.with_known(|known| known.images.insert(image));
        }
        self.put(id, made);
    }

    fn remove(&mut self) {
        if let Some((id, _)) = self.take(|_| true)
            && self.done("rm", &["rm", "-f", "-v", &id]).is_some()
        {
            self.with_known(|known| known.gone.insert(id));
        }
    }

    fn volume(&mut self, name: &str) {
        if self.random.below(2) == 0 {
            let Some(victim) = self.with_known(|known| known.volumes.pop_first()) else {
                return;
            };
            if self.done("volume rm", &["volume", "rm", &victim]).is_some() {
                self.with_known(|known| known.volumes_gone.insert(victim));
            }
            return;
        }
        let limit: &[&str] = match self.random.below(2) {
            0 => &["-o", "size=16m"],
            _ => &[],
        };
        let create = [&["volume", "create"], limit, &[name]].concat();
        if self.done("volume create", &create).is_some() {
            self.with_known(|known| known.volumes.insert(name.to_owned()));
        }
    }

    /// Renames a container; pauses one that runs, or lets it go on.
    fn change(&mut self, name: &str) {
        let Some((id, mut container)) = self.take(|_| true) else {
            return;
        };
        let done = match container.does.clone() {
            Does::Run(pid) if self.random.below(2) == 0 => {
                container.does = Does::Pause(pid);
                self.done("pause", &["pause", &id])
            }
            Does::Pause(pid) => {
                container.does = Does::Run(pid);
                self.done("unpause", &["unpause", &id])
            }
            _ => {
                name.clone_into(&mut container.name);
                // It counts in a file of its old name.
                container.counts = false;
                self.done("rename", &["rename", &id, name])
            }
        };
        if done.is_some() {
            self.put(id, container);
        }
    }

    /// Stops a container that runs, or starts it again.
    fn stop(&mut self) {
        let fits = |one: &Container| one.runs() || one.does == Does::Stopped;
        let Some((id, mut container)) = self.take(fits) else {
            return;
        };
        // It counts from the beginning when it is started again.
        container.counts = false;
        if container.runs() {
            if self.done("stop", &["stop", "-t", "0", &id]).is_some() {
                container.does = Does::Stopped;
                self.put(id, container);
            }
        } else if self.done("start", &["start", &id]).is_some()
            && let Some(does) = self.running(&id)
        {
            container.does = does;
            self.put(id, container);
        }
    }

    fn execute(&mut self) {
        let Some((id, container)) = self.take(Container::runs) else {
            return;
        };
        let exec = ["exec", &id, "sh", "-c", "echo here; exit 3"];
        let output = self.daemon.docker(&exec);
        if output.status.code() == Some(3) {
            assert_eq!(output.stdout, b"here\n");
            self.with_known(|known| *known.acknowledged.entry("exec").or_default() += 1);
        } else if !output.stderr.is_empty()
            && !is_because_it_went(&String::from_utf8_lossy(&output.stderr))
        {
            // A client that can't ask for the code, since the daemon went, says nothing.
            self.with_known(|known| known.refused.push(format!("{exec:?}: {output:?}")));
        }
        self.put(id, container);
    }

    /// Removes what nobody needs, by label.
    fn prune(&mut self, name: &str) {
        let label = format!("goes={name}");
        let id = self.container(
            "create",
            &["create", "--label", &label],
            name,
            &["busybox", "true"],
        );
        let filter = format!("label={label}");
        let prune = ["container", "prune", "-f", "--filter", &filter];
        if self.done("container prune", &prune).is_some() {
            self.with_known(|known| known.gone.extend(id));
        } else if let Some(id) = id {
            // One prunes at a time; then it is there still, unless the daemon went over it.
            self.done("rm", &["rm", &id]);
        }
        self.done("image prune", &["image", "prune", "-f"]);
        self.done("volume prune", &["volume", "prune", "-f"]);
    }

    fn look(&mut self) {
        self.done("system df", &["system", "df", "-v"]);
        self.done("ps", &["ps", "-as"]);
    }
}

/// Whether a client said this because its daemon was killed, or since two may not prune at a time.
fn is_because_it_went(said: &str) -> bool {
    [
        "Cannot connect to the Docker daemon",
        "error during connect",
        "EOF",
        "connection reset by peer",
        "broken pipe",
        "a prune operation is already running",
    ]
    .iter()
    .any(|words| said.contains(words))
}
