//! Mounting: the fsopen family, `mount(2)` for what older kernels lack, and the table of mounts.
//!
//! A file system is configured in a [`Context`], made by [`Context::create`], and is then a
//! [`Detached`] mount: visible to nobody but the holder of its descriptor, gone when that is
//! closed, until [`Detached::attach`] gives it a place. Errors carry what the kernel wrote to the
//! context's log, which is the only place that says *why* (`EINVAL` has a hundred causes).
//!
//! What to mount with which options is the drivers' to know.

use std::ffi::CString;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD};
use rustix::io::Errno;
use rustix::mount as sys;

/// Lines the kernel wrote about a failed mount; empty when it said nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelLog(Vec<String>);

impl KernelLog {
    /// The lines, oldest first, without their severity letter.
    pub fn lines(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for KernelLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        write!(f, " (kernel: {})", self.0.join("; "))
    }
}

/// Why a mount step failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This kernel has no such file system, built in or as a module.
    #[error(
        "this kernel has no {name} file system: load its module (modprobe {name}) or use a kernel that has it"
    )]
    NoFilesystem {
        /// The file system's name.
        name: &'static str,
    },
    /// A system call failed.
    #[error("cannot {action} {object}{log}")]
    Call {
        /// What was tried.
        action: &'static str,
        /// On what.
        object: String,
        /// What the kernel said about it.
        log: KernelLog,
        /// The error number.
        #[source]
        source: Errno,
    },
}

impl Error {
    /// The error number behind it.
    pub fn errno(&self) -> Errno {
        match self {
            Self::NoFilesystem { .. } => Errno::NODEV,
            Self::Call { source, .. } => *source,
        }
    }

    /// A step that another module took, for its errors to look alike.
    pub fn refused(action: &'static str, object: impl Into<String>, source: Errno) -> Self {
        Self::call(action, object, source)
    }

    fn call(action: &'static str, object: impl Into<String>, source: Errno) -> Self {
        Self::Call {
            action,
            object: object.into(),
            log: KernelLog::default(),
            source,
        }
    }
}

/// Result of this module.
pub type Result<T> = std::result::Result<T, Error>;

/// What a mount forbids, whatever its files say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restrictions {
    /// No writes.
    pub read_only: bool,
    /// No device files, no setuid, no execution: for mounts that are only read through others.
    pub inert: bool,
}

impl Restrictions {
    fn attributes(self) -> sys::MountAttrFlags {
        let mut flags = sys::MountAttrFlags::empty();
        if self.read_only {
            flags |= sys::MountAttrFlags::MOUNT_ATTR_RDONLY;
        }
        if self.inert {
            flags |= sys::MountAttrFlags::MOUNT_ATTR_NODEV
                | sys::MountAttrFlags::MOUNT_ATTR_NOSUID
                | sys::MountAttrFlags::MOUNT_ATTR_NOEXEC;
        }
        flags
    }
}

/// A file system being configured (`fsopen`).
#[derive(Debug)]
pub struct Context {
    fd: OwnedFd,
    name: &'static str,
}

impl Context {
    /// Starts configuring a file system of the type `name`.
    pub fn open(name: &'static str) -> Result<Self> {
        match sys::fsopen(name, sys::FsOpenFlags::FSOPEN_CLOEXEC) {
            Ok(fd) => Ok(Self { fd, name }),
            Err(Errno::NODEV) => Err(Error::NoFilesystem { name }),
            Err(errno) => Err(Error::call("start a mount of", name, errno)),
        }
    }

    /// Sets an option that has no value.
    pub fn flag(&self, key: &str) -> Result<()> {
        sys::fsconfig_set_flag(self.fd.as_fd(), key).map_err(|e| self.refused(key, e))
    }

    /// Sets an option to a string, at most 255 bytes.
    pub fn string(&self, key: &str, value: impl AsRef<[u8]>) -> Result<()> {
        let value = CString::new(value.as_ref())
            .map_err(|_| Error::call("give a value with a NUL to option", key, Errno::INVAL))?;
        sys::fsconfig_set_string(self.fd.as_fd(), key, value.as_c_str())
            .map_err(|e| self.refused(&format!("{key}={}", value.to_string_lossy()), e))
    }

