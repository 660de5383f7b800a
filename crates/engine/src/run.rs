//! Running a command in an image, in the foreground, through an OCI runtime.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, SystemTime};

use lapstrake_snapshot::room::Limit;

use crate::Engine;
use crate::error::{Error, Result, io_error};
use crate::names::ImageName;
use crate::root::Access;
use crate::runtime_spec;
use crate::writable::guard_rooms;

/// How to run a command.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The container's name; also that of its writable layer.
    pub name: String,
    /// The command; with none, the image's own.
    pub command: Vec<String>,
    /// The OCI runtime: a program on the path, or a path.
    pub runtime: String,
    /// What the command may write in its root.
    pub limit: Limit,
}

/// A root and a specification that an OCI runtime can run. It stays when dropped: give it back to
/// [`Engine::discard`].
#[derive(Debug)]
#[must_use = "its root stays mounted"]
pub struct Bundle {
    name: String,
    runtime: String,
    /// Where the runtime keeps its state.
    state: PathBuf,
    dir: PathBuf,
    /// The store's root and the run directory.
    rooms: (PathBuf, PathBuf),
}

/// How often the space that limited layers were promised is looked after.
const GUARD_INTERVAL: Duration = Duration::from_millis(500);

impl Engine {
    /// Mounts a fresh root with its own writable layer, for [`Bundle::run`].
    ///
    /// # Errors
    /// If the image isn't in the store, or the root can't be mounted.
    pub fn bundle(&self, image: impl Into<ImageName>, options: &RunOptions) -> Result<Bundle> {
        let image = image.into();
        let claimed = self.claim(&image)?;
        let bundle = Bundle {
            name: options.name.clone(),
            runtime: options.runtime.clone(),
            state: self.run_path.join("runtime"),
            dir: self.run_path.join("bundles").join(&options.name),
            rooms: (self.store.root().to_owned(), self.run_path.clone()),
        };
        // Both must be new, or a failure here would remove what belongs to another container.
        create_new(&bundle.dir)?;
        if let Err(error) = self.create_over(&claimed, &options.name, options.limit) {
            drop(bundle.remove());
            return Err(error);
        }
        let root = bundle.root();
        let access = Access::Writable(options.name.clone());
        if let Err(error) = self.mount_claimed(&claimed, &root, &access) {
            // The failure is what to tell, not that its remains can't be removed.
            drop(self.remove_bundle(&bundle));
            return Err(error);
        }
        let specify = || {
            let config = claimed.config.value();
            let spec = runtime_spec::build(config, &options.command, &options.name, &root)?
                .ok_or_else(|| Error::NoCommand(image.to_string()))?;
            write(&bundle.dir.join("config.json"), &spec)
        };
        match specify() {
            Ok(()) => Ok(bundle),
            Err(error) => {
                drop(self.discard(&bundle));
                Err(error)
            }
        }
    }

    /// Unmounts the root of a bundle, and removes it with its writable layer.
    ///
    /// # Errors
    /// If the root is busy, or the file system refuses.
    pub fn discard(&self, bundle: &Bundle) -> Result<()> {
        self.unmount(&bundle.root())?;
        self.remove_bundle(bundle)
    }

    fn remove_bundle(&self, bundle: &Bundle) -> Result<()> {
        bundle.remove()?;
        self.remove_used_writable(&bundle.name, Some(SystemTime::now()))
    }
}

impl Bundle {
    fn remove(&self) -> Result<()> {
        match std::fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(io_error("remove", &self.dir)(error))
            }
            _ => Ok(()),
        }
    }

    fn root(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// Runs the command. Standard input, output and error are the caller's; there is no network but
    /// loopback. The store is not touched, so nobody need own it meanwhile.
    ///
    /// # Errors
    /// If the runtime can't be started.
    pub fn run(&self) -> Result<ExitStatus> {
        std::thread::scope(|scope| {
            let (running, ended) = mpsc::channel();
            scope.spawn(move || self.guard(&ended));
            let status = Command::new(&self.runtime)
                .arg("--root")
                .arg(&self.state)
                .args(["run", "--bundle"])
                .arg(&self.dir)
                .arg(&self.name)
                .status();
            drop(running);
            status.map_err(|source| Error::Runtime {
                runtime: self.runtime.clone(),
                source,
            })
        })
    }

    /// Sees to it that the writable layer runs full before the disk does, until the command ended.
    fn guard(&self, ended: &mpsc::Receiver<()>) {
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(GUARD_INTERVAL) {
            // One that fails changes nothing: what was shared out before stays. The next may not.
            drop(guard_rooms(&self.rooms.0, &self.rooms.1));
        }
    }
}

fn create_new(dir: &Path) -> Result<()> {
    let parent = dir.parent().unwrap_or(dir);
    std::fs::create_dir_all(parent).map_err(io_error("create", parent))?;
    std::fs::create_dir(dir).map_err(io_error("create", dir))
}

fn write(path: &Path, spec: &serde_json::Value) -> Result<()> {
    let text = serde_json::to_vec_pretty(spec).expect("a JSON value is JSON");
    let mut file = File::create(path).map_err(io_error("create", path))?;
    file.write_all(&text).map_err(io_error("write", path))
}
