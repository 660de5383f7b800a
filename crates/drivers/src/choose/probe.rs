//! Finds the facts, by trying.
//!
//! Everything is tried in a directory of its own below the state, which is removed afterwards. A trial
//! overlay is attached nowhere, so nothing is left mounted, whatever happens.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use lapstrake_snapshot::{Result, io, std_io};
use lapstrake_sys::{copy, file, mount, xattr};
use mount::{Context, Restrictions};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, XattrFlags};
use rustix::io::Errno;

use super::{Content, DriverName, Erofs, Facts, State};
use crate::home::names;

/// Where to look.
#[derive(Debug, Clone, Copy)]
pub struct Paths<'a> {
    /// A directory on the file system of layers.
    pub content: &'a Path,
    /// The directory of writable layers and unpacked ones.
    pub state: &'a Path,
    /// The directories of the drivers.
    pub drivers: &'a Path,
}

/// Asks the kernel and the file systems.
pub fn probe(paths: Paths<'_>) -> Result<Facts> {
    Ok(Facts {
        release: release()?,
        erofs: erofs(),
        overlay: has("overlay"),
        loop_devices: Path::new("/dev/loop-control").exists(),
        content: content(paths.content)?,
        state: state(paths.state)?,
        vfs_without_xattrs: false,
        realised: realised(paths.drivers)?,
    })
}

fn release() -> Result<String> {
    let path = "/proc/sys/kernel/osrelease";
    let text = fs::read_to_string(path).map_err(std_io("read", path))?;
    Ok(text.trim().to_owned())
}

/// Whether the kernel has a file system. Without the right to mount, the answer is what it says it has;
/// modules that are not loaded yet are not in that list.
fn has(name: &'static str) -> bool {
    match Context::open(name) {
        Ok(_) => true,
        Err(error) if error.errno() == Errno::PERM => fs::read_to_string("/proc/filesystems")
            .is_ok_and(|text| {
                text.lines()
                    .any(|line| line.trim_start_matches("nodev").trim() == name)
            }),
        Err(_) => false,
    }
}

fn erofs() -> Erofs {
    if !has("erofs") {
        return Erofs::Missing;
    }
    // The name is looked up when it is set; nothing is opened.
    match Context::open("erofs").and_then(|context| context.string("device", "/none")) {
        Err(error) if error.errno() == Errno::INVAL => Erofs::OneDevice,
        _ => Erofs::Devices,
    }
}

fn content(dir: &Path) -> Result<Content> {
    let open = File::open(dir).map_err(std_io("open", dir))?;
    let kind = file::filesystem_name(&open).map_err(io("find the file system of", dir))?;
    Ok(Content {
        backs_mounts: backs_mounts(dir)?,
        kind,
    })
}

/// Tries to mount a file that is no image. It is refused for what is in it; but where files cannot
/// back mounts, the kernel asks for a block device before it looks.
fn backs_mounts(dir: &Path) -> Result<bool> {
    let path = dir.join("tmp");
    let dir = if path.is_dir() { &path } else { dir };
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open(dir, flags, Mode::RUSR | Mode::WUSR) else {
        // No unnamed files, as on NFS; or not ours to write. Mounts will tell.
        return Ok(true);
    };
    rustix::fs::ftruncate(&file, 8192).map_err(io("extend a file in", dir))?;
    let path = format!(
        "/proc/thread-self/fd/{}",
        std::os::fd::AsRawFd::as_raw_fd(&file)
    );
    let tried = Context::open("erofs").and_then(|context| {
        context.string("source", path)?;
        context.flag("ro")?;
        context.create(INERT)
    });
    Ok(match tried {
        Ok(_) => true,
        Err(error) => error.errno() != Errno::NOTBLK,
    })
}

const INERT: Restrictions = Restrictions {
    read_only: true,
    inert: true,
};

/// A directory to try things in, removed when dropped.
struct Trial(PathBuf);

impl Trial {
    fn below(state: &Path) -> Result<Self> {
        let dir = state.join(format!(".probe-{}", std::process::id()));
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(std_io("remove", dir)(error));
            }
            _ => {}
        }
        let trial = Self(dir);
        for name in ["", "one", "two", "upper", "work"] {
            let dir = trial.0.join(name);
            fs::create_dir(&dir).map_err(std_io("create directory", dir))?;
        }
        for name in ["one/file", "two/other"] {
            let path = trial.0.join(name);
            File::create(&path).map_err(std_io("create", path))?;
        }
        Ok(trial)
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        // The next probe of a process of this number removes what stays.
        drop(fs::remove_dir_all(&self.0));
    }
}

