//! All that can be seen of a directory and what is below it, to be compared.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use lapstrake_oci::Algorithm;

/// Every name below `root` and, as `.`, itself, each with a line of all that can be seen of it: type,
/// mode, owner, size, time to the nanosecond, contents, attributes, and the first name of the same file.
///
/// # Panics
/// If something cannot be read.
pub fn inventory(root: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut names = HashMap::new();
    walk(root, "", &mut names, &mut all);
    all
}

fn walk(
    dir: &Path,
    prefix: &str,
    names: &mut HashMap<(u64, u64), String>,
    all: &mut BTreeMap<String, String>,
) {
    let shown = if prefix.is_empty() { "." } else { prefix };
    all.insert(shown.to_owned(), describe(dir, shown, names));
    let mut entries: Vec<_> = fs::read_dir(dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    entries.sort_unstable();
    for name in entries {
        let path = dir.join(&name);
        let name = name.to_string_lossy();
        let shown = if prefix.is_empty() {
            name.into_owned()
        } else {
            format!("{prefix}/{name}")
        };
        let is_dir = fs::symlink_metadata(&path).is_ok_and(|stat| stat.is_dir());
        if is_dir {
            walk(&path, &shown, names, all);
        } else {
            let line = describe(&path, &shown, names);
            all.insert(shown, line);
        }
    }
}

fn describe(path: &Path, shown: &str, names: &mut HashMap<(u64, u64), String>) -> String {
    let stat = fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{shown}: {error}"));
    let kind = stat.file_type();
    let mut line = String::new();
    let mut add = |text: std::fmt::Arguments<'_>| line.write_fmt(text).expect("to a string");
    if kind.is_dir() {
        add(format_args!("dir"));
    } else if kind.is_file() {
        let bytes = fs::read(path).unwrap_or_else(|error| panic!("{shown}: {error}"));
        let digest = Algorithm::Sha256.digest(&bytes);
        add(format_args!("file {} {}", stat.len(), &digest.hex()[..16]));
    } else if kind.is_symlink() {
        let target = fs::read_link(path).expect("a link");
        add(format_args!("link {:?}", target.as_os_str()));
    } else {
        let (major, minor) = (
            rustix::fs::major(stat.rdev()),
            rustix::fs::minor(stat.rdev()),
        );
        let kind = [
            (kind.is_char_device(), "char"),
            (kind.is_block_device(), "block"),
            (kind.is_fifo(), "fifo"),
        ];
        let kind = kind
            .iter()
            .find(|(is, _)| *is)
            .map_or("socket", |(_, kind)| kind);
        add(format_args!("{kind} {major}:{minor}"));
    }
    let time = format_args!("{}.{:09}", stat.mtime(), stat.mtime_nsec()).to_string();
    add(format_args!(
        " {:o} {}:{} {time}",
        stat.mode() & 0o7777,
        stat.uid(),
        stat.gid()
    ));
    if !stat.is_dir() {
        let first = names
            .entry((stat.dev(), stat.ino()))
            .or_insert_with(|| shown.to_owned());
        if first != shown {
            add(format_args!(" ={first}"));
        }
    }
    let mut attributes = lapstrake_sys::xattr::list(path).unwrap_or_default();
    attributes.sort();
    for name in attributes {
        let value = lapstrake_sys::xattr::get(path, &name).expect("an attribute");
        let value = value.unwrap_or_default();
        add(format_args!(
            " {:?}={:?}",
            OsStr::from_bytes(&name),
            OsStr::from_bytes(&value)
        ));
    }
    line
}
