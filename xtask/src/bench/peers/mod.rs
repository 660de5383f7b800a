//! The engines beside each other: each starts from nothing, pulls one image, and is gone again.

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

/// What pulls images. A life is: start, pull, then the daemon (if any) ends and `clean` runs.
pub trait Engine {
    /// Its name in reports.
    fn name(&self) -> &'static str;

    /// Starts its daemon, if it has one, with everything it keeps below `dir`.
    fn start(&self, dir: &Path, group: &Group) -> Result<Option<Daemon>>;

    /// Pulls an image.
    fn pull(&self, dir: &Path, group: &Group, reference: &str) -> Result<Pull>;

    /// Removes what would keep `dir` from being deleted.
    fn clean(&self, dir: &Path) -> Result<()>;
}

/// What an engine itself said about a pull.
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
