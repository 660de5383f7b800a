//! What a monitor is told when it is started: a file in its directory.
//!
//! Written by the daemon before the monitor starts, read once by the monitor, and readable by a later daemon
//! that wants to know what the monitor it finds is for. Nothing secret is in it: environment and
//! arguments are in the bundle.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::logs::Settings;

/// The file's name in the monitor's directory.
pub const FILE: &str = "orders.json";

/// What a monitor is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// The container's name for the runtime, or of the command for messages.
    pub id: String,
    /// What starts and removes containers.
    pub runtime: Runtime,
    /// What is to run.
    pub work: Work,
    /// A terminal instead of three pipes.
    pub terminal: Option<Terminal>,
    /// What is behind the process's standard input.
    pub stdin: Stdin,
    /// Where output is kept; nowhere if absent.
    pub log: Option<Settings>,
    /// Where the exit is recorded, durably, before anyone is told of it.
    pub exit_record: PathBuf,
    /// The container's `cgroupsPath`, to learn whether the kernel killed it for want of memory.
    pub cgroup: Option<String>,
    /// Handed to the guard that the caller of [`crate::process::run`] brings, which is
    /// called from time to time while the process lives.
    pub guard: Option<serde_json::Value>,
}

/// An OCI runtime with runc's command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime {
    /// The program: a path, or a name to look for in `PATH`.
    pub program: PathBuf,
    /// Global arguments besides `--root` and `--log`, such as `--systemd-cgroup`.
    pub arguments: Vec<String>,
    /// Where the runtime keeps its state.
    pub root: PathBuf,
}

/// What a monitor runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// A container, which the monitor also removes from the runtime's state when it has ended.
    Container {
        /// The directory with `config.json`.
        bundle: PathBuf,
    },
    /// A further command in a container that runs.
    Exec {
        /// The container's id for the runtime.
        container: String,
        /// The OCI process object, a JSON file.
        process: PathBuf,
    },
}

/// A terminal of the process. The bundle or process object must ask for one too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terminal {
    /// Its first size; the runtime's choice if absent.
    pub size: Option<Size>,
}

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Rows.
    pub height: u16,
    /// Columns.
    pub width: u16,
}

/// What is behind a process's standard input. A terminal is both ways whatever is said here, but
/// only an open one listens to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stdin {
    /// `/dev/null`.
    Closed,
    /// A pipe that stays open when clients come and go. A client that ends its input is detached.
    Open,
    /// A pipe that is closed when the first client that feeds it ends its input or goes. (With a
    /// terminal: as `Open`.)
    Once,
}

impl Orders {
    /// Writes the orders into the monitor's directory, where there must be none yet.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(FILE);
        let written = || {
            let text = serde_json::to_vec(self)?;
            let mut file = File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?;
            file.write_all(&text)
        };
        written().map_err(|source| Error::io("write", &path, source))
    }

    /// Reads the orders in a monitor's directory.
    ///
    /// # Errors
    /// What the file system says; [`Error::Orders`] if the file is not what [`Self::write`] writes.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        let mut text = Vec::new();
        File::open(&path)
            .and_then(|mut file| file.read_to_end(&mut text))
            .map_err(|source| Error::io("read", &path, source))?;
        serde_json::from_slice(&text).map_err(|source| Error::Orders { path, source })
    }
}
