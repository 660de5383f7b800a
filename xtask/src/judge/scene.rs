//! A daemon of ours on a socket of its own, with a registry, and the images in both.

use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use super::{docker, images};
use crate::bench::scratch::binary_of;
use crate::command::Tool;
use crate::error::{Error, IoContext as _, Result, describe};
use crate::files;
use crate::registry::Registry;

/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the suites run against. It ends with this process, however that ends.
#[derive(Debug)]
pub(super) struct Scene {
    dir: tempfile::TempDir,
    registry: Registry,
    daemon: Child,
    is_struck: bool,
}

impl Scene {
    /// Starts all, and makes the images.
    pub(super) fn set() -> Result<Self> {
        // The same that the tests are built with.
        let lapstrake = binary_of("lapstrake-cli", "lapstrake", &["--profile", "test"])?;
        let parent = std::env::temp_dir();
        let dir = tempfile::Builder::new()
            .prefix("lapstrake-judge-")
            .tempdir_in(&parent)
            .io("create a directory in", &parent)?;
        let registry = Registry::start(&dir.path().join("registry"), 0)?;
        let log = dir.path().join("log");
        files::make_dir(&dir.path().join("run"))?;
        let daemon = Tool::new("setpriv")
            .args(["--pdeathsig", "TERM"])
            .arg(lapstrake)
            .arg("--root")
            .arg(dir.path().join("root"))
            .arg("--run-dir")
            .arg(dir.path().join("run"))
            .arg("daemon")
            .arg("--mirror")
            .arg(format!("docker.io={}", registry.host()))
            .arg("--host")
            .arg(socket(dir.path()))
            .spawn(&log)?;
        let scene = Self {
            dir,
            registry,
            daemon,
            is_struck: false,
        };
        scene.wait_until_up(&log)?;
        scene.make_images()?;
        Ok(scene)
    }

    /// The daemon's address.
    pub(super) fn host(&self) -> String {
        socket(self.dir.path())
    }

    /// The registry's address.
    pub(super) fn registry(&self) -> String {
        self.registry.host()
    }

    /// Ends all; what is mounted below it goes too.
    pub(super) fn strike(mut self) -> Result<()> {
        self.is_struck = true;
        self.end_containers()?;
        self.end_daemon()?;
        self.unmount()
    }

    fn end_containers(&self) -> Result<()> {
        let all = docker(&self.host()).args(["ps", "-aq"]).output()?;
        if all.trim().is_empty() {
            return Ok(());
        }
        docker(&self.host())
            .args(["rm", "-f", "-v"])
            .args(all.split_whitespace())
            .output()?;
        Ok(())
    }

    fn end_daemon(&mut self) -> Result<()> {
        let pid = self.daemon.id().to_string();
        Tool::new("kill").args(["-TERM", &pid]).output()?;
        self.daemon.wait().io("wait for", Path::new("lapstrake"))?;
        Ok(())
    }

    fn unmount(&self) -> Result<()> {
        let table = Path::new("/proc/self/mounts");
        let mounts = std::fs::read_to_string(table).io("read", table)?;
        let below = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        let below: Vec<_> = below
            .filter(|at| Path::new(at).starts_with(self.dir.path()))
            .collect();
        for at in below.into_iter().rev() {
            Tool::new("umount").arg(at).output()?;
        }
        Ok(())
    }

    fn wait_until_up(&self, log: &Path) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if docker(&self.host()).arg("version").output().is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        eprintln!("{}", std::fs::read_to_string(log).unwrap_or_default());
        Err(Error::NotUp {
            what: format!("the daemon at {}", self.host()),
            seconds: PATIENCE.as_secs(),
            log: log.to_owned(),
        })
    }

    fn make_images(&self) -> Result<()> {
        for (tag, root) in [
            ("alpine:latest", "alpine"),
            ("alpine:3.10", "alpine-old"),
            ("busybox:latest", "busybox"),
            ("fussybeaver/uhttpd:latest", "uhttpd"),
        ] {
            let tar = self.dir.path().join("root.tar");
            images::busybox(&tar, root)?;
            self.import(&tar, "CMD [\"/bin/sh\"]", tag)?;
        }
        let tar = self.dir.path().join("root.tar");
        images::hello(&tar)?;
        self.import(&tar, "CMD [\"/hello\"]", "hello-world:latest")?;
        for (from, to) in [
            ("hello-world:latest", "hello-world:linux"),
            ("alpine:latest", "alpine:latest"),
            ("fussybeaver/uhttpd:latest", "fussybeaver/uhttpd:latest"),
            ("hello-world:latest", "library/hello-world:latest"),
            ("busybox:latest", "library/busybox:latest"),
            ("alpine:latest", "library/alpine:latest"),
            ("alpine:3.10", "library/alpine:3.10"),
        ] {
            let to = format!("{}/{to}", self.registry.host());
            docker(&self.host()).args(["tag", from, &to]).output()?;
            let push = docker(&self.host()).args(["push", "--quiet", &to]);
            push.output()?;
            docker(&self.host()).args(["rmi", &to]).output()?;
        }
        Ok(())
    }

    fn import(&self, tar: &Path, change: &str, tag: &str) -> Result<()> {
        docker(&self.host())
            .args(["import", "--change", change])
            .arg(tar)
            .arg(tag)
            .output()?;
        Ok(())
    }
}

impl Drop for Scene {
    /// After an error: as much of it as still works.
    fn drop(&mut self) {
        if self.is_struck {
            return;
        }
        for ended in [self.end_containers(), self.end_daemon(), self.unmount()] {
            if let Err(error) = ended {
                eprintln!("judge: {}", describe(&error));
            }
        }
        drop(self.daemon.kill());
        drop(self.daemon.wait());
    }
}

fn socket(dir: &Path) -> String {
    format!("unix://{}", dir.join("docker.sock").display())
}