    /// Sets an option to an open file or directory.
    pub fn fd(&self, key: &str, value: BorrowedFd<'_>) -> Result<()> {
        sys::fsconfig_set_fd(self.fd.as_fd(), key, value).map_err(|e| self.refused(key, e))
    }

    /// Makes the file system, as a mount that nobody sees yet.
    pub fn create(self, restrictions: Restrictions) -> Result<Detached> {
        sys::fsconfig_create(self.fd.as_fd())
            .map_err(|e| self.failed("make the file system", self.name, e))?;
        sys::fsmount(
            self.fd.as_fd(),
            sys::FsMountFlags::FSMOUNT_CLOEXEC,
            restrictions.attributes(),
        )
        .map(|fd| Detached { fd })
        .map_err(|e| self.failed("mount", self.name, e))
    }

    fn refused(&self, option: &str, errno: Errno) -> Error {
        self.failed(
            "set mount option",
            &format!("{option} of {}", self.name),
            errno,
        )
    }

    fn failed(&self, action: &'static str, object: &str, source: Errno) -> Error {
        Error::Call {
            action,
            object: object.to_owned(),
            log: self.read_log(),
            source,
        }
    }

    /// Every read returns one message and removes it; none left is `ENODATA`. A log that cannot be
    /// read leaves the error number to speak for itself.
    fn read_log(&self) -> KernelLog {
        let mut lines = Vec::new();
        let mut message = [0_u8; 1024];
        while let Ok(length @ 1..) = rustix::io::read(&self.fd, &mut message) {
            let text = String::from_utf8_lossy(&message[..length]);
            let text = text.trim_end();
            lines.push(text.get(2..).unwrap_or(text).to_owned());
        }
        KernelLog(lines)
    }
}

/// A mount without a place: it ends when this is dropped, unless something else (an attached
/// place, an overlay above it) holds it too.
#[derive(Debug)]
pub struct Detached {
    fd: OwnedFd,
}

impl Detached {
    /// A second mount of what is mounted at `path` (without mounts below it).
    pub fn copy_of(path: &Path) -> Result<Self> {
        let flags = sys::OpenTreeFlags::OPEN_TREE_CLONE | sys::OpenTreeFlags::OPEN_TREE_CLOEXEC;
        sys::open_tree(CWD, path, flags)
            .map(|fd| Self { fd })
            .map_err(|e| Error::call("copy the mount at", path.display().to_string(), e))
    }

    /// A second mount of an open directory (without mounts below it), which may be read-only.
    pub fn copy_of_open(dir: BorrowedFd<'_>, read_only: bool) -> Result<Self> {
        let flags = sys::OpenTreeFlags::OPEN_TREE_CLONE
            | sys::OpenTreeFlags::OPEN_TREE_CLOEXEC
            | sys::OpenTreeFlags::AT_EMPTY_PATH;
        let fd = sys::open_tree(dir, "", flags)
            .map_err(|e| Error::call("copy the mount of", "an open directory", e))?;
        if read_only {
            set_read_only(fd.as_fd())
                .map_err(|e| Error::call("make read-only", "the copy of a mount", e))?;
        }
        Ok(Self { fd })
    }

    /// Gives the mount its place: the directory or file `name` beneath `dir`. The descriptor goes
    /// on naming the mount.
    pub fn attach(&self, dir: BorrowedFd<'_>, name: &Path) -> Result<()> {
        sys::move_mount(
            self.fd.as_fd(),
            "",
            dir,
            name,
            sys::MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
        )
        .map_err(|e| Error::call("attach a mount at", name.display().to_string(), e))
    }

    /// Gives the mount its place by path. A final symbolic link is not followed.
    pub fn attach_at(&self, target: &Path) -> Result<()> {
        self.attach(CWD, target)
    }

    /// The root directory of the mount, as a descriptor (`O_PATH`).
    pub fn into_root(self) -> OwnedFd {
        self.fd
    }
}

impl AsFd for Detached {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// `mount_setattr(2)` (Linux 5.12), which neither rustix nor the C library has.
fn set_read_only(mount: BorrowedFd<'_>) -> std::result::Result<(), Errno> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the descriptor is open, the path is a C string, and the structure lives through the
    // call and has the size that is told.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()
            .raw_os_error()
            .map_or(Errno::IO, Errno::from_raw_os_error)),
    }
}

