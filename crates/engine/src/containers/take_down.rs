//! From a process that ended back to nothing.
//!
//! What is set up for a run is found by the container's id alone, so it is taken down the same whether the run
//! ended, could not begin, or was begun by a daemon that was killed.

use std::io::ErrorKind;

use lapstrake_monitor::client::Client;

use super::Containers;
use super::dirs::{remove_dir, remove_empty};
use super::error::Result;

impl Containers {
    /// Sees to it that nothing is left of a run before: something may still be going away, or could not be taken down.
    pub(crate) fn clear_last_run(&self, id: &str) -> Result<()> {
        self.wait_until_clean(id)?;
        match self.places(id).run.exists() {
            true => self.tear_down(id),
            false => Ok(()),
        }
    }

    /// Waits until the monitor of a run that ended has done all it had to.
    pub(crate) fn wait_until_clean(&self, id: &str) -> Result<()> {
        match Client::new(&self.places(id).run).wait() {
            Ok(wait) => Ok(wait.cleaned()?),
            Err(lapstrake_monitor::Error::Gone(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Lets go of the room of a container that does not run: a limited one may be mounted.
    pub(crate) fn let_go(&self, id: &str) {
        if let Err(error) = self.inner.engine.let_go_of_writable(id) {
            // It is only mounted for longer than it need be.
            self.note(&format!("container {id}: {error}"));
        }
    }

    /// Takes down what was set up for a run, whatever of it is there.
    pub(crate) fn tear_down(&self, id: &str) -> Result<()> {
        let places = self.places(id);
        self.forget_lost_execs(id)?;
        self.detach_mounts(id)?;
        let shm = places.run.join("shm");
        if shm.exists() {
            drop(lapstrake_sys::mount::unmount(
                &shm,
                lapstrake_sys::mount::Unmount::Lazy,
            ));
            remove_empty(&shm)?;
        }
        match self.inner.engine.unmount(&places.root) {
            Ok(()) | Err(crate::Error::Mount(lapstrake_snapshot::Error::NotMounted { .. })) => {}
            Err(crate::Error::Mount(lapstrake_snapshot::Error::Io { source, .. }))
                if source.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        // Never what is below a mount: a root that is still there keeps its directory.
        remove_empty(&places.root)?;
        remove_dir(&places.run)
    }
}
