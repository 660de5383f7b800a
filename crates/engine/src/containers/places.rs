//! Where what belongs to a container lies.

use std::path::PathBuf;

use lapstrake_monitor::Exit;

use super::Containers;
use super::error::Result;
use crate::Engine;

/// The directories of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    /// Its bundle and its monitor's directory, while it runs.
    pub(crate) run: PathBuf,
    /// Where its root is mounted.
    pub(crate) root: PathBuf,
    /// What stays: its log, its exit record, `/etc/hosts` and the like.
    pub(crate) files: PathBuf,
}

impl Places {
    /// The log that the daemon's log drivers write.
    pub(crate) fn log(&self, id: &str) -> PathBuf {
        self.files.join(format!("{id}-json.log"))
    }

    /// Where its monitor writes down how it ended. For one that is then removed, that need not outlive a boot:
    /// it costs no wait for the disk.
    pub(crate) fn exit(&self, auto_remove: bool) -> PathBuf {
        let dir = if auto_remove { &self.run } else { &self.files };
        dir.join("exit.json")
    }

    /// How it ended last, if that was written down in either place.
    pub(crate) fn read_exit(&self) -> Result<Option<Exit>> {
        match Exit::read(&self.exit(true))? {
            Some(exit) => Ok(Some(exit)),
            None => Ok(Exit::read(&self.exit(false))?),
        }
    }

    /// What stands for a file below `/etc` in the container.
    pub(crate) fn etc(&self, name: &str) -> PathBuf {
        self.files.join(name)
    }

    /// The directory of the monitor of something that runs beside its init.
    pub(crate) fn exec(&self, exec: &str) -> PathBuf {
        self.run.join("exec").join(exec)
    }
}

impl Engine {
    /// Where what stays of containers is, below their ids.
    pub(crate) fn container_files(&self) -> PathBuf {
        self.root().join("state").join("container-files")
    }
}

impl Containers {
    pub(crate) fn places(&self, id: &str) -> Places {
        let run = self.run_dir().join(id);
        Places {
            root: run.join("rootfs"),
            run,
            files: self.files_dir().join(id),
        }
    }

    /// Where running containers are.
    pub(crate) fn run_dir(&self) -> PathBuf {
        self.inner.engine.run_path.join("containers")
    }

    /// Where what stays of containers is.
    pub(crate) fn files_dir(&self) -> PathBuf {
        self.inner.engine.container_files()
    }

    /// Where OCI runtimes keep their state.
    pub(crate) fn runtime_state(&self) -> PathBuf {
        self.inner.engine.run_path.join("runtime")
    }
}