/// `mount(2)`, for options that a file system of an older kernel takes in one string only.
/// The string is cut at one page by the kernel, so one that does not fit is refused here.
pub fn mount_with_string(
    name: &'static str,
    source: &str,
    target: &Path,
    restrictions: Restrictions,
    options: &[u8],
) -> Result<()> {
    let page = rustix::param::page_size();
    if options.len() >= page {
        return Err(Error::call(
            "mount with options longer than a page at",
            target.display().to_string(),
            Errno::TOOBIG,
        ));
    }
    let options = CString::new(options)
        .map_err(|_| Error::call("mount with a NUL in the options at", name, Errno::INVAL))?;
    let mut flags = sys::MountFlags::empty();
    if restrictions.read_only {
        flags |= sys::MountFlags::RDONLY;
    }
    if restrictions.inert {
        flags |= sys::MountFlags::NODEV | sys::MountFlags::NOSUID | sys::MountFlags::NOEXEC;
    }
    match sys::mount(source, target, name, flags, Some(options.as_c_str())) {
        Ok(()) => Ok(()),
        Err(Errno::NODEV) => Err(Error::NoFilesystem { name }),
        Err(errno) => Err(Error::call("mount at", target.display().to_string(), errno)),
    }
}

/// Calls `work` with `dir` as the working directory, in a thread that has one of its own.
pub fn in_directory<T: Send>(
    dir: impl AsFd + Sync,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    let enter = || {
        // SAFETY: CLONE_FS gives the calling thread its own working directory, root and umask;
        // the thread ends here, and nothing in it relies on sharing them.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::FS) }
            .map_err(|e| Error::call("unshare", "the working directory", e))?;
        rustix::process::fchdir(&dir).map_err(|e| Error::call("enter", "a directory", e))?;
        work()
    };
    std::thread::scope(|scope| match scope.spawn(enter).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Keeps mounts made below `target` to this mount namespace (`MS_PRIVATE`).
pub fn make_private(target: &Path) -> Result<()> {
    sys::mount_change(target, sys::MountPropagationFlags::PRIVATE)
        .map_err(|e| Error::call("make private", target.display().to_string(), e))
}

/// Mounts a tmpfs of our own at a directory, for root alone and private: what is mounted in it is
/// not propagated into every mount namespace of the host.
pub fn private_tmpfs(target: &Path) -> Result<()> {
    let tmpfs = Context::open("tmpfs")?;
    tmpfs.string("source", "lapstrake")?;
    tmpfs.string("mode", "0700")?;
    let tmpfs = tmpfs.create(Restrictions {
        read_only: false,
        inert: true,
    })?;
    tmpfs.attach_at(target)?;
    make_private(target)
}

/// When an unmount is allowed to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmount {
    /// Only if nothing uses the mount; otherwise `EBUSY`.
    IfIdle,
    /// Out of sight now, gone when its last user is.
    Lazy,
}

/// Removes the mount at `target`, which must not be a symbolic link.
pub fn unmount(target: &Path, how: Unmount) -> Result<()> {
    let flags = match how {
        Unmount::IfIdle => sys::UnmountFlags::NOFOLLOW,
        Unmount::Lazy => sys::UnmountFlags::NOFOLLOW | sys::UnmountFlags::DETACH,
    };
    sys::unmount(target, flags).map_err(|e| Error::call("unmount", target.display().to_string(), e))
}

/// Moves the mount at `from` to the directory `to`. The mount that `from` lies in must not be shared.
pub fn move_mount(from: &Path, to: &Path) -> Result<()> {
    let flags = sys::MoveMountFlags::empty();
    sys::move_mount(CWD, from, CWD, to, flags)
        .map_err(|e| Error::call("move a mount to", to.display().to_string(), e))
}

/// Whether `path` is where a mount is attached (rather than an ordinary directory).
pub fn is_mount_root(dir: BorrowedFd<'_>, path: &Path) -> std::result::Result<bool, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let stat = rustix::fs::statx(dir, path, flags, rustix::fs::StatxFlags::TYPE)?;
    Ok(stat
        .stx_attributes
        .contains(rustix::fs::StatxAttributes::MOUNT_ROOT))
}

/// The number of the mount that a descriptor lies in (Linux 5.8). Numbers are used again.
pub fn id(file: BorrowedFd<'_>) -> std::result::Result<u64, Errno> {
    let wanted = rustix::fs::StatxFlags::MNT_ID;
    let stat = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, wanted)?;
    let told = rustix::fs::StatxFlags::from_bits_retain(stat.stx_mask).contains(wanted);
    if told {
        Ok(stat.stx_mnt_id)
    } else {
        Err(Errno::NOSYS)
    }
}

