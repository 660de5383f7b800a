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

impl Containerd {
    fn images(self, dir: &Path, group: &Group, verb: &str) -> Tool {
        let client = group.tool("ctr").arg("--address");
        client
            .arg(dir.join("containerd.sock"))
            .args(["images", verb])
    }
}

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
        let client = self.images(dir, group, "pull");
        client.args(["--plain-http", reference]).output()?;
        Ok(Pull::default())
    }

    fn load(&self, dir: &Path, group: &Group, archive: &Path) -> Result<Pull> {
        let client = self.images(dir, group, "import");
        client.arg(archive).output()?;
        Ok(Pull::default())
    }

    fn save(&self, dir: &Path, group: &Group, reference: &str, archive: &Path) -> Result<()> {
        let client = self.images(dir, group, "export");
        client.arg(archive).arg(reference).output().map(drop)
    }

    fn tag(&self, dir: &Path, group: &Group, image: &str, name: &str) -> Result<()> {
        let client = self.images(dir, group, "tag");
        client.args(["--force", image, name]).output().map(drop)
    }

    fn push(&self, dir: &Path, group: &Group, name: &str) -> Result<()> {
        let client = self.images(dir, group, "push");
        client.args(["--plain-http", name]).output().map(drop)
    }

    fn clean(&self, _dir: &Path) -> Result<()> {
        Ok(())
    }
}
