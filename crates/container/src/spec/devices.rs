//! Devices of the host: found by path, given by number.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::error::io_error;
use super::{Error, Result};
use crate::settings::{Device, HostSettings};

/// The host's devices that a container's settings name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostDevices {
    /// Those that it gets.
    pub nodes: Vec<HostDevice>,
    /// Block devices with rates or weights: their numbers.
    pub blocks: BTreeMap<String, (u32, u32)>,
}

/// A device that a container gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostDevice {
    /// Where, in the container.
    pub path: PathBuf,
    /// Whether it is a block device; if not, it is one of characters.
    pub is_block: bool,
    /// Its numbers.
    pub number: (u32, u32),
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Some of `rwm`.
    pub access: String,
}

/// Below `/dev`, what a container has for itself.
const OWN: [&str; 7] = ["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"];
/// Directories of devices are not deeper than this.
const DEPTH_MAX: usize = 8;

impl HostDevices {
    /// Looks for the devices that the settings name. A privileged container gets all.
    ///
    /// # Errors
    /// If one is not there, or is no device.
    pub fn find(host: &HostSettings) -> Result<Self> {
        let mut nodes = Vec::new();
        if host.security.privileged {
            walk(
                Path::new("/dev"),
                Path::new("/dev"),
                "rwm",
                DEPTH_MAX,
                &mut nodes,
            )?;
        }
        for device in &host.devices {
            find(device, &mut nodes)?;
        }
        // Of two at the same place the one that was asked for by name counts.
        let mut places = BTreeSet::new();
        nodes.reverse();
        nodes.retain(|node| places.insert(node.path.clone()));
        nodes.reverse();
        let resources = &host.resources;
        let lists = [
            &resources.block_weights,
            &resources.read_bytes,
            &resources.write_bytes,
            &resources.read_operations,
            &resources.write_operations,
        ];
        let mut blocks = BTreeMap::new();
        for rate in lists.into_iter().flatten() {
            blocks.insert(rate.path.clone(), block(&rate.path)?);
        }
        Ok(Self { nodes, blocks })
    }

    /// The devices, as the runtime makes them.
    pub(super) fn list(&self) -> Vec<Value> {
        let one = |node: &HostDevice| {
            json!({
                "path": node.path,
                "type": node.kind(),
                "major": node.number.0,
                "minor": node.number.1,
                "fileMode": node.mode,
                "uid": node.uid,
                "gid": node.gid,
            })
        };
        self.nodes.iter().map(one).collect()
    }

    /// What the container may do with devices, as the runtime has it. The runtime adds the ordinary ones.
    pub(super) fn rules(&self, host: &HostSettings) -> Result<Vec<Value>> {
        if host.security.privileged {
            return Ok(vec![json!({ "allow": true, "access": "rwm" })]);
        }
        let mut rules = vec![json!({ "allow": false, "access": "rwm" })];
        for node in &self.nodes {
            rules.push(json!({
                "allow": true,
                "type": node.kind(),
                "major": node.number.0,
                "minor": node.number.1,
                "access": node.access,
            }));
        }
        for rule in &host.device_rules {
            rules.push(parse_rule(rule)?);
        }
        Ok(rules)
    }
}

impl HostDevice {
    const fn kind(&self) -> &'static str {
        if self.is_block { "b" } else { "c" }
    }
}

/// Reads `c 42:* rmw`.
pub(super) fn parse_rule(rule: &str) -> Result<Value> {
    let parse = || {
        let mut words = rule.split(' ');
        let (kind, numbers, access) = (words.next()?, words.next()?, words.next()?);
        let (major, minor) = numbers.split_once(':')?;
        let number = |text: &str| match text {
            "*" => Some(-1),
            text if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse::<u32>().ok().map(i64::from)
            }
            _ => None,
        };
        let sound = ["a", "b", "c"].contains(&kind) && is_access(access) && words.next().is_none();
        let (major, minor) = (number(major)?, number(minor)?);
        sound.then(|| json!({ "allow": true, "type": kind, "major": major, "minor": minor, "access": access }))
    };
    parse().ok_or_else(|| Error::Malformed {
        what: "device cgroup rule format",
        text: format!("'{rule}'"),
    })
}

/// Whether these are one to three of `rwm`.
pub(super) fn is_access(text: &str) -> bool {
    (1..=3).contains(&text.len()) && text.bytes().all(|byte| b"rwm".contains(&byte))
}

