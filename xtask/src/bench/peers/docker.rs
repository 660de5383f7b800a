//! dockerd with its own containerd, overlay2, and no network of its own.

use std::path::{Path, PathBuf};

use super::{Daemon, Engine, Pull};
use crate::bench::cgroup::Group;
use crate::bench::overlay;
use crate::command::Tool;
use crate::error::Result;
use crate::files;

/// Debian's docker.io.
#[derive(Debug, Clone, Copy)]
pub struct Docker;

impl Docker {
    /// The client, talking to the daemon below `dir`.
    pub fn client(self, dir: &Path) -> Tool {
        Tool::new("docker")
            .arg("-H")
            .arg(socket(dir))
            .env("DOCKER_CONFIG", dir.join("client"))
    }

    fn client_in(self, dir: &Path, group: &Group) -> Tool {
        let client = group.tool("docker").arg("-H").arg(socket(dir));
        client.env("DOCKER_CONFIG", dir.join("client"))
    }
}

/// Short, since the sockets of dockerd's own containerd are below it.
fn exec_root() -> PathBuf {
    PathBuf::from(format!(
        "/run/lapstrake-bench-docker-{}",
        std::process::id()
    ))
}

fn socket(dir: &Path) -> String {
    format!("unix://{}", dir.join("docker.sock").display())
}

impl Engine for Docker {
    fn name(&self) -> &'static str {
        "dockerd"
    }

    fn start(&self, dir: &Path, group: &Group) -> Result<Option<Daemon>> {
        files::make_dir(dir)?;
        let tool = group
            .tool("dockerd")
            .args(["--bridge=none", "--iptables=false", "--ip6tables=false"])
            .args(["--userland-proxy=false", "--storage-driver=overlay2"])
            .arg("--data-root")
            .arg(dir.join("root"))
            .arg("--exec-root")
            .arg(exec_root())
            .arg("--pidfile")
            .arg(dir.join("pid"))
            .arg("-H")
            .arg(socket(dir));
        Daemon::start("dockerd", tool, dir, || self.client(dir).arg("version")).map(Some)
    }

    fn pull(&self, dir: &Path, group: &Group, reference: &str) -> Result<Pull> {
        let client = self.client_in(dir, group);
        client.args(["pull", "--quiet", reference]).output()?;
        Ok(Pull::default())
    }

    fn load(&self, dir: &Path, group: &Group, archive: &Path) -> Result<Pull> {
        let client = self.client_in(dir, group).args(["load", "--quiet", "-i"]);
        client.arg(archive).output()?;
        Ok(Pull::default())
    }

    fn save(&self, dir: &Path, group: &Group, reference: &str, archive: &Path) -> Result<()> {
        let client = self.client_in(dir, group).args(["save", "-o"]);
        client.arg(archive).arg(reference).output().map(drop)
    }

    fn tag(&self, dir: &Path, group: &Group, image: &str, name: &str) -> Result<()> {
        let client = self.client_in(dir, group);
        client.args(["tag", image, name]).output().map(drop)
    }

    fn push(&self, dir: &Path, group: &Group, name: &str) -> Result<()> {
        let client = self.client_in(dir, group);
        client.args(["push", "--quiet", name]).output().map(drop)
    }

    fn clean(&self, dir: &Path) -> Result<()> {
        // A dockerd that did not get up leaves its data bind-mounted on itself.
        overlay::unmount_if_mounted(&dir.join("root"))?;
        files::remove_tree(&exec_root())
    }
}