fn state(dir: &Path) -> Result<State> {
    let open = File::open(dir).map_err(std_io("open", dir))?;
    let kind = file::filesystem_name(&open).map_err(io("find the file system of", dir))?;
    let trial = Trial::below(dir)?;
    Ok(State {
        path: dir.to_owned(),
        kind,
        d_type: tells_types(&trial.0.join("one"))?,
        xattrs: keeps_attributes(&trial.0.join("one/file"))?,
        upper: try_overlay(&trial.0).map_err(|error| describe(&error)),
        shares_blocks: shares_blocks(&trial.0)?,
    })
}

/// An error and its cause in a line.
fn describe(error: &mount::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn tells_types(dir: &Path) -> Result<bool> {
    let open = File::open(dir).map_err(std_io("open", dir))?;
    let entries = rustix::fs::Dir::read_from(&open).map_err(io("list", dir))?;
    for entry in entries {
        let entry = entry.map_err(io("list", dir))?;
        if entry.file_name() == c"file" {
            return Ok(entry.file_type() == FileType::RegularFile);
        }
    }
    Ok(false)
}

fn keeps_attributes(file: &Path) -> Result<bool> {
    for name in ["trusted.lapstrake", "user.lapstrake"] {
        match rustix::fs::setxattr(file, name, b"y", XattrFlags::empty()) {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP | Errno::PERM) => return Ok(false),
            Err(errno) => return Err(io("set an attribute of", file)(errno)),
        }
        let kept = xattr::get(file, name.as_bytes());
        if kept.map_err(io("read an attribute of", file))?.as_deref() != Some(b"y") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes an overlay as a container gets it, and removes a lower file in it: that takes a whiteout, which
/// is where unfit file systems fail.
fn try_overlay(dir: &Path) -> mount::Result<()> {
    let path = |name: &str| dir.join(name);
    let options = format!(
        "lowerdir={}:{},upperdir={},workdir={}",
        path("two").display(),
        path("one").display(),
        path("upper").display(),
        path("work").display()
    );
    let context = Context::open("overlay")?;
    for option in options.split(',') {
        let (key, value) = option.split_once('=').expect("written above");
        context.string(key, value)?;
    }
    for (key, value) in [("index", "off"), ("xino", "on"), ("metacopy", "off")] {
        context.string(key, value)?;
    }
    let root = context.create(Restrictions {
        read_only: false,
        inert: true,
    })?;
    rustix::fs::unlinkat(root.as_fd(), "file", AtFlags::empty())
        .map_err(|errno| mount::Error::refused("remove a lower file in", "a trial overlay", errno))
}

fn shares_blocks(dir: &Path) -> Result<bool> {
    let open = |name: &str| {
        let path = dir.join(name);
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(true);
        options.open(&path).map_err(std_io("create", path))
    };
    let (from, to) = (open("from")?, open("to")?);
    rustix::fs::ftruncate(&from, 4096).map_err(io("extend a file in", dir))?;
    copy::share_all(from.as_fd(), to.as_fd()).map_err(io("share blocks in", dir))
}

fn realised(drivers: &Path) -> Result<Vec<(DriverName, usize)>> {
    let layers = names(&drivers.join("overlay2"))?;
    let layers = layers.iter().filter(|name| name.len() >= 64).count();
    let roots = names(&drivers.join("vfs/dir"))?.len();
    Ok(vec![
        (DriverName::Overlay2, layers),
        (DriverName::Vfs, roots),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privileged_this_machine_is_probed_and_nothing_stays() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED privileged_this_machine_is_probed_and_nothing_stays: needs root");
            return;
        }
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let paths = Paths {
            content: dir.path(),
            state: dir.path(),
            drivers: dir.path(),
        };
        let facts = probe(paths).unwrap();
        assert_eq!(facts.state.upper, Ok(()), "{facts:?}");
        assert!(
            facts.overlay && facts.state.d_type && facts.state.xattrs,
            "{facts:?}"
        );
        assert_eq!(names(dir.path()).unwrap().len(), 0);
    }
}
