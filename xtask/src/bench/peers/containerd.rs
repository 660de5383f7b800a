//! containerd with its overlayfs snapshotter, through `ctr`.

use std::path::Path;

use super::{Daemon, Engine, Pull};
use crate::bench::cgroup::Group;
use crate::command::Tool;
use crate::error::Result;
use crate::files;

/// Debian's containerd.
#[derive(Debug, Clone, Copy)]
pub struct Containerd;

impl Engine for Containerd {
    fn name(&self) -> &'static str {
        "containerd"
    }

    fn start(&self, dir: &Path, group: &Group) -> Result<Option<Daemon>> {
        files::make_dir(dir)?;
        let socket = dir.join("containerd.sock");
        let configuration = dir.join("config.toml");
        let text = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = {:?}\n",
            dir.join("root"),
            dir.join("state"),
            socket
        );
        files::replace(&configuration, text.as_bytes())?;
        let tool = group.tool("containerd").arg("--config").arg(&configuration);
        let probe = || {
            Tool::new("ctr")
                .arg("--address")
                .arg(&socket)
                .arg("version")
        };
        Daemon::start("containerd", tool, dir, probe).map(Some)
    }

    fn pull(&self, dir: &Path, group: &Group, reference: &str) -> Result<Pull> {
        let client = group
            .tool("ctr")
            .arg("--address")
            .arg(dir.join("containerd.sock"));
        client
            .args(["images", "pull", "--plain-http", reference])
            .output()?;
        Ok(Pull::default())
    }

    fn clean(&self, _dir: &Path) -> Result<()> {
        Ok(())
    }
}
