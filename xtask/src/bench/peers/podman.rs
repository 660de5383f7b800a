//! podman, which has no daemon.

use std::path::{Path, PathBuf};

use super::{Daemon, Engine, Pull};
use crate::bench::cgroup::Group;
use crate::bench::overlay;
use crate::command::Tool;
use crate::error::Result;
use crate::files;

/// Debian's podman.
#[derive(Debug, Clone, Copy)]
pub struct Podman;

impl Podman {
    fn tool(self, dir: &Path, group: &Group) -> Tool {
        let tool = group.tool("podman").arg("--root").arg(dir.join("root"));
        let tool = tool.arg("--runroot").arg(run_root());
        tool.args(["--storage-driver", "overlay"])
    }
}

impl Engine for Podman {
    fn name(&self) -> &'static str {
        "podman"
    }

    fn start(&self, dir: &Path, _group: &Group) -> Result<Option<Daemon>> {
        files::make_dir(dir)?;
        Ok(None)
    }

    fn pull(&self, dir: &Path, group: &Group, reference: &str) -> Result<Pull> {
        let tool = self.tool(dir, group);
        tool.args(["pull", "--quiet", "--tls-verify=false", reference])
            .output()?;
        Ok(Pull::default())
    }

    fn load(&self, dir: &Path, group: &Group, archive: &Path) -> Result<Pull> {
        let tool = self.tool(dir, group).args(["load", "--quiet", "-i"]);
        tool.arg(archive).output()?;
        Ok(Pull::default())
    }

    fn save(&self, dir: &Path, group: &Group, reference: &str, archive: &Path) -> Result<()> {
        let tool = self.tool(dir, group).args(["save", "--quiet", "-o"]);
        tool.arg(archive).arg(reference).output().map(drop)
    }

    fn tag(&self, dir: &Path, group: &Group, image: &str, name: &str) -> Result<()> {
        let tool = self.tool(dir, group);
        tool.args(["tag", image, name]).output().map(drop)
    }

    fn push(&self, dir: &Path, group: &Group, name: &str) -> Result<()> {
        let tool = self.tool(dir, group);
        tool.args(["push", "--quiet", "--tls-verify=false", name])
            .output()
            .map(drop)
    }

    fn clean(&self, dir: &Path) -> Result<()> {
        // podman leaves its store bind-mounted on itself.
        overlay::unmount_if_mounted(&dir.join("root/overlay"))?;
        files::remove_tree(&run_root())
    }
}

/// podman refuses a path of more than 50 characters here.
fn run_root() -> PathBuf {
    PathBuf::from(format!("/run/lapstrake-bench-{}", std::process::id()))
}
