//! A file system to keep rooms on, and cleaning up whatever a test did.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use lapstrake_snapshot::room::{Backing, Limit, Policy, Reserve, RoomId, Rooms};
use lapstrake_sys::mount::{self, Unmount};
use rustix::io::Errno;
use tempfile::TempDir;

pub(crate) const MIB: u64 = 1 << 20;

/// Whether tests may mount. Says so when not.
pub(crate) fn privileged(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED {test}: needs root");
    }
    root
}

/// Whether this process has `CAP_SYS_RESOURCE`.
pub(crate) fn may_exceed_limits() -> bool {
    let sets = rustix::thread::capabilities(None).unwrap();
    sets.effective
        .contains(rustix::thread::CapabilitySet::SYS_RESOURCE)
}

/// A scratch directory. When dropped, whatever is mounted beneath it is unmounted, top first.
pub(crate) struct Scene {
    pub(crate) dir: TempDir,
    /// What the rooms lie on: a file system of its own, or that of temporary files.
    pub(crate) disk: PathBuf,
    pub(crate) policy: Policy,
}

impl Scene {
    /// Rooms on the file system of temporary files.
    pub(crate) fn new(backing: Option<Backing>) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("lapstrake-room-")
            .tempdir_in("/var/tmp")
            .unwrap();
        let disk = dir.path().join("disk");
        fs::create_dir(&disk).unwrap();
        let policy = Policy {
            backing,
            reserve: Reserve::Nothing,
        };
        Self { dir, disk, policy }
    }

    /// Rooms on a new file system of so many MiB, in a file.
    pub(crate) fn on(mkfs: &[&str], mib: u64) -> Self {
        Self::with_option(mkfs, "defaults", mib).unwrap()
    }

    /// The same, mounted with an option; `None` if the kernel does not take it.
    pub(crate) fn with_option(mkfs: &[&str], option: &str, mib: u64) -> Option<Self> {
        let scene = Self::new(None);
        let file = scene.dir.path().join("file");
        File::create(&file).unwrap().set_len(mib * MIB).unwrap();
        run(&[mkfs, &[text(&file)]].concat());
        let mounted = Command::new("mount")
            .args([
                "-o",
                &format!("loop,{option}"),
                text(&file),
                text(&scene.disk),
            ])
            .output()
            .unwrap();
        mounted.status.success().then_some(scene)
    }

    /// Rooms on tmpfs.
    pub(crate) fn on_tmpfs(mib: u64) -> Self {
        let scene = Self::new(None);
        let size = format!("size={mib}m");
        run(&[
            "mount",
            "-t",
            "tmpfs",
            "-o",
            &size,
            "none",
            text(&scene.disk),
        ]);
        scene
    }

    pub(crate) fn open(&self) -> Rooms {
        self.open_as(self.policy)
    }

    pub(crate) fn open_as(&self, policy: Policy) -> Rooms {
        let run = self.dir.path().join("run");
        Rooms::open(&self.disk.join("rooms"), &run, policy).unwrap()
    }

    /// Bytes that are free where the rooms lie, when everything is written.
    pub(crate) fn free(&self) -> u64 {
        self.sync();
        let statfs = rustix::fs::statfs(&self.disk).unwrap();
        statfs.f_bfree * u64::try_from(statfs.f_bsize).unwrap()
    }

    /// Waits until everything is on disk, below all rooms.
    pub(crate) fn sync(&self) {
        rustix::fs::syncfs(File::open(&self.disk).unwrap()).unwrap();
    }

    /// Files below the scene that are loop devices now.
    pub(crate) fn loops(&self) -> Vec<String> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/sys/block").unwrap().flatten() {
            let path = entry.path().join("loop/backing_file");
            if let Ok(file) = fs::read_to_string(path)
                && file.starts_with(text(&self.disk))
            {
                found.push(file.trim_end().to_owned());
            }
        }
        found
    }

    /// Whether nothing is mounted for rooms, not even the directory of mounts.
    pub(crate) fn is_bare(&self) -> bool {
        mounted_below(&self.dir.path().join("run")).is_empty()
    }

    /// Mounts of images.
    pub(crate) fn mounts(&self) -> Vec<PathBuf> {
        let run = self.dir.path().join("run");
        let mut found = mounted_below(&run);
        found.retain(|path| *path != run);
        found
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for path in mounted_below(self.dir.path()).iter().rev() {
            drop(mount::unmount(path, Unmount::Lazy));
        }
    }
}

fn mounted_below(dir: &Path) -> Vec<PathBuf> {
    let table = mount::table().unwrap();
    let mut found = Vec::new();
    for mounted in table {
        if mounted.target.starts_with(dir) {
            found.push(mounted.target.to_path_buf());
        }
    }
    found
}

pub(crate) fn id(name: &str) -> RoomId {
    name.parse().unwrap()
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub(crate) fn run(command: &[&str]) {
    let output = Command::new(command[0])
        .args(&command[1..])
        .output()
        .unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// Writes up to `bytes` bytes that do not compress, and says how many there was room for. They are
/// on disk as far as the file system can tell.
pub(crate) fn write_up_to(path: &Path, bytes: u64) -> Result<u64, (u64, Errno)> {
    let mut noise = vec![0; 1 << 16];
    File::open("/dev/urandom")
        .unwrap()
        .read_exact(&mut noise)
        .unwrap();
    let mut file = File::create(path).map_err(|error| (0, errno(&error)))?;
    let mut written = 0;
    while written < bytes {
        let some = usize::try_from((bytes - written).min(1 << 16)).unwrap();
        match file.write(&noise[..some]) {
            Ok(n) => written += n as u64,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err((written, errno(&error))),
        }
    }
    file.sync_all().map_err(|error| (written, errno(&error)))?;
    Ok(written)
}

pub(crate) fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap()
}

pub(crate) fn is_full(errno: Errno) -> bool {
    matches!(errno, Errno::NOSPC | Errno::DQUOT)
}

/// Writes back what the file system at `dir` holds.
pub(crate) fn sync_at(dir: &Path) {
    rustix::fs::syncfs(File::open(dir).unwrap().as_fd()).unwrap();
}

pub(crate) fn bytes(bytes: u64) -> Limit {
    Limit {
        bytes: Some(bytes),
        inodes: None,
    }
}

/// A device is freed by the kernel, a moment after its last user.
pub(crate) fn assert_loops(scene: &Scene, expected: usize) {
    for _ in 0..200 {
        if scene.loops().len() == expected {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{expected} expected, there are {:?}", scene.loops());
}
