//! A daemon that we started: it ends with its value, by SIGTERM first.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::command::Tool;
use crate::error::{Error, Result};

const PATIENCE: Duration = Duration::from_secs(30);

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts it and waits until `probe` succeeds.
    pub fn start(name: &str, tool: Tool, dir: &Path, probe: impl Fn() -> Tool) -> Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let daemon = Self {
            child: tool.spawn(&log)?,
            log,
        };
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if probe().output().is_ok() {
                return Ok(daemon);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let text = std::fs::read_to_string(&daemon.log).unwrap_or_default();
        eprintln!("{}", text.trim_end());
        let (what, seconds) = (name.to_owned(), PATIENCE.as_secs());
        Err(Error::NotUp {
            what,
            seconds,
            log: daemon.log.clone(),
        })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if pid.is_none_or(|pid| kill_process(pid, Signal::TERM).is_err()) {
            eprintln!(
                "bench: the daemon with the log {} had ended",
                self.log.display()
            );
        }
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
