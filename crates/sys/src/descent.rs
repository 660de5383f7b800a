//! Walking down a tree of directories, as deep as it may be, with few descriptors and little stack.
//!
//! Whoever fills a tree may nest directories deeper than a process may open files. So directories far above are
//! closed, and opened again on the way back by `..`; that they are the same is checked, so that nothing that is
//! moved meanwhile leads out of the tree. No link is followed, and no mount is entered.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;

use crate::mount;

/// How many directories above the one where it is are kept open.
const OPEN_ABOVE: usize = 32;

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A name in the directory where it is.
    Entry(CString),
    /// All below this directory was seen; it is a name in the directory where the walk is now.
    Left(CString),
}

/// Somebody in a tree.
#[derive(Debug)]
pub struct Descent {
    frames: Vec<Frame>,
    /// The mount that the tree lies in, if the kernel tells.
    mount: Option<u64>,
}

#[derive(Debug)]
struct Frame {
    dir: Option<OwnedFd>,
    /// Device and inode.
    id: (u64, u64),
    name: CString,
    names: std::vec::IntoIter<CString>,
}

impl Descent {
    /// Begins in an open directory.
    pub fn begin(dir: OwnedFd) -> Result<Self, Errno> {
        let mount = mount_of(dir.as_fd())?;
        let first = frame(dir, CString::default())?;
        Ok(Self {
            frames: vec![first],
            mount,
        })
    }

    /// The directory where it is; nothing at the end.
    pub fn dir(&self) -> Option<BorrowedFd<'_>> {
        let top = self.frames.last()?;
        top.dir.as_ref().map(AsFd::as_fd)
    }

    /// Goes on; nothing at the end. `STALE` if the directory to go back to is not there any more.
    pub fn step(&mut self) -> Result<Option<Step>, Errno> {
        let Some(top) = self.frames.last_mut() else {
            return Ok(None);
        };
        if let Some(name) = top.names.next() {
            return Ok(Some(Step::Entry(name)));
        }
        let left = self.frames.pop();
        let (Some(left), Some(parent)) = (left, self.frames.last_mut()) else {
            return Ok(None);
        };
        if parent.dir.is_none() {
            let below = left.dir.as_ref().ok_or(Errno::STALE)?;
            let up = open(below.as_fd(), c"..")?;
            if id(up.as_fd())? != parent.id {
                return Err(Errno::STALE);
            }
            parent.dir = Some(up);
        }
        Ok(Some(Step::Left(left.name)))
    }

    /// Goes into a directory where it is. `XDEV` if something is mounted there.
    pub fn enter(&mut self, name: CString) -> Result<(), Errno> {
        let dir = open(self.dir().ok_or(Errno::NOENT)?, &name)?;
        if mount_of(dir.as_fd())? != self.mount {
            return Err(Errno::XDEV);
        }
        self.frames.push(frame(dir, name)?);
        if let Some(above) = self.frames.len().checked_sub(OPEN_ABOVE + 2) {
            self.frames[above].dir = None;
        }
        Ok(())
    }
}

/// Removes a name and all below it; what isn't there is removed already. Where something is mounted it stops
/// with `XDEV`.
pub fn remove_all(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    match unlink(parent, name)? {
        Unlinked::Gone => return Ok(()),
        Unlinked::IsDirectory => {}
    }
    let dir = match open(parent, name) {
        Err(Errno::NOENT) => return Ok(()),
        dir => dir?,
    };
    clear(dir)?;
    gone(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR))
}

/// Removes all that is in a directory, as [`remove_all`].
pub fn clear(dir: OwnedFd) -> Result<(), Errno> {
    let mut descent = Descent::begin(dir)?;
    while let Some(step) = descent.step()? {
        let dir = descent.dir().ok_or(Errno::STALE)?;
        match step {
            Step::Left(name) => gone(rustix::fs::unlinkat(dir, &name, AtFlags::REMOVEDIR))?,
            Step::Entry(name) => match unlink(dir, &name)? {
                Unlinked::Gone => {}
                Unlinked::IsDirectory => gone(descent.enter(name))?,
            },
        }
    }
    Ok(())
}

enum Unlinked {
    Gone,
    IsDirectory,
}

fn unlink(dir: BorrowedFd<'_>, name: &CStr) -> Result<Unlinked, Errno> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(Unlinked::Gone),
        Err(Errno::ISDIR) => Ok(Unlinked::IsDirectory),
        Err(errno) => Err(errno),
    }
}

