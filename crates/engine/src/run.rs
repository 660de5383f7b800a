//! Running a command in an image, in the foreground, through an OCI runtime.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use lapstrake_oci::Reference;

use crate::Engine;
use crate::error::{Error, Result, io_error};
use crate::root::Access;
use crate::runtime_spec;

/// How to run a command.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The container's name; also that of its writable layer.
    pub name: String,
    /// The command; with none, the image's own.
    pub command: Vec<String>,
    /// The OCI runtime: a program on the path, or a path.
    pub runtime: String,
}

impl Engine {
    /// Runs a command in a fresh root with its own writable layer, which is removed afterwards.
    /// Standard input, output and error are the caller's; there is no network but loopback.
    ///
    /// # Errors
    /// If the image isn't in the store, the root can't be mounted or the runtime can't be started.
    pub fn run(&self, reference: &Reference, options: &RunOptions) -> Result<ExitStatus> {
        let image = self.image(reference)?;
        let config = self.config(&image)?;
        let layer = self.container_dir(&options.name)?;
        let bundle = self.run_path.join("bundles").join(&options.name);
        let root = bundle.join("rootfs");
        let cleanup = Cleanup {
            engine: self,
            root: root.clone(),
            dirs: vec![bundle.clone(), layer],
        };
        self.mount(reference, &root, &Access::Writable(options.name.clone()))?;
        let spec = runtime_spec::build(config.value(), &options.command, &options.name, &root)?
            .ok_or_else(|| Error::NoCommand(reference.familiar()))?;
        write(&bundle.join("config.json"), &spec)?;
        let status = Command::new(&options.runtime)
            .arg("--root")
            .arg(self.run_path.join("runtime"))
            .args(["run", "--bundle"])
            .arg(&bundle)
            .arg(&options.name)
            .status()
            .map_err(|source| Error::Runtime {
                runtime: options.runtime.clone(),
                source,
            })?;
        cleanup.finish()?;
        Ok(status)
    }
}

fn write(path: &Path, spec: &serde_json::Value) -> Result<()> {
    let text = serde_json::to_vec_pretty(spec).expect("a JSON value is JSON");
    let mut file = File::create(path).map_err(io_error("create", path))?;
    file.write_all(&text).map_err(io_error("write", path))
}

/// Undoes what a run made, also when it fails half-way.
struct Cleanup<'a> {
    engine: &'a Engine,
    root: PathBuf,
    dirs: Vec<PathBuf>,
}

impl Cleanup<'_> {
    fn finish(mut self) -> Result<()> {
        self.undo()
    }

    fn undo(&mut self) -> Result<()> {
        let dirs = std::mem::take(&mut self.dirs);
        if dirs.is_empty() {
            return Ok(());
        }
        self.engine.unmount(&self.root)?;
        for dir in dirs {
            match std::fs::remove_dir_all(&dir) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(io_error("remove", &dir)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Drop for Cleanup<'_> {
    fn drop(&mut self) {
        // On the way out of a failure; that failure is the one to tell.
        drop(self.undo());
    }
}
