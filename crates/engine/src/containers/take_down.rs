//! From a process that ended back to nothing.
//!
//! What is set up for a run is found by the container's id alone, so it is taken down the same whether the run
//! ended, could not begin, or was begun by a daemon that was killed.

use std::io::ErrorKind;
use std::path::Path;

use lapstrake_monitor::client::Client;
use lapstrake_sys::mount::{self, Unmount};

use super::Containers;
use super::dirs::{remove_dir, remove_empty};
use super::error::{Error, Result, io_error};

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
            drop(mount::unmount(&shm, Unmount::Lazy));
            remove_empty(&shm)?;
        }
        match self.inner.engine.unmount(&places.root) {
            Ok(()) => {}
            Err(crate::Error::Mount(lapstrake_snapshot::Error::NotMounted { .. })) => {
                if unmount_unrecorded(&places.root)? {
                    // The layers that only this root used.
                    self.inner.engine.run.sweep().map_err(crate::Error::from)?;
                }
            }
            Err(crate::Error::Mount(lapstrake_snapshot::Error::Io { source, .. }))
                if source.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        // Never what is below a mount: a root that is still there keeps its directory.
        remove_empty(&places.root)?;
        remove_dir(&places.run)
    }
}

/// Unmounts a root that no record names: whoever deletes a store by hand may delete its records, and not what is
/// mounted of it. Whether there was one.
fn unmount_unrecorded(root: &Path) -> Result<bool> {
    // As the table of mounts has it.
    let target = match root.canonicalize() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        found => found.map_err(io_error("look at", root))?,
    };
    let table = mount::table().map_err(io_error("read", Path::new("/proc/self/mountinfo")))?;
    let Some(mounted) = table.iter().rfind(|one| *one.target == target) else {
        return Ok(false);
    };
    let at = target.display();
    // As every driver names a root but the one that mounts a directory as it is.
    let ours = mounted.filesystem == "overlay" && *mounted.source == *Path::new("lapstrake");
    if !ours {
        let (kind, source) = (&mounted.filesystem, mounted.source.display());
        return Err(Error::Conflict(format!(
            "{at} is in the way: a file system of type {kind} ({source}) is mounted there, and no record says by whom: unmount it (umount {at}) and try again"
        )));
    }
    mount::unmount(&target, Unmount::IfIdle).map_err(|error| {
        Error::Conflict(format!(
            "{at} is in the way: it is the root of a container whose record is gone, and can't be unmounted ({error}): end what uses it (fuser -vm {at}) and try again"
        ))
    })?;
    Ok(true)
}
