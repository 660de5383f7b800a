//! Mending content: verified bytes in the place of damaged ones.
//!
//! What holds: a file that a mount may read is overwritten in place, or another one takes its name and
//! the mount keeps the old one; it is never cut short or punched. Callers verify bytes before they
//! come here.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lapstrake_oci::DiffId;

use crate::content::Content;
use crate::disk::Disk;
use crate::error::{Result, io_error};
use crate::stage::unique_name;

impl Content {
    /// Opens a layer's `data`, to overwrite it in place and then to sync it with
    /// [`Content::prove_layer`].
    ///
    /// # Errors
    /// If it can't be opened.
    pub fn open_data(&self, id: &DiffId) -> Result<File> {
        let path = self.layer_files(id).data;
        let file = File::options().read(true).write(true).open(&path);
        file.map_err(io_error("open", &path))
    }

    /// Begins a new `data` of a published layer, that is to take the place of the old one.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn new_data(&self, id: &DiffId) -> Result<NewFile> {
        self.new_file(self.layer_files(id).data)
    }

    /// Puts another skeleton in the place of a layer's.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn replace_skeleton(&self, id: &DiffId, bytes: &[u8]) -> Result<()> {
        self.replace(self.layer_files(id).skeleton, bytes)
    }

    /// Puts another span table in the place of a layer's.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn replace_spans(&self, id: &DiffId, bytes: &[u8]) -> Result<()> {
        self.replace(self.layer_files(id).spans, bytes)
    }

    /// Puts a whole file in the place of another, or where there is none.
    pub(crate) fn replace(&self, path: PathBuf, bytes: &[u8]) -> Result<()> {
        let new = self.new_file(path)?;
        let written = (&new.file).write_all(bytes);
        written.map_err(io_error("write", &new.temporary))?;
        new.publish()
    }

    fn new_file(&self, to: PathBuf) -> Result<NewFile> {
        let temporary = self.tmp().join(unique_name());
        let file = self.disk().create(&temporary);
        let file = file.map_err(io_error("create", &temporary))?;
        let dir = to.parent().unwrap_or(Path::new("/"));
        crate::disk::make_dirs(&**self.disk(), dir)?;
        Ok(NewFile {
            disk: Arc::clone(self.disk()),
            file,
            temporary,
            to,
        })
    }
}

/// A file that is to take the place of another; gone when dropped before.
#[derive(Debug)]
pub struct NewFile {
    disk: Arc<dyn Disk>,
    file: File,
    temporary: PathBuf,
    to: PathBuf,
}

impl NewFile {
    /// The file, to write, and to read back.
    ///
    /// # Errors
    /// If it can't be opened once more.
    pub fn open(&self) -> Result<File> {
        let file = File::options().read(true).write(true).open(&self.temporary);
        file.map_err(io_error("open", &self.temporary))
    }

    /// Puts it in the place of the other one, and waits until that is on disk.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn publish(self) -> Result<()> {
        let to = &self.to;
        let dir = to.parent().unwrap_or(Path::new("/"));
        let step = || -> io::Result<()> {
            self.disk.sync_file(&self.file)?;
            self.disk.replace(&self.temporary, to)?;
            self.disk.sync_dir(dir)
        };
        step().map_err(io_error("replace", to))
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // After it was published there is nothing under that name.
        drop(self.disk.remove_file(&self.temporary));
    }
}

#[cfg(test)]
mod tests {
    use lapstrake_oci::Algorithm;

    use super::*;
    use crate::HostId;
    use crate::disk::RealDisk;

    #[test]
    fn another_file_takes_the_name_and_the_old_one_stays_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("content");
        let content =
            Content::open(Arc::new(RealDisk), &path, &HostId::from_hostname("h")).unwrap();
        let id = DiffId(Algorithm::Sha256.digest(b"tar"));
        let mut stage = content.stage_layer().unwrap();
        stage.append(b"data").unwrap();
        let staged = stage.finish(b"skeleton", b"spans").unwrap();
        content.publish_layer(staged.path(), &id).unwrap();
        let files = content.layer_files(&id);
        let mut mounted = File::open(&files.data).unwrap();

        drop(content.new_data(&id).unwrap());
        let new = content.new_data(&id).unwrap();
        new.open().unwrap().write_all(b"DATA").unwrap();
        assert_eq!(std::fs::read(&files.data).unwrap(), b"data");
        new.publish().unwrap();
        content.replace_skeleton(&id, b"SKELETON").unwrap();
        content.replace_spans(&id, b"SPANS").unwrap();

        let mut seen = Vec::new();
        io::Read::read_to_end(&mut mounted, &mut seen).unwrap();
        assert_eq!(seen, b"data");
        assert_eq!(std::fs::read(&files.data).unwrap(), b"DATA");
        assert_eq!(std::fs::read(&files.skeleton).unwrap(), b"SKELETON");
        assert_eq!(std::fs::read(&files.spans).unwrap(), b"SPANS");
        assert_eq!(std::fs::read_dir(content.tmp()).unwrap().count(), 0);
    }
}
