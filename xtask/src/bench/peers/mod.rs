//! The engines beside each other: each starts from nothing, pulls or loads one image, does with it
//! what is measured, and is gone again.

mod containerd;
mod daemon;
mod docker;
mod lapstrake;
mod podman;

use std::path::Path;

pub use containerd::Containerd;
pub use daemon::Daemon;
pub use docker::Docker;
pub use lapstrake::{Lapstrake, Told};
pub use podman::Podman;

use super::cgroup::Group;
use crate::error::Result;

/// What moves images. A life is: start, pull or load, perhaps save or push, then the daemon (if any)
/// ends and `clean` runs. Everything happens in `group`, below `dir`.
pub trait Engine {
    /// Its name in reports.
    fn name(&self) -> &'static str;

    /// Starts its daemon, if it has one, with everything it keeps below `dir`.
    fn start(&self, dir: &Path, group: &Group) -> Result<Option<Daemon>>;

    /// Pulls an image.
    fn pull(&self, dir: &Path, group: &Group, reference: &str) -> Result<Pull>;

    /// Loads a docker-archive.
    fn load(&self, dir: &Path, group: &Group, archive: &Path) -> Result<Pull>;

    /// Saves an image as an archive in the engine's own form.
    fn save(&self, dir: &Path, group: &Group, reference: &str, archive: &Path) -> Result<()>;

    /// Gives an image one more name.
    fn tag(&self, dir: &Path, group: &Group, image: &str, name: &str) -> Result<()>;

    /// Pushes the image of this name to the registry in the name.
    fn push(&self, dir: &Path, group: &Group, name: &str) -> Result<()>;

    /// Removes what would keep `dir` from being deleted.
    fn clean(&self, dir: &Path) -> Result<()>;
}

/// What an engine itself said about a pull or a load.
#[derive(Debug, Default, Clone, Copy)]
pub struct Pull {
    /// Seconds until a command could run, where that is before the client's end.
    pub ready: Option<f64>,
    /// Whether everything was on disk when the client ended.
    pub durable: bool,
}

/// Ours first, then Debian's.
pub fn all(lapstrake: &Path) -> Vec<Box<dyn Engine>> {
    vec![
        Box::new(Lapstrake::new(lapstrake)),
        Box::new(Docker),
        Box::new(Containerd),
        Box::new(Podman),
    ]
}
