//! Making bytes visible: a file or directory appears whole under its name, or not at all.
//!
//! The steps here say nothing of durability by themselves: [`sync_file`] and [`sync_dir`] do, and
//! callers choose when (a store's invariant 2). Nothing replaces an existing name: published
//! content is immutable, and whoever comes second learns that it is there already.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};

/// Whether a publication made the name or found it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// The name is new.
    New,
    /// Somebody else published under that name before; ours was dropped.
    Existed,
}

/// A file without a name: gone when dropped, visible only by [`StagedFile::publish`].
#[derive(Debug)]
pub struct StagedFile {
    file: File,
    /// The name it has where the file system knows no unnamed files (NFS); removed on drop.
    named: Option<PathBuf>,
}

impl StagedFile {
    /// Creates the file in `dir`, which must be on the file system where it will be published.
    /// `unique` names it where unnamed files are not to be had, and must not be in use.
    ///
    /// # Errors
    /// Whatever the file system answers to the creation.
    pub fn create(dir: &Path, unique: &str, mode: u32) -> io::Result<Self> {
        let mode = Mode::from_raw_mode(mode);
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::open(dir, flags | OFlags::TMPFILE, mode) {
            Ok(fd) => Ok(Self {
                file: fd.into(),
                named: None,
            }),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR) => {
                let path = dir.join(unique);
                let fd = rustix::fs::open(&path, flags | OFlags::CREATE | OFlags::EXCL, mode)?;
                Ok(Self {
                    file: fd.into(),
                    named: Some(path),
                })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The file, to write.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Gives the file its name, or drops it if that name is taken.
    ///
    /// # Errors
    /// Whatever the file system answers to the link.
    pub fn publish(self, name: &Path) -> io::Result<Published> {
        let linked = match &self.named {
            Some(path) => rustix::fs::linkat(CWD, path, CWD, name, AtFlags::empty()),
            None => {
                let path = format!("/proc/self/fd/{}", raw_number(&self.file));
                rustix::fs::linkat(CWD, path, CWD, name, AtFlags::SYMLINK_FOLLOW)
            }
        };
        match linked {
            Ok(()) => Ok(Published::New),
            Err(rustix::io::Errno::EXIST) => Ok(Published::Existed),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives the file its name, in the place of whatever file has that: for output, never for content.
    /// `unique` is a path in the same directory that is used for a moment.
    ///
    /// # Errors
    /// Whatever the file system answers; then what had the name has it still.
    pub fn replace(self, name: &Path, unique: &Path) -> io::Result<()> {
        if let Some(path) = &self.named {
            return replace(path, name);
        }
        if self.publish(unique)? == Published::Existed {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        replace(unique, name).inspect_err(|_| {
            // The failure is what to tell.
            drop(std::fs::remove_file(unique));
        })
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if let Some(path) = &self.named {
            // A left-over is found by the sweep of `tmp/`.
            drop(std::fs::remove_file(path));
        }
    }
}

fn raw_number(fd: &impl std::os::fd::AsRawFd) -> i32 {
    fd.as_raw_fd()
}

/// Moves a complete directory (or file) to its name, unless that name is taken.
///
/// # Errors
/// Whatever the file system answers to the rename, other than that the name exists.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<Published> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(Published::New),
        Err(rustix::io::Errno::EXIST | rustix::io::Errno::NOTEMPTY) => Ok(Published::Existed),
        // NFS has no RENAME_NOREPLACE. A plain rename of a directory fails if the target is a
        // directory with entries, which every published one is.
        Err(rustix::io::Errno::INVAL) if from.is_dir() => {
            match rustix::fs::renameat(CWD, from, CWD, to) {
                Ok(()) => Ok(Published::New),
                Err(rustix::io::Errno::EXIST | rustix::io::Errno::NOTEMPTY) => {
                    Ok(Published::Existed)
                }
                Err(error) => Err(error.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// Replaces `to` with the file `from` in one step: for state that changes, never for content.
///
/// # Errors
/// Whatever the file system answers to the rename.
pub fn replace(from: &Path, to: &Path) -> io::Result<()> {
    rustix::fs::renameat(CWD, from, CWD, to).map_err(Into::into)
}

/// Waits until a file's bytes and size are on disk.
///
/// # Errors
/// What `fdatasync(2)` says; after an error the bytes may be lost even if a second call succeeds.
pub fn sync_file(file: &File) -> io::Result<()> {
    rustix::fs::fdatasync(file).map_err(Into::into)
}

/// Waits until a directory's entries are on disk.
///
/// # Errors
/// Whatever opening or `fsync(2)` says.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    let dir = rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    rustix::fs::fsync(&dir).map_err(Into::into)
}

/// Asks the kernel to start writing a range of a file back, without waiting for it
/// (`sync_file_range(2)` with `SYNC_FILE_RANGE_WRITE`). It makes nothing durable by itself; it
/// makes a later [`sync_file`] short. File systems that don't know the call are left alone.
pub fn start_writeback(file: &File, offset: u64, length: u64) {
    let (Ok(offset), Ok(length)) = (i64::try_from(offset), i64::try_from(length)) else {
        return;
    };
    let fd = std::os::fd::AsRawFd::as_raw_fd(&file.as_fd());
    // SAFETY: the call takes no pointers, and `fd` is open for as long as `file` is borrowed.
    let _advice = unsafe { libc::sync_file_range(fd, offset, length, libc::SYNC_FILE_RANGE_WRITE) };
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_staged_file_appears_whole_and_only_once() {
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().join("x");
        let stage = |text: &[u8]| {
            let mut staged = StagedFile::create(dir.path(), "tmp", 0o644).unwrap();
            staged.file().write_all(text).unwrap();
            staged
        };
        let first = stage(b"one");
        assert!(!name.exists());
        assert_eq!(first.publish(&name).unwrap(), Published::New);
        assert_eq!(stage(b"two").publish(&name).unwrap(), Published::Existed);
        assert_eq!(std::fs::read(&name).unwrap(), b"one");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        stage(b"three")
            .replace(&name, &dir.path().join("y"))
            .unwrap();
        assert_eq!(std::fs::read(&name).unwrap(), b"three");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        let taken = stage(b"four").replace(&dir.path().join("z"), &name);
        assert_eq!(taken.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&name).unwrap(), b"three");
    }

    #[test]
    fn a_directory_moves_to_a_new_name_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["a", "b"] {
            std::fs::create_dir(path(name)).unwrap();
            File::create(path(name).join("entry")).unwrap();
        }
        assert_eq!(rename_new(&path("a"), &path("to")).unwrap(), Published::New);
        assert_eq!(
            rename_new(&path("b"), &path("to")).unwrap(),
            Published::Existed
        );
        assert!(path("b").exists());
    }
}
