//! A directory or file in a volume, held in place: resolved beneath the volume's root, then mounted by
//! descriptor, so that no link and no rename leads elsewhere between the look and the use.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use lapstrake_sys::mount::{self, Detached, Unmount};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::error::{Error, Result, io_error};

/// Shows at `place` what was found.
pub(super) fn show(found: &OwnedFd, place: &Path) -> Result<()> {
    let mount = || Detached::copy_of_open(found.as_fd(), false)?.attach_at(place);
    mount().map_err(|error| {
        // The failure is what to tell.
        drop(remove_place(place));
        error.into()
    })
}

/// Lets go of what was held at `place`.
pub(super) fn release(place: &Path) -> Result<()> {
    match mount::unmount(place, Unmount::Lazy) {
        Ok(()) => {}
        Err(error) if matches!(error.errno(), Errno::INVAL | Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    remove_place(place)
}

/// What is at `subpath` below `root`, open as a path.
pub(super) fn find(root: &Path, subpath: &str, of: &str) -> Result<OwnedFd> {
    let dir = File::open(root).map_err(io_error("open", root))?;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    loop {
        let why = match rustix::fs::openat2(&dir, subpath, flags, Mode::empty(), resolve) {
            Ok(found) => return Ok(found),
            // Something was renamed meanwhile.
            Err(Errno::AGAIN | Errno::INTR) => continue,
            Err(Errno::XDEV) => "it leads outside",
            Err(Errno::NOENT) => "no such file or directory",
            Err(Errno::NOTDIR) => "not a directory",
            Err(Errno::LOOP) => "too many links",
            Err(errno) => return Err(io_error("open a part of", root)(errno.into())),
        };
        return Err(Error::Subpath {
            of: of.to_owned(),
            subpath: subpath.to_owned(),
            why,
        });
    }
}

/// Whether what was found is a directory.
pub(super) fn is_dir(found: &OwnedFd, root: &Path) -> Result<bool> {
    let stat = rustix::fs::fstat(found).map_err(|errno| io_error("stat", root)(errno.into()))?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// Makes a place in the directory `parts` where a directory, or something else, can be shown.
pub(super) fn make_place(parts: &Path, is_dir: bool) -> Result<PathBuf> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let place = parts.join(format!("{process}-{number}"));
    let made = if is_dir {
        std::fs::create_dir(&place)
    } else {
        File::create_new(&place).map(drop)
    };
    made.map_err(io_error("create", &place))?;
    Ok(place)
}

fn remove_place(place: &Path) -> Result<()> {
    let removed = match std::fs::symlink_metadata(place) {
        Ok(metadata) if metadata.is_dir() => std::fs::remove_dir(place),
        Ok(_file) => std::fs::remove_file(place),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(io_error("remove", place)(error))
        }
        _ => Ok(()),
    }
}
