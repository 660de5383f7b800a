//! Debian's docker-registry on loopback.

use std::fs::File;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Stopped when dropped.
pub(crate) struct DockerRegistry {
    child: Child,
    port: u16,
}

impl DockerRegistry {
    pub(crate) fn start(dir: &Path) -> Self {
        Self::start_with(dir, "")
    }

    /// With more lines of configuration, the first of which may go on with `http`.
    pub(crate) fn start_with(dir: &Path, settings: &str) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let storage = dir.join("storage");
        let configuration = dir.join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{ level: error }}\n\
             storage: {{ filesystem: {{ rootdirectory: {storage:?} }} }}\n\
             http:\n  addr: \"127.0.0.1:{port}\"\n{settings}"
        );
        let mut file = File::create(&configuration).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let log = File::create(dir.join("log")).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&configuration)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let registry = Self { child, port };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(Instant::now() < deadline, "docker-registry does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        registry
    }

    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
