//! Options of memory: those of `--mount type=tmpfs`, which are few, and those of `--tmpfs`, which are
//! mount(8)'s.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::error::{Error, Fault};
use super::path;
use crate::settings::{MountKind, MountPoint, Propagation, TmpfsOptions};

/// What every tmpfs has unless its options say something else.
const BASE: [&str; 4] = ["noexec", "nosuid", "nodev", "rprivate"];

/// Reads all `--tmpfs`.
pub(super) fn parse(
    requests: &BTreeMap<String, String>,
) -> Result<BTreeMap<PathBuf, MountPoint>, Error> {
    let mut points = BTreeMap::new();
    for (destination, options) in requests {
        path::check_destination(destination).map_err(Error::Place)?;
        let options = options.split(',').filter(|option| !option.is_empty());
        let options: Vec<String> = options.map(str::to_owned).collect();
        merge(&options).map_err(Error::Place)?;
        let point = MountPoint {
            kind: MountKind::Tmpfs,
            destination: path::clean(destination),
            writable: !options.iter().any(|option| option == "ro"),
            tmpfs: TmpfsOptions {
                options,
                ..TmpfsOptions::default()
            },
            ..MountPoint::default()
        };
        points.insert(point.destination.clone(), point);
    }
    Ok(points)
}

/// Sees to it that the options of a `--mount type=tmpfs` are those that it may have.
pub(super) fn check(options: Option<&TmpfsOptions>) -> Result<(), Fault> {
    let options = options.map(|options| &options.options[..]);
    for option in options.unwrap_or_default() {
        let name = option.split_once('=').map_or(&option[..], |(name, _)| name);
        if !matches!(name, "exec" | "noexec") {
            return Err(Fault::Option(name.to_owned()));
        }
    }
    Ok(())
}

/// The options with which a tmpfs is mounted, as mount(8) has them.
///
/// # Errors
/// If one is none of a tmpfs's.
pub fn options(point: &MountPoint) -> Result<Vec<String>, Error> {
    let mut given = Vec::new();
    if point.request.is_some() && !point.writable {
        given.push("ro".to_owned());
    }
    if let Some(mode) = point.tmpfs.mode.filter(|mode| *mode != 0) {
        given.push(format!("mode={mode:o}"));
    }
    if let Some(size) = point.tmpfs.size.filter(|size| *size != 0) {
        given.push(format!("size={}", size_text(size)));
    }
    given.extend(point.tmpfs.options.iter().cloned());
    merge(&given).map_err(Error::Place)
}

/// Bytes, with the largest unit that divides them.
fn size_text(size: u64) -> String {
    for (unit, shift) in [("g", 30), ("m", 20), ("k", 10)] {
        if size.is_multiple_of(1 << shift) {
            return format!("{}{unit}", size >> shift);
        }
    }
    size.to_string()
}

/// Options over those that every tmpfs has: of several that say the same thing the last counts.
fn merge(given: &[String]) -> Result<Vec<String>, Fault> {
    let base = BASE.iter().map(|option| (*option).to_owned());
    let all: Vec<String> = base.chain(given.iter().cloned()).collect();
    let mut said = BTreeSet::new();
    let mut merged = Vec::new();
    for option in all.into_iter().rev() {
        if option == "defaults" {
            continue;
        }
        let about = subject(&option).ok_or_else(|| {
            let quoted: Vec<String> = option
                .splitn(2, '=')
                .map(|part| format!("{part:?}"))
                .collect();
            Fault::TmpfsOption(quoted.join(" "))
        })?;
        if said.insert(about.to_owned()) {
            merged.push(option);
        }
    }
    merged.reverse();
    Ok(merged)
}

/// What an option is about; nothing if it is none.
fn subject(option: &str) -> Option<&str> {
    if Propagation::parse(option).is_some() {
        return Some("propagation");
    }
    Some(match option {
        "ro" | "rw" => "ro",
        "suid" | "nosuid" => "suid",
        "dev" | "nodev" => "dev",
        "exec" | "noexec" => "exec",
        "sync" | "async" => "sync",
        "dirsync" => "dirsync",
        "mand" | "nomand" => "mand",
        "atime" | "noatime" => "atime",
        "diratime" | "nodiratime" => "diratime",
        "relatime" | "norelatime" => "relatime",
        "strictatime" | "nostrictatime" => "strictatime",
        "remount" => "remount",
        "bind" | "rbind" | "unbindable" | "runbindable" => "propagation",
        other => {
            let (name, _value) = other.split_once('=')?;
            let known = [
                "",
                "size",
                "mode",
                "uid",
                "gid",
                "nr_inodes",
                "nr_blocks",
                "mpol",
            ];
            known.contains(&name).then_some(name)?
        }
    })
}
