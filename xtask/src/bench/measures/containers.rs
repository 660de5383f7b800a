//! Containers, as the docker command has them: beside dockerd and podman, and runc alone.
//!
//! All run without a network. The daemons are asked by the same client; podman has none. Memory is that of the
//! daemon and all it starts, but for what runs in containers.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::commit::write_change;
use crate::bench::cgroup::Group;
use crate::bench::http::{ask, say};
use crate::bench::peers::{Daemon, Docker, Engine};
use crate::bench::report::{OURS, Row};
use crate::bench::scratch::{Scratch, timed};
use crate::bench::tally::{Tally, megabytes};
use crate::command::Tool;
use crate::error::{Error, IoContext as _, Result};
use crate::files;

/// Runs of each side in a round of the first measure: one is soon over.
const RUNS: usize = 5;
const AT_ONCE: usize = 20;
/// Images and containers when disk usage is asked for.
const MANY: usize = 200;
const NEW_FILES: &str =
    "mkdir -p /srv/new && cd /srv/new && i=0; while [ $i -lt 50000 ]; do : > f$i; i=$((i+1)); done";
/// Ours, with a limit to what the container may write.
const LIMITED: &str = "lapstrake --storage-opt size=2G";
const IDLE: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) fn run(scratch: &mut Scratch) -> Result<Vec<Row>> {
    let (_, reference) = scratch.image("debian")?;
    let dir = scratch.dir("containers")?;
    let mut tally = Tally::new("containers");
    {
        let ours = Side::ours(scratch.lapstrake(), &dir.join("ours"))?;
        let docker = Side::docker(&dir.join("docker"))?;
        let podman = Side::podman(&dir.join("podman"))?;
        let sides = [&ours, &docker, &podman];
        for side in sides {
            side.pull(&reference)?;
        }
        for side in [&ours, &docker] {
            let watch = side.group.watch_memory();
            std::thread::sleep(IDLE);
            tally.saw("memory idle, MB", side.name, megabytes(watch.peak()));
        }
        for _round in 0..scratch.repeats() {
            started(&sides, &reference, &mut tally)?;
        }
        let daemons = [&ours, &docker];
        let change = write_change(&dir.join("change"))?;
        for round in 0..scratch.repeats() {
            for side in daemons {
                commit(side, &reference, &change, round, &mut tally)?;
                remove(side, side.name, &[], &reference, &mut tally)?;
            }
            // A limit gives the container a file system of its own, which goes as one file.
            let limit = ["--storage-opt", "size=2G"];
            remove(&ours, LIMITED, &limit, &reference, &mut tally)?;
        }
        for side in daemons {
            disk_usage(side, &reference, scratch.repeats(), &mut tally)?;
        }
    }
    Docker.clean(&dir.join("docker"))?;
    crate::bench::overlay::unmount_if_mounted(&dir.join("podman/root/overlay"))?;
    files::remove_tree(&dir)?;
    Ok(tally.rows())
}

/// `docker run --rm IMAGE true`, alone and many at once.
fn started(sides: &[&Side], reference: &str, tally: &mut Tally) -> Result<()> {
    for _run in 0..RUNS {
        for side in sides {
            let seconds = timed(|| side.run_true(reference).output())?.1;
            tally.saw("run --rm IMAGE true, s", side.name, seconds);
        }
    }
    for side in sides {
        let watch = side.group.watch_memory();
        let seconds = timed(|| {
            std::thread::scope(|scope| {
                let runs: Vec<_> = (0..AT_ONCE)
                    .map(|_| scope.spawn(|| side.run_true(reference).output()))
                    .collect();
                runs.into_iter().try_for_each(|run| match run.join() {
                    Ok(output) => output.map(drop),
                    Err(_panic) => Err(Error::Unexpected {
                        what: "20 containers at once".to_owned(),
                        why: "a thread panicked".to_owned(),
                    }),
                })
            })
        })?
        .1;
        tally.saw("20 of them at once, s", side.name, seconds);
        tally.saw("memory meanwhile, MB", side.name, megabytes(watch.peak()));
    }
    Ok(())
}

/// A container with 500 MB in 5,000 new files becomes an image, which is on disk afterwards.
fn commit(
    side: &Side,
    reference: &str,
    change: &Path,
    round: usize,
    tally: &mut Tally,
) -> Result<()> {
    let name = format!("c{round}");
    side.tool()
        .args([
            "create",
            "--name",
            &name,
            "--network",
            "none",
            reference,
            "true",
        ])
        .output()?;
    side.tool()
        .arg("cp")
        .arg(change)
        .arg(format!("{name}:/srv"))
        .output()?;
    rustix::fs::sync();
    let made = timed(|| {
        side.tool()
            .args(["commit", &name, &format!("made:{round}")])
            .output()?;
        rustix::fs::sync();
        Ok(())
    });
    tally.saw("commit of 500 MB, durable, s", side.name, made?.1);
    side.tool().args(["rm", &name]).output()?;
    side.tool()
        .args(["rmi", &format!("made:{round}")])
        .output()
        .map(drop)
}

