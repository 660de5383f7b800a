//! Files that are written for others: whole under their name, or not there.
//!
//! A regular file has no name until it is complete; then it takes the place of what has the name. A crash
//! or a kill leaves nothing (on NFS, a file `.lapstrake-…`). It is not synced: whoever needs it after a
//! power cut syncs it. A device, a pipe, and whatever a symbolic link leads to, is written in place, for
//! there the name is not ours to give.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use lapstrake_sys::publish::{Published, StagedFile, rename_new};

use lapstrake_transfer::archive::Out;

use crate::error::{Error, Result, io_error};

/// As Docker's: an image may hold what is not for everyone.
const MODE: u32 = 0o600;

/// Where to write.
#[derive(Debug)]
pub enum Target<'a> {
    /// To a file.
    File(&'a Path),
    /// To a stream that is open.
    Stream(File),
}

/// A file that is being written.
pub(crate) enum Output {
    Staged {
        staged: StagedFile,
        path: PathBuf,
        unique: PathBuf,
    },
    InPlace(File),
}

impl Output {
    pub(crate) fn to(target: &Target<'_>) -> Result<Self> {
        let path = match target {
            Target::File(path) => *path,
            Target::Stream(file) => {
                let file = file.try_clone();
                let file = file.map_err(io_error("open again", Path::new("the output")))?;
                return Ok(Self::InPlace(file));
            }
        };
        let is_ours = match std::fs::symlink_metadata(path) {
            Ok(metadata) => metadata.is_file(),
            Err(error) if error.kind() == ErrorKind::NotFound => true,
            Err(error) => return Err(io_error("write", path)(error)),
        };
        if !is_ours {
            let file = File::options().write(true).truncate(true).open(path);
            return Ok(Self::InPlace(file.map_err(io_error("write", path))?));
        }
        let unique = unique_beside(path);
        let name = unique.file_name().unwrap_or_default().to_string_lossy();
        let dir = directory_of(path);
        let staged = StagedFile::create(dir, &name, MODE).map_err(io_error("write", path))?;
        Ok(Self::Staged {
            staged,
            path: path.to_owned(),
            unique,
        })
    }

    /// Gives the file its name.
    pub(crate) fn finish(self) -> Result<()> {
        match self {
            Self::Staged {
                staged,
                path,
                unique,
            } => staged
                .replace(&path, &unique)
                .map_err(io_error("write", &path)),
            Self::InPlace(_) => Ok(()),
        }
    }

    /// The file, and whether it is a regular one.
    pub(crate) fn out(&mut self) -> Out<'_> {
        match self {
            Self::Staged { staged, .. } => Out::File(staged.file()),
            Self::InPlace(file) => Out::Stream(file),
        }
    }

    fn file(&mut self) -> &mut File {
        match self {
            Self::Staged { staged, .. } => staged.file(),
            Self::InPlace(file) => file,
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file().flush()
    }
}

/// Makes a new directory: `fill` makes what is in it, and it gets its name when that is complete.
pub(crate) fn new_directory(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let taken = || io_error("make", path)(ErrorKind::AlreadyExists.into());
    if std::fs::symlink_metadata(path).is_ok() {
        return Err(taken());
    }
    let made = Made(unique_beside(path));
    std::fs::create_dir(&made.0).map_err(io_error("make", path))?;
    fill(&made.0)?;
    match rename_new(&made.0, path).map_err(io_error("make", path))? {
        Published::New => Ok(()),
        Published::Existed => Err(taken()),
    }
}

/// A directory that is removed unless it got its name.
struct Made(PathBuf);

impl Drop for Made {
    fn drop(&mut self) {
        // A failure before is what to tell.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn unique_beside(path: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!(".lapstrake-{}-{number}", std::process::id());
    directory_of(path).join(name)
}

/// Whether a write failed because nobody reads any more.
pub fn reader_went(error: &Error) -> bool {
    use lapstrake_transfer::Error as Transfer;
    use lapstrake_tree::changes::Error as Changes;
    let source = match error {
        Error::Transfer(Transfer::Output(source)) => source,
        Error::Changes(Changes::Output(source))
        | Error::Transfer(Transfer::Changes(Changes::Output(source))) => source,
        _ => return false,
    };
    source.kind() == ErrorKind::BrokenPipe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_whole_or_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        for (text, finish, seen) in [
            ("one", true, "one"),
            ("two", false, "one"),
            ("3", true, "3"),
        ] {
            let mut output = Output::to(&Target::File(&path)).unwrap();
            output.write_all(text.as_bytes()).unwrap();
            if finish {
                output.finish().unwrap();
            }
            assert_eq!(std::fs::read_to_string(&path).unwrap(), seen);
            assert_eq!(names(dir.path()), ["x"]);
        }
    }

    #[test]
    fn what_a_link_leads_to_is_written_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let (link, path) = (dir.path().join("link"), dir.path().join("x"));
        File::create(&path).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let mut output = Output::to(&Target::File(&link)).unwrap();
        output.write_all(b"text").unwrap();
        output.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"text");
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(Output::to(&Target::File(dir.path())).is_err());
        assert!(Output::to(&Target::File(&dir.path().join("no/x"))).is_err());
    }

    #[test]
    fn a_directory_is_new_and_whole_or_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d");
        let failed = new_directory(&path, |made| {
            File::create(made.join("a")).unwrap();
            Err(Error::NoImage("x".to_owned()))
        });
        assert!(matches!(failed, Err(Error::NoImage(_))));
        assert_eq!(names(dir.path()), Vec::<String>::new());
        let fill = |made: &Path| {
            File::create(made.join("a")).unwrap();
            Ok(())
        };
        new_directory(&path, fill).unwrap();
        assert_eq!(names(dir.path()), ["d"]);
        assert!(new_directory(&path, fill).is_err());
        assert_eq!(names(&path), ["a"]);
    }
}
