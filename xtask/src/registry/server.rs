//! The server process.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use crate::command::Tool;
use crate::error::{Error, IoContext as _, Result};
use crate::files;

/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running docker-registry; stopped when dropped.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    port: u16,
    /// Configuration and log.
    run: tempfile::TempDir,
}

impl Registry {
    /// Starts one with its storage at `storage`, on loopback only.
    pub fn start(storage: &Path, port: u16) -> Result<Self> {
        files::make_dir(storage)?;
        let run = tempfile::tempdir().io("create a directory in", &std::env::temp_dir())?;
        // Else the answer of another server there would be taken for ours.
        let port = unused(port)?;
        let configuration = run.path().join("config.yml");
        let text = format!(
            "version: 0.1\n\
             log: {{ level: warn, accesslog: {{ disabled: true }} }}\n\
             storage:\n  filesystem: {{ rootdirectory: {:?} }}\n  delete: {{ enabled: true }}\n\
             http: {{ addr: \"127.0.0.1:{port}\", secret: loopback }}\n",
            storage.display().to_string()
        );
        files::replace(&configuration, text.as_bytes())?;
        let log = run.path().join("log");
        let child = Tool::new("docker-registry")
            .arg("serve")
            .arg(&configuration)
            .spawn(&log)?;
        let mut registry = Self { child, port, run };
        registry.wait_until_up(&log)?;
        Ok(registry)
    }

    /// `127.0.0.1:PORT`, the first part of its images' references.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The reference of one of our images.
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}:latest", self.host())
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the server ends.
    pub fn wait(mut self) -> Result<()> {
        let program = PathBuf::from("docker-registry");
        self.child.wait().io("wait for", &program)?;
        Ok(())
    }

    fn wait_until_up(&mut self, log: &Path) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut ended = false;
        while !ended && Instant::now() < deadline {
            if answers(self.port) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
            ended = self
                .child
                .try_wait()
                .io("wait for", Path::new("docker-registry"))?
                .is_some();
        }
        let text = std::fs::read_to_string(log).unwrap_or_default();
        eprintln!("{}", text.trim_end());
        Err(Error::NotUp {
            what: format!("docker-registry on {}", self.host()),
            seconds: PATIENCE.as_secs(),
            log: self.run.path().join("log"),
        })
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody left to tell.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// This port of loopback (0: any), if nobody listens on it now.
fn unused(port: u16) -> Result<u16> {
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    let name = PathBuf::from(address.to_string());
    let listener = TcpListener::bind(address).io("listen on", &name)?;
    Ok(listener.local_addr().io("listen on", &name)?.port())
}

/// Whether a registry speaks at this port.
fn answers(port: u16) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"GET /v2/ HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        Ok(&status[9..] == b"200")
    };
    ask().unwrap_or(false)
}