fn gone(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

fn open(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

fn frame(dir: OwnedFd, name: CString) -> Result<Frame, Errno> {
    Ok(Frame {
        names: names_by_inode(&dir)?.into_iter(),
        id: id(dir.as_fd())?,
        dir: Some(dir),
        name,
    })
}

/// Names in the order of their inodes. ext4 lists names by their hashes: in that order every one lies in another
/// block of inodes, and 50,000 files take half as long again to remove.
fn names_by_inode(dir: &OwnedFd) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push((entry.ino(), entry.file_name().to_owned()));
        }
    }
    names.sort_unstable();
    Ok(names.into_iter().map(|(_inode, name)| name).collect())
}

fn id(dir: BorrowedFd<'_>) -> Result<(u64, u64), Errno> {
    let stat = rustix::fs::fstat(dir)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Before Linux 5.8 nobody tells.
fn mount_of(dir: BorrowedFd<'_>) -> Result<Option<u64>, Errno> {
    match mount::id(dir) {
        Ok(id) => Ok(Some(id)),
        Err(Errno::NOSYS) => Ok(None),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::Path;

    use super::*;

    fn cwd() -> BorrowedFd<'static> {
        rustix::fs::CWD
    }

    fn text(path: &Path) -> CString {
        CString::new(path.as_os_str().as_encoded_bytes()).unwrap()
    }

    #[test]
    fn every_name_is_seen_and_every_directory_left() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        File::create(dir.path().join("a/b/c")).unwrap();
        let mut descent = Descent::begin(open(cwd(), &text(dir.path())).unwrap()).unwrap();
        let mut seen = Vec::new();
        while let Some(step) = descent.step().unwrap() {
            seen.push(match step {
                Step::Entry(name) => {
                    let shown = format!("+{}", name.to_str().unwrap());
                    if descent.enter(name).is_err() {
                        seen.push(shown);
                        continue;
                    }
                    shown
                }
                Step::Left(name) => format!("-{}", name.to_str().unwrap()),
            });
        }
        assert_eq!(seen, ["+a", "+b", "+c", "-b", "-a"]);
    }

    #[test]
    fn a_tree_deeper_than_a_path_can_name_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        fs::create_dir(&top).unwrap();
        let mut at = open(cwd(), &text(&top)).unwrap();
        let name = CString::new("d".repeat(100)).unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&at, &name, Mode::RWXU).unwrap();
            at = open(at.as_fd(), &name).unwrap();
        }
        std::os::unix::fs::symlink("/", dir.path().join("top/link")).unwrap();
        let parent = open(cwd(), &text(dir.path())).unwrap();
        remove_all(parent.as_fd(), c"top").unwrap();
        remove_all(parent.as_fd(), c"top").unwrap();
        assert!(!top.exists());
    }

    #[test]
    fn a_walk_does_not_go_up_to_where_it_did_not_come_from() {
        let dir = tempfile::tempdir().unwrap();
        let path: std::path::PathBuf = std::iter::repeat_n("d", OPEN_ABOVE + 8).collect();
        fs::create_dir_all(dir.path().join(&path)).unwrap();
        let mut descent = Descent::begin(open(cwd(), &text(dir.path())).unwrap()).unwrap();
        let mut depth = 0;
        let result = loop {
            match descent.step() {
                Ok(Some(Step::Entry(name))) => {
                    descent.enter(name).unwrap();
                    depth += 1;
                    if depth == OPEN_ABOVE + 8 {
                        // Four levels below what is still open by name, everything moves elsewhere.
                        let from: std::path::PathBuf = std::iter::repeat_n("d", 6).collect();
                        let to = dir.path().join("elsewhere");
                        rustix::fs::rename(dir.path().join(from), to).unwrap();
                    }
                }
                Ok(Some(Step::Left(_))) => {}
                other => break other,
            }
        };
        assert_eq!(result, Err(Errno::STALE));
    }

    #[test]
    fn privileged_what_is_mounted_is_not_entered() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED privileged_what_is_mounted_is_not_entered: needs root");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("top/inside");
        fs::create_dir_all(&inside).unwrap();
        mount::private_tmpfs(&inside).unwrap();
        File::create(inside.join("kept")).unwrap();
        let parent = open(cwd(), &text(dir.path())).unwrap();
        let refused = remove_all(parent.as_fd(), c"top");
        let kept = inside.join("kept").exists();
        mount::unmount(&inside, mount::Unmount::Lazy).unwrap();
        assert_eq!((refused, kept), (Err(Errno::XDEV), true));
        remove_all(parent.as_fd(), c"top").unwrap();
    }
}
