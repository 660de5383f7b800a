//! Where built images are kept, and the lock that one builder at a time holds.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::error::{Error, IoContext as _, Result};
use crate::files;

/// The image cache: a directory outside the repository.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The directory asked for, else `LAPSTRAKE_IMAGE_CACHE`, else `~/.cache/lapstrake/images`.
    pub fn open(asked: Option<&Path>) -> Result<Self> {
        let root = match asked {
            Some(path) => path.to_owned(),
            None => match std::env::var_os("LAPSTRAKE_IMAGE_CACHE") {
                Some(path) if !path.is_empty() => PathBuf::from(path),
                _ => home()?.join(".cache/lapstrake/images"),
            },
        };
        let root = std::path::absolute(&root).io("find", &root)?;
        files::make_dir(&root)?;
        Ok(Self { root })
    }

    /// Blocks until no other process builds in this cache; released when dropped.
    pub fn lock(&self) -> Result<File> {
        let path = self.root.join("lock");
        let file = File::create(&path).io("create", &path)?;
        file.lock().io("lock", &path)?;
        Ok(file)
    }

    /// The OCI image layout with every image.
    pub fn layout(&self) -> PathBuf {
        self.root.join("layout")
    }

    /// What steps left.
    pub fn stages(&self) -> PathBuf {
        self.root.join("stages")
    }

    /// Uncompressed layer tars.
    pub fn tars(&self) -> PathBuf {
        self.root.join("tars")
    }

    /// Notes of which blob a tar became.
    pub fn compressed(&self) -> PathBuf {
        self.root.join("compressed")
    }

    /// Downloaded packages.
    pub fn debs(&self) -> PathBuf {
        self.root.join("debs")
    }

    /// Suites of tests that others wrote, and what they need.
    pub fn judge(&self) -> PathBuf {
        self.root.join("judge")
    }

    /// Storage of docker-registry, filled with the images.
    pub fn registry(&self) -> PathBuf {
        self.root.join("registry")
    }
}

fn home() -> Result<PathBuf> {
    std::env::home_dir()
        .filter(|path| path.is_absolute())
        .ok_or(Error::NoCache)
}
