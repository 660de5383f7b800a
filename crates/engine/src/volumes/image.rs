//! Images as mounts: the root of an image, read-only, for as long as a container runs.
//!
//! Each user has mounts of its own, below a directory with the user's name. What is mounted keeps its layers.

use std::path::{Path, PathBuf};

use super::Volumes;
use super::error::{Result, io_error};
use crate::{Access, Engine, ImageName};

/// An image that is mounted for a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachedImage {
    /// What to show: the image's root, or a part of it.
    pub path: PathBuf,
}

impl Volumes {
    /// Mounts an image for a user, and says where it, or a part of it, is.
    ///
    /// # Errors
    /// If the image is not here or can't be mounted, or has no such part.
    pub fn attach_image(
        &self,
        engine: &Engine,
        image: ImageName,
        subpath: Option<&str>,
        user: &str,
    ) -> Result<AttachedImage> {
        let home = self.inner.images().join(user);
        std::fs::create_dir_all(&home).map_err(io_error("create", &home))?;
        let of = format!("image {image}");
        let root = free_name(&home)?;
        engine.mount(image, &root, &Access::ReadOnly)?;
        let Some(subpath) = subpath.filter(|subpath| !subpath.is_empty()) else {
            return Ok(AttachedImage { path: root });
        };
        match self.inner.hold_part(&root, subpath, &of) {
            Ok(path) => {
                let mut parts = super::held(&self.inner.image_parts);
                parts.entry(user.to_owned()).or_default().push(path.clone());
                Ok(AttachedImage { path })
            }
            Err(error) => {
                // The failure is what to tell.
                drop(engine.unmount(&root));
                drop(std::fs::remove_dir(&root));
                Err(error)
            }
        }
    }

    /// Unmounts all images of a user.
    ///
    /// # Errors
    /// If one is busy.
    pub fn detach_images(&self, engine: &Engine, user: &str) -> Result<()> {
        let parts = super::held(&self.inner.image_parts).remove(user);
        self.inner.release_parts(parts)?;
        let home = self.inner.images().join(user);
        let entries = match std::fs::read_dir(&home) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(io_error("list", &home)(error)),
        };
        for entry in entries {
            let root = entry.map_err(io_error("list", &home))?.path();
            let is_root = engine.run.roots().map_err(crate::Error::from)?;
            if let Some(live) = is_root.iter().find(|live| live.target == root) {
                engine.unmount(&root)?;
                engine.note_use_of(&live.layers);
            }
            match std::fs::remove_dir(&root) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(io_error("remove", &root)(error));
                }
                _ => {}
            }
        }
        std::fs::remove_dir(&home).map_err(io_error("remove", &home))
    }

    /// Users for whom an earlier daemon mounted images.
    ///
    /// # Errors
    /// If the directory can't be read.
    pub fn image_users(&self) -> Result<Vec<String>> {
        super::sweep::names(&self.inner.images())
    }
}

impl super::Inner {
    fn images(&self) -> PathBuf {
        self.run.join("volume-images")
    }
}

fn free_name(home: &Path) -> Result<PathBuf> {
    let mut number = 0_u32;
    loop {
        let path = home.join(number.to_string());
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(io_error("create", &path)(error)),
        }
    }
}
