//! What the machine says: names, ids, and where things are. Everything below is told, not asking.

use std::io;
use std::path::{Path, PathBuf};

use lapstrake_engine::Surroundings;

/// Looks around for an engine over the store at `root`.
pub(crate) fn look(root: &Path, run_dir: Option<&Path>) -> io::Result<Surroundings> {
    let root = std::path::absolute(root)?;
    let run = match run_dir {
        Some(dir) => std::path::absolute(dir)?,
        None => Path::new("/run/lapstrake").join(key(&root)),
    };
    Ok(Surroundings {
        run,
        hostname: read("/proc/sys/kernel/hostname")?,
        boot_id: read("/proc/sys/kernel/random/boot_id")?,
        root,
    })
}

/// What the running kernel says of itself.
pub(crate) struct Kernel {
    /// Such as 6.12.48.
    pub(crate) release: String,
    /// The file systems that it knows now; modules may add more.
    pub(crate) filesystems: Vec<String>,
    pub(crate) has_fuse_device: bool,
    pub(crate) has_loop_devices: bool,
}

/// Asks the kernel.
pub(crate) fn kernel() -> io::Result<Kernel> {
    let filesystems = read("/proc/filesystems")?;
    let names = filesystems
        .lines()
        .filter_map(|line| line.split('\t').nth(1));
    Ok(Kernel {
        release: read("/proc/sys/kernel/osrelease")?,
        filesystems: names.map(str::to_owned).collect(),
        has_fuse_device: Path::new("/dev/fuse").exists(),
        has_loop_devices: Path::new("/dev/loop-control").exists(),
    })
}

fn read(path: &str) -> io::Result<String> {
    std::fs::read_to_string(path)
        .map(|text| text.trim_end().to_owned())
        .map_err(|error| io::Error::new(error.kind(), format!("cannot read {path}: {error}")))
}

/// A short name for a store's path, the same in every process: FNV-1a, 64 bits, in hex.
fn key(root: &Path) -> PathBuf {
    let bytes = root.as_os_str().as_encoded_bytes();
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    PathBuf::from(format!("{hash:016x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_have_short_names_of_their_own() {
        assert_eq!(key(Path::new("/a")), key(Path::new("/a")));
        assert_ne!(key(Path::new("/a")), key(Path::new("/b")));
        assert_eq!(key(Path::new("/a")).as_os_str().len(), 16);
    }
}