fn find(device: &Device, nodes: &mut Vec<HostDevice>) -> Result<()> {
    let access = match device.access.as_str() {
        "" => "rwm",
        access if is_access(access) => access,
        access => {
            let (what, text) = ("device mode", access.to_owned());
            return Err(Error::Malformed { what, text });
        }
    };
    let source = Path::new(&device.host);
    let target = match device.container.as_str() {
        "" => source,
        target => Path::new(target),
    };
    let problem = |problem| Error::Device {
        path: source.to_owned(),
        problem,
    };
    let found = std::fs::metadata(source).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => problem("no such file or directory"),
        _ => io_error("look at", source)(error),
    })?;
    if found.is_dir() {
        let before = nodes.len();
        walk(source, target, access, DEPTH_MAX, nodes)?;
        return match nodes.len() > before {
            true => Ok(()),
            false => Err(problem("no devices in it")),
        };
    }
    let node = node(&found, target, access).ok_or_else(|| problem("not a device node"))?;
    nodes.push(node);
    Ok(())
}

fn node(found: &std::fs::Metadata, target: &Path, access: &str) -> Option<HostDevice> {
    let is_block = found.file_type().is_block_device();
    (is_block || found.file_type().is_char_device()).then(|| HostDevice {
        path: target.to_owned(),
        is_block,
        number: number(found.rdev()),
        mode: found.mode() & 0o7777,
        uid: found.uid(),
        gid: found.gid(),
        access: access.to_owned(),
    })
}

/// All devices of a directory. What vanishes meanwhile is left out.
fn walk(
    source: &Path,
    target: &Path,
    access: &str,
    depth: usize,
    nodes: &mut Vec<HostDevice>,
) -> Result<()> {
    let entries = match std::fs::read_dir(source) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(io_error("read", source))?,
    };
    for entry in entries {
        let entry = entry.map_err(io_error("read", source))?;
        let (name, path) = (entry.file_name(), entry.path());
        let Ok(found) = path.symlink_metadata() else {
            continue;
        };
        let target = target.join(&name);
        let in_dev = source == Path::new("/dev");
        if found.is_dir() {
            let own = in_dev && OWN.iter().any(|own| name == *own);
            if !own && depth > 0 {
                walk(&path, &target, access, depth - 1, nodes)?;
            }
        } else if !(in_dev && name == "console") {
            nodes.extend(node(&found, &target, access));
        }
    }
    nodes.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(())
}

fn block(path: &str) -> Result<(u32, u32)> {
    let problem = |problem| Error::BlockDevice {
        path: PathBuf::from(path),
        problem,
    };
    let found = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => problem("no such file or directory"),
        _ => io_error("look at", path)(error),
    })?;
    match found.file_type().is_block_device() {
        true => Ok(number(found.rdev())),
        false => Err(problem("not a block device")),
    }
}

fn number(device: u64) -> (u32, u32) {
    (rustix::fs::major(device), rustix::fs::minor(device))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read() {
        let rule = parse_rule("c 42:* rmw").unwrap();
        assert_eq!(
            rule,
            json!({ "allow": true, "type": "c", "major": 42, "minor": -1, "access": "rmw" })
        );
        for bad in [
            "",
            "c",
            "x 1:1 r",
            "c 1 r",
            "c 1:1 x",
            "c 1:1 rwmr",
            "c 1:1 r ",
            "c 1:-1 r",
            "c 1:+1 r",
        ] {
            let error = parse_rule(bad).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("invalid device cgroup rule format: '{bad}'")
            );
        }
    }

    fn devices(list: &[(&str, &str, &str)]) -> Result<HostDevices> {
        let host = HostSettings {
            devices: list
                .iter()
                .map(|(host, container, access)| Device {
                    host: (*host).to_owned(),
                    container: (*container).to_owned(),
                    access: (*access).to_owned(),
                })
                .collect(),
            ..HostSettings::default()
        };
        HostDevices::find(&host)
    }

    #[test]
    fn devices_are_found_by_path() {
        let found = devices(&[("/dev/null", "/dev/x", "r"), ("/dev/null", "", "")]).unwrap();
        let brief: Vec<_> = found
            .nodes
            .iter()
            .map(|node| {
                (
                    node.path.to_str().unwrap(),
                    node.kind(),
                    node.number,
                    &*node.access,
                )
            })
            .collect();
        assert_eq!(
            brief,
            [
                ("/dev/x", "c", (1, 3), "r"),
                ("/dev/null", "c", (1, 3), "rwm")
            ]
        );
        for (path, said) in [
            ("/dev/not", "no such file or directory"),
            ("/etc/passwd", "not a device node"),
        ] {
            let error = devices(&[(path, path, "r")]).unwrap_err().to_string();
            assert!(error.ends_with(said) && error.contains(path), "{error}");
        }
        assert!(devices(&[("/dev/null", "", "rx")]).is_err());
    }
}
