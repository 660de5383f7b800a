//! Mounted roots: an image's stack, with or without a writable layer.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lapstrake_snapshot::{self as snapshot, Layer};

use crate::Engine;
use crate::error::{Result, io_error};
use crate::image::Claimed;
use crate::names::ImageName;

/// What may be done in a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Look.
    ReadOnly,
    /// Change; the changes are kept under this name.
    Writable(String),
}

/// A root that was mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountedRoot {
    /// Where.
    pub target: PathBuf,
    /// Layers that were mounted for it.
    pub fresh: usize,
    /// Layers that were mounted already.
    pub shared: usize,
    /// How long that took.
    pub took: Duration,
}

impl Engine {
    /// Mounts an image at a directory, which is made if it is not there.
    ///
    /// # Errors
    /// If the image isn't in the store, a layer is damaged, or the kernel refuses.
    pub fn mount(
        &self,
        image: impl Into<ImageName>,
        target: &Path,
        access: &Access,
    ) -> Result<MountedRoot> {
        let start = Instant::now();
        let claimed = self.claim(image)?;
        let mounted = self.mount_claimed(&claimed, target, access)?;
        self.note_use([&claimed.image.manifest]);
        Ok(MountedRoot {
            target: mounted.target,
            fresh: mounted.fresh,
            shared: mounted.shared,
            took: start.elapsed(),
        })
    }

    /// Mounts the root of a writable layer.
    pub(crate) fn mount_writable(&self, name: &str, target: &Path) -> Result<snapshot::Mounted> {
        let image = self.writable(name)?.image;
        let manifest = image.manifest.clone();
        let claimed = self.claim_content(&(image, manifest))?;
        self.mount_claimed(&claimed, target, &Access::Writable(name.to_owned()))
    }

    pub(crate) fn mount_claimed(
        &self,
        claimed: &Claimed,
        target: &Path,
        access: &Access,
    ) -> Result<snapshot::Mounted> {
        let (image, config) = (&claimed.image, &claimed.config);
        let place = match access {
            Access::ReadOnly => None,
            Access::Writable(name) => Some(self.enter(image, config, name)?),
        };
        std::fs::create_dir_all(target).map_err(io_error("create", target))?;
        let driver = match &place {
            None => Arc::clone(self.driver()?),
            Some(place) => self.driver_for(place)?,
        };
        let mount = |stack: &[Layer]| {
            driver.realise(stack)?;
            if let Some(place) = &place {
                driver.create(stack, place)?;
            }
            self.run.mount(&*driver, stack, place.as_deref(), target)
        };
        match mount(&self.stack(image, config)?) {
            Err(snapshot::Error::Index { .. }) => {
                self.mend_indexes(config)?;
                Ok(mount(&self.stack(image, config)?)?)
            }
            done => Ok(done?),
        }
    }

    /// Unmounts a root, and the layers that no other root uses.
    ///
    /// # Errors
    /// If it is busy or not a root of this store.
    pub fn unmount(&self, target: &Path) -> Result<()> {
        Ok(self.run.unmount(target)?)
    }
}
