//! podman, which has no daemon.

use std::path::{Path, PathBuf};

use super::{Daemon, Engine, Pull};
use crate::bench::cgroup::Group;
use crate::bench::overlay;
use crate::error::Result;
use crate::files;

/// Debian's podman.
#[derive(Debug, Clone, Copy)]
pub struct Podman;

impl Engine for Podman {
    fn name(&self) -> &'static str {
        "podman"
    }

    fn start(&self, dir: &Path, _group: &Group) -> Result<Option<Daemon>> {
        files::make_dir(dir)?;
        Ok(None)
    }

    fn pull(&self, dir: &Path, group: &Group, reference: &str) -> Result<Pull> {
        let tool = group.tool("podman").arg("--root").arg(dir.join("root"));
        let tool = tool
            .arg("--runroot")
            .arg(dir.join("run"))
            .args(["--storage-driver", "overlay"]);
        tool.args(["pull", "--quiet", "--tls-verify=false", reference])
            .output()?;
        Ok(Pull::default())
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
