//! Taking a volume away, unless somebody uses it.

use std::path::Path;
use std::sync::Arc;

use lapstrake_snapshot::room;
use lapstrake_store::Commit;
use lapstrake_sys::{mount, publish};

use super::error::{Error, Result, io_error};
use super::table::Volume;
use super::{Inner, UsersOf, Volumes};

impl Volumes {
    /// Removes a volume. It is gone when this returns; what it used is freed in the background, or when the
    /// volumes are opened next.
    ///
    /// # Errors
    /// If there is none, a container uses it, or the store refuses.
    pub fn remove(&self, name: &str, users: &UsersOf<'_>) -> Result<()> {
        let volume = self.inner.table.get(name);
        let volume = volume.ok_or_else(|| Error::Missing(name.to_owned()))?;
        self.inner.remove(&volume, users)
    }
}

impl Inner {
    pub(super) fn remove(&self, volume: &Arc<Volume>, users: &UsersOf<'_>) -> Result<()> {
        let name = &volume.name;
        let in_use = |users: Vec<String>| Error::InUse {
            name: name.clone(),
            users,
        };
        // Whoever changes it now uses it, and may wait for its file system.
        let Some(mut held) = volume.try_change() else {
            return Err(in_use(users(name)));
        };
        if held.gone || volume.record().is_none() {
            return Err(Error::Missing(name.clone()));
        }
        // Claims before records: a claim is let go of when the record is there.
        let claimed = self.claims.of(name);
        let used = if claimed.is_empty() {
            users(name)
        } else {
            claimed
        };
        if !used.is_empty() {
            return Err(in_use(used));
        }
        if !held.attached.is_empty() {
            return Err(in_use(held.attached.iter().cloned().collect()));
        }
        self.refuse_mounts(name)?;
        self.counter.forget(name);
        self.change(volume, Commit::Synced, |record| record.removing = true)?;
        self.finish_removal(name)?;
        self.table.forget(volume, &mut held);
        Ok(())
    }

    /// What somebody mounted in a volume would be emptied with it.
    fn refuse_mounts(&self, name: &str) -> Result<()> {
        let home = super::real_path(&self.home)?.join(name);
        let image = super::rooms_run(&self.run).join(name).join("_data");
        let table = mount::table().map_err(io_error("read", Path::new("/proc/self/mountinfo")))?;
        let mut inside = table.into_iter().map(|mounted| mounted.target);
        match inside.find(|target| target.starts_with(&home) || target.starts_with(&image)) {
            Some(target) => Err(Error::MountedIn {
                name: name.to_owned(),
                target: target.into(),
            }),
            None => Ok(()),
        }
    }

    /// Takes away what there is of a volume whose record says that it is being removed.
    pub(super) fn finish_removal(&self, name: &str) -> Result<()> {
        self.unmount(name)?;
        match self.rooms.remove(&Self::room(name)?) {
            Ok(()) | Err(room::Error::Missing(_)) => {}
            Err(error) => return Err(error.into()),
        }
        // Or a power cut might bring back a room without a record, and that would be a volume again.
        publish::sync_dir(&self.home).map_err(io_error("sync", &self.home))?;
        self.store.state().remove_volume(name)?;
        Ok(())
    }
}
