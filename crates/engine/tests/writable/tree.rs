//! All that can be seen of a root, to be compared.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

/// Each path and what is there.
pub(crate) fn seen(root: &Path) -> BTreeMap<String, String> {
    let mut seen = BTreeMap::new();
    let mut first_names = BTreeMap::new();
    look(root, root, &mut seen, &mut first_names);
    seen
}

fn look(
    root: &Path,
    path: &Path,
    seen: &mut BTreeMap<String, String>,
    first_names: &mut BTreeMap<(u64, u64), String>,
) {
    let metadata = fs::symlink_metadata(path).unwrap();
    let name = path
        .strip_prefix(root)
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    let mut text = describe(path, &metadata);
    if !metadata.is_dir() {
        let first = first_names
            .entry((metadata.dev(), metadata.ino()))
            .or_insert_with(|| name.clone());
        text += &format!(" is {first}");
    }
    seen.insert(name, text);
    if metadata.is_dir() {
        let mut names: Vec<_> = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        names.sort();
        for name in names {
            look(root, &name, seen, first_names);
        }
    }
}

fn describe(path: &Path, metadata: &Metadata) -> String {
    let kind = metadata.file_type();
    let what = if kind.is_dir() {
        "directory".to_owned()
    } else if kind.is_symlink() {
        format!("link to {:?}", fs::read_link(path).unwrap())
    } else if kind.is_file() {
        let bytes = fs::read(path).unwrap();
        assert_eq!(bytes.len() as u64, metadata.len());
        format!("{} bytes {}", bytes.len(), digest(&bytes))
    } else if kind.is_char_device() {
        format!("character device {:x}", metadata.rdev())
    } else if kind.is_block_device() {
        format!("block device {:x}", metadata.rdev())
    } else {
        assert!(kind.is_fifo(), "{path:?}");
        "pipe".to_owned()
    };
    format!(
        "{what} {:o} {}:{} {}.{:09} {}",
        metadata.mode() & 0o7777,
        metadata.uid(),
        metadata.gid(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        attributes(path)
    )
}

fn digest(bytes: &[u8]) -> String {
    lapstrake_oci::Algorithm::Sha256.digest(bytes).hex()[..16].to_owned()
}

fn attributes(path: &Path) -> String {
    let mut list = vec![0; 65_536];
    let length = rustix::fs::llistxattr(path, &mut list[..]).unwrap();
    let names = list[..length].split(|b| *b == 0).filter(|n| !n.is_empty());
    let mut all = BTreeMap::new();
    for name in names {
        let mut value = vec![0; 65_536];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
        all.insert(
            name.escape_ascii().to_string(),
            value[..length].escape_ascii().to_string(),
        );
    }
    assert!(path.as_os_str().as_bytes().len() < 4096);
    format!("{all:?}")
}
