//! Mounted roots: an image's stack, with or without a writable layer.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lapstrake_drivers::erofs::{self, CopyUp, PageCache, Request, Writable};
use lapstrake_oci::Reference;

use crate::Engine;
use crate::error::{Error, Result, io_error};

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
        reference: &Reference,
        target: &Path,
        access: &Access,
    ) -> Result<MountedRoot> {
        let start = Instant::now();
        let image = self.image(reference)?;
        let config = self.config(&image)?;
        let writable = match access {
            Access::ReadOnly => None,
            Access::Writable(name) => Some(self.writable(name)?),
        };
        std::fs::create_dir_all(target).map_err(io_error("create", target))?;
        let mut request = Request {
            layers: self.stack(&image, &config)?,
            writable,
            target: target.to_owned(),
            // See docs/design/0002-page-cache.md.
            cache: PageCache::Direct,
        };
        let mounted = match erofs::mount(&self.run, &request) {
            Err(erofs::Error::Index { .. }) => {
                self.mend_indexes(&config)?;
                request.layers = self.stack(&image, &config)?;
                erofs::mount(&self.run, &request)?
            }
            done => done?,
        };
        Ok(MountedRoot {
            target: mounted.target,
            fresh: mounted.fresh,
            shared: mounted.shared,
            took: start.elapsed(),
        })
    }

    /// Unmounts a root, and the layers that no other root uses.
    ///
    /// # Errors
    /// If it is busy or not a root of this store.
    pub fn unmount(&self, target: &Path) -> Result<()> {
        Ok(erofs::unmount(&self.run, target)?)
    }

    /// The directory of a writable layer.
    pub(crate) fn container_dir(&self, name: &str) -> Result<PathBuf> {
        let is_word = |b: u8| b.is_ascii_alphanumeric();
        let fits = name
            .bytes()
            .all(|b| is_word(b) || matches!(b, b'-' | b'_' | b'.'));
        if !fits || name.len() > 128 || !name.bytes().next().is_some_and(is_word) {
            return Err(Error::Name(name.to_owned()));
        }
        Ok(self
            .store
            .root()
            .join("state")
            .join("containers")
            .join(name))
    }

    fn writable(&self, name: &str) -> Result<Writable> {
        let dir = self.container_dir(name)?;
        let (upper, work) = (dir.join("upper"), dir.join("work"));
        for path in [&upper, &work] {
            std::fs::create_dir_all(path).map_err(io_error("create", path))?;
        }
        Ok(Writable {
            upper,
            work,
            copy_up: CopyUp::AttributesFirst,
        })
    }
}
