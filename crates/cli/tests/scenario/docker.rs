//! dockerd for one test: its own data, its own containerd, no network.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Stopped when dropped.
pub(crate) struct Docker {
    child: Child,
    dir: PathBuf,
    run: PathBuf,
}

impl Docker {
    /// `None` says why on standard error.
    pub(crate) fn start(test: &str, dir: &Path) -> Option<Self> {
        for tool in ["dockerd", "docker"] {
            if Command::new(tool).arg("--version").output().is_err() {
                eprintln!("SKIPPED the part of {test} with dockerd: needs {tool}");
                return None;
            }
        }
        fs::create_dir_all(dir).unwrap();
        // Short, since the sockets of its containerd are below it.
        let run = PathBuf::from(format!("/run/lapstrake-test-docker-{}", std::process::id()));
        let log = File::create(dir.join("log")).unwrap();
        let child = Command::new("dockerd")
            .args(["--bridge=none", "--iptables=false", "--ip6tables=false"])
            .args(["--userland-proxy=false", "--storage-driver=overlay2"])
            .arg("--data-root")
            .arg(dir.join("root"))
            .arg("--exec-root")
            .arg(&run)
            .arg("--pidfile")
            .arg(dir.join("pid"))
            .arg("-H")
            .arg(format!("unix://{}", dir.join("sock").display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let docker = Self {
            child,
            dir: dir.to_owned(),
            run,
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !docker
            .client()
            .arg("version")
            .output()
            .unwrap()
            .status
            .success()
        {
            assert!(Instant::now() < deadline, "{}", docker.log());
            std::thread::sleep(Duration::from_millis(100));
        }
        Some(docker)
    }

    /// The client.
    pub(crate) fn client(&self) -> Command {
        let mut client = Command::new("docker");
        client
            .arg("-H")
            .arg(format!("unix://{}", self.dir.join("sock").display()))
            .env("DOCKER_CONFIG", self.dir.join("client"));
        client
    }

    fn log(&self) -> String {
        let mut log = String::new();
        drop(
            File::open(self.dir.join("log"))
                .unwrap()
                .read_to_string(&mut log),
        );
        log
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // It stops its containerd when it is asked to end.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _asked = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(15);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
        }
        drop(self.child.kill());
        drop(self.child.wait());
        // Its data lies bind-mounted on itself.
        let root = self.dir.join("root");
        let _gone = rustix::mount::unmount(&root, rustix::mount::UnmountFlags::DETACH);
        drop(fs::remove_dir_all(&self.run));
    }
}