/// A container with 50,000 new files goes, until its space is back.
fn remove(
    side: &Side,
    who: &'static str,
    limit: &[&str],
    reference: &str,
    tally: &mut Tally,
) -> Result<()> {
    let run = side
        .tool()
        .args(["run", "--name", "files", "--network", "none"]);
    let run = run.args(limit).arg(reference);
    run.args(["sh", "-c", NEW_FILES]).output()?;
    rustix::fs::sync();
    let started = Instant::now();
    side.tool().args(["rm", "files"]).output()?;
    tally.saw(
        "rm with 50,000 new files, answered, s",
        who,
        started.elapsed().as_secs_f64(),
    );
    if let Some(trash) = &side.trash {
        wait_until_empty(trash, started)?;
    }
    tally.saw(
        "rm with 50,000 new files, space is back, s",
        who,
        started.elapsed().as_secs_f64(),
    );
    Ok(())
}

fn wait_until_empty(dir: &Path, started: Instant) -> Result<()> {
    while std::fs::read_dir(dir).io("list", dir)?.next().is_some() {
        if started.elapsed() > PATIENCE {
            return Err(Error::Unexpected {
                what: "removing a container".to_owned(),
                why: format!("it is not freed after {} s", PATIENCE.as_secs()),
            });
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// `docker system df` with many images and containers.
fn disk_usage(side: &Side, reference: &str, repeats: usize, tally: &mut Tally) -> Result<()> {
    let socket = side.dir.join("docker.sock");
    // By the client, each of these would take longer than what it asks for.
    for number in 0..MANY {
        let body = format!(
            r#"{{"Image":"{reference}","Cmd":["true"],"HostConfig":{{"NetworkMode":"none"}}}}"#
        );
        say(
            &socket,
            &format!("/v1.41/containers/create?name=many{number}"),
            &body,
        )?;
        let commit = format!("/v1.41/commit?container=many{number}&repo=many&tag={number}&pause=0");
        say(&socket, &commit, "{}")?;
    }
    for _round in 0..repeats * RUNS {
        let seconds = timed(|| side.tool().args(["system", "df"]).output())?.1;
        let quantity = "system df, 200 images and containers, s";
        tally.saw(quantity, side.name, seconds);
        let seconds = timed(|| ask(&socket, "/v1.41/system/df"))?.1;
        let quantity = "the same without the client, s";
        tally.saw(quantity, side.name, seconds);
    }
    Ok(())
}

/// Who runs containers.
pub(super) struct Side {
    name: &'static str,
    group: Group,
    dir: PathBuf,
    /// Where what is removed is freed from, if that goes on after the answer.
    trash: Option<PathBuf>,
    daemon: Option<Daemon>,
}

impl Side {
    pub(super) fn ours(binary: &Path, dir: &Path) -> Result<Self> {
        files::make_dir(dir)?;
        let group = Group::new("containers-ours")?;
        let tool = group.tool(&binary.display().to_string());
        let tool = tool
            .arg("--root")
            .arg(dir.join("root"))
            .arg("--run-dir")
            .arg(dir.join("run"));
        let tool = tool.arg("daemon").arg("--host").arg(socket(dir));
        let daemon = Daemon::start("lapstrake", tool, dir, || client(dir).arg("version"))?;
        Ok(Self {
            name: OURS,
            group,
            dir: dir.to_owned(),
            trash: Some(dir.join("root/state/containers/.trash")),
            daemon: Some(daemon),
        })
    }

    fn docker(dir: &Path) -> Result<Self> {
        let group = Group::new("containers-docker")?;
        let daemon = Docker.start(dir, &group)?;
        Ok(Self {
            name: Docker.name(),
            group,
            dir: dir.to_owned(),
            trash: None,
            daemon,
        })
    }

    fn podman(dir: &Path) -> Result<Self> {
        files::make_dir(dir)?;
        Ok(Self {
            name: "podman",
            group: Group::new("containers-podman")?,
            dir: dir.to_owned(),
            trash: None,
            daemon: None,
        })
    }

    pub(super) fn tool(&self) -> Tool {
        if self.daemon.is_some() {
            return client(&self.dir);
        }
        let tool = self
            .group
            .tool("podman")
            .arg("--root")
            .arg(self.dir.join("root"));
        let run_root = format!("/run/lapstrake-bench-{}", std::process::id());
        let tool = tool.args(["--runroot", &run_root, "--storage-driver", "overlay"]);
        tool.args([
            "--cgroup-manager",
            "cgroupfs",
            "--runtime",
            "runc",
            "--events-backend",
            "none",
        ])
    }

    pub(super) fn pull(&self, reference: &str) -> Result<()> {
        let pull = self.tool().args(["pull", "--quiet"]);
        let pull = match self.daemon {
            Some(_) => pull,
            None => pull.arg("--tls-verify=false"),
        };
        pull.arg(reference).output().map(drop)
    }

    fn run_true(&self, reference: &str) -> Tool {
        let run = self.tool().args(["run", "--rm", "--network", "none"]);
        let run = match self.daemon {
            Some(_) => run,
            // Its own defaults are more than this machine's root may ask for.
            None => run.args([
                "--ulimit",
                "nofile=1024:1024",
                "--ulimit",
                "nproc=1024:1024",
            ]),
        };
        run.args([reference, "true"])
    }
}

fn client(dir: &Path) -> Tool {
    let client = Tool::new("docker").arg("-H").arg(socket(dir));
    client.env("DOCKER_CONFIG", dir.join("client"))
}

fn socket(dir: &Path) -> String {
    format!("unix://{}", dir.join("docker.sock").display())
}