/// One line of `/proc/self/mountinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// Its number.
    pub id: u64,
    /// What of the file system is its root.
    pub root: Box<Path>,
    /// Device of the file system, major and minor.
    pub device: (u32, u32),
    /// Where it is attached, as this process sees it.
    pub target: Box<Path>,
    /// Type of the file system.
    pub filesystem: String,
    /// What it is made from, or what whoever mounted it called it.
    pub source: Box<Path>,
}

/// The mounts of this process' namespace, in the order they lie on each other.
pub fn table() -> std::io::Result<Vec<Mounted>> {
    let text = std::fs::read("/proc/self/mountinfo")?;
    Ok(text.split(|b| *b == b'\n').filter_map(parse_line).collect())
}

fn parse_line(line: &[u8]) -> Option<Mounted> {
    let mut fields = line.split(|b| *b == b' ');
    let text = |field| std::str::from_utf8(field).ok();
    let id = text(fields.next()?)?.parse().ok()?;
    let (major, minor) = text(fields.nth(1)?)?.split_once(':')?;
    let root = unescape(fields.next()?);
    let target = unescape(fields.next()?);
    fields.find(|field| *field == b"-")?;
    let filesystem = String::from_utf8_lossy(fields.next()?).into_owned();
    let source = unescape(fields.next()?);
    Some(Mounted {
        id,
        root: Path::new(std::ffi::OsStr::from_bytes(&root)).into(),
        device: (major.parse().ok()?, minor.parse().ok()?),
        target: Path::new(std::ffi::OsStr::from_bytes(&target)).into(),
        filesystem,
        source: Path::new(std::ffi::OsStr::from_bytes(&source)).into(),
    })
}

/// Blank, tab, newline and backslash stand as three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        match (first, tail) {
            (
                b'\\',
                [
                    a @ b'0'..=b'3',
                    b @ b'0'..=b'7',
                    c @ b'0'..=b'7',
                    after @ ..,
                ],
            ) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_mountinfo_is_read() {
        let line = br"36 35 98:0 /mnt1 /mnt\0402\134 rw,noatime master:1 - ext3 /dev/root rw";
        let expected = Mounted {
            id: 36,
            root: Path::new("/mnt1").into(),
            device: (98, 0),
            target: Path::new(r"/mnt 2\").into(),
            filesystem: "ext3".to_owned(),
            source: Path::new("/dev/root").into(),
        };
        assert_eq!(parse_line(line), Some(expected));
    }

    #[test]
    fn a_line_cut_short_is_no_mount() {
        assert_eq!(
            parse_line(b"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1"),
            None
        );
        assert_eq!(parse_line(b""), None);
    }

    #[test]
    fn an_octal_number_out_of_range_stays_as_it_is() {
        assert_eq!(unescape(br"a\777\04"), br"a\777\04");
    }

    #[test]
    fn an_unknown_file_system_is_named() {
        let error = Context::open("no-such-fs").expect_err("there is none");
        // Without the privilege to mount, the kernel refuses before it looks for the type.
        assert!(matches!(error.errno(), Errno::NODEV | Errno::PERM));
    }

    #[test]
    fn options_longer_than_a_page_are_refused() {
        let restrictions = Restrictions {
            read_only: true,
            inert: true,
        };
        let options = vec![b'x'; rustix::param::page_size()];
        let error = mount_with_string("overlay", "none", Path::new("/"), restrictions, &options);
        assert_eq!(error.expect_err("too long").errno(), Errno::TOOBIG);
    }

    #[test]
    fn privileged_the_kernels_reason_is_in_the_error() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED privileged_the_kernels_reason_is_in_the_error: needs root");
            return;
        }
        let overlay = Context::open("overlay").expect("root may open a context");
        let error = overlay
            .string("no-such-option", "1")
            .expect_err("there is none");
        assert!(error.to_string().contains("Unknown parameter"), "{error}");
    }
}
