//! The runtime's calls: start, with one call, and remove.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Pid;
use serde::Deserialize;

use crate::orders::{Orders, Work};
use crate::process::complaints::Complaints;
use crate::wire::ANSWER_LIMIT;

/// The file to which the runtime writes the process's id.
const PID: &str = "pid";

/// The file to which the runtime writes its messages.
const LOG: &str = "runtime.log";

/// The monitor is killed last when memory is short, short of never.
const MONITOR_SCORE: &str = "-999";

/// How the runtime is called.
#[derive(Debug)]
pub(super) struct Runtime {
    orders: crate::orders::Runtime,
    id: String,
    work: Work,
    pid: PathBuf,
    log: PathBuf,
    complaints: Complaints,
    /// What the kernel is to prefer when memory is short, as this process inherited it.
    score: Option<String>,
}

impl Runtime {
    pub(super) fn new(orders: &Orders, dir: &Path, complaints: &Complaints) -> Self {
        let score = std::fs::read_to_string("/proc/self/oom_score_adj").ok();
        let protected = write_score("self", MONITOR_SCORE);
        Self {
            orders: orders.runtime.clone(),
            id: orders.id.clone(),
            work: orders.work.clone(),
            pid: dir.join(PID),
            log: dir.join(LOG),
            complaints: complaints.clone(),
            score: protected.ok().and(score),
        }
    }

    /// Whether the runtime has a container of that id already. It would not start another; removing what it
    /// left of the attempt would remove that one.
    pub(super) fn is_taken(&self) -> bool {
        let container = matches!(self.work, Work::Container { .. });
        container && self.orders.root.join(&self.id).exists()
    }

    /// Calls the runtime to start the process; it ends when that runs.
    pub(super) fn start(
        &mut self,
        console: Option<&Path>,
        [stdin, stdout, stderr]: [Stdio; 3],
    ) -> io::Result<Pid> {
        let mut command = self.command(&self.log);
        match &self.work {
            Work::Container { bundle } => {
                command
                    .arg("run")
                    .arg("--detach")
                    .arg("--bundle")
                    .arg(bundle);
            }
            Work::Exec { process, .. } => {
                command
                    .arg("exec")
                    .arg("--detach")
                    .arg("--process")
                    .arg(process);
            }
        }
        command.arg("--pid-file").arg(&self.pid);
        if let Some(console) = console {
            command.arg("--console-socket").arg(console);
        }
        command.arg(match &self.work {
            Work::Container { .. } => &self.id,
            Work::Exec { container, .. } => container,
        });
        command.stdin(stdin).stdout(stdout).stderr(stderr);
        self.spawn(&mut command)
    }

    /// Calls the runtime to remove its state of the container, if it was for one.
    pub(super) fn remove(&mut self) -> io::Result<Option<Pid>> {
        let Work::Container { .. } = self.work else {
            return Ok(None);
        };
        // Whoever was told of the exit may have removed the monitor's directory, and a log in it.
        let mut command = self.command(Path::new("/dev/null"));
        command.arg("delete").arg("--force").arg(&self.id);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.spawn(&mut command).map(Some)
    }

    fn command(&self, log: &Path) -> Command {
        let mut command = Command::new(&self.orders.program);
        command.args(&self.orders.arguments);
        command.arg("--root").arg(&self.orders.root);
        command
            .arg("--log")
            .arg(log)
            .arg("--log-format")
            .arg("json");
        command
    }

    /// What is started is reaped with all other children.
    fn spawn(&mut self, command: &mut Command) -> io::Result<Pid> {
        let child = command.spawn()?;
        if let Some(score) = &self.score {
            let restored = write_score(&child.id().to_string(), score);
            self.complaints.note("restore the OOM score", restored);
        }
        Ok(Pid::from_child(&child))
    }

    /// The process that was started.
    pub(super) fn started(&self) -> io::Result<Pid> {
        let text = std::fs::read_to_string(&self.pid)?;
        let number = text.trim().parse().ok().and_then(Pid::from_raw);
        number.ok_or(io::ErrorKind::InvalidData.into())
    }

    /// The runtime's last words: the last error in its log.
    pub(super) fn last_error(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Line {
            level: String,
            msg: String,
        }
        let mut text = Vec::new();
        let file = File::open(&self.log).ok()?;
        file.take(1 << 20).read_to_end(&mut text).ok()?;
        let lines = text.split(|byte| *byte == b'\n');
        let mut errors = lines
            .filter_map(|line| serde_json::from_slice::<Line>(line).ok())
            .filter(|line| matches!(line.level.as_str(), "error" | "fatal" | "panic"));
        errors.next_back().map(|line| cut(line.msg))
    }
}

/// What fits into an answer, with the quotes that JSON needs.
pub(super) fn cut(mut text: String) -> String {
    let end = text.floor_char_boundary(ANSWER_LIMIT / 8);
    text.truncate(end);
    text
}

fn write_score(process: &str, score: &str) -> io::Result<()> {
    let path = format!("/proc/{process}/oom_score_adj");
    File::options()
        .write(true)
        .open(path)?
        .write_all(score.as_bytes())
}
