//! From what was asked to be mounted to what is: Docker's rules, and its words when they are broken.
//!
//! Requests come in several forms, and where two want the same place, one wins:
//!
//! ```text
//! -v /path, the image's VOLUMEs     a new volume, if nothing else is there
//! --volumes-from                    all that another container has, the last one named first
//! -v source:/path, --mount          over those; twice at the same place is an error
//! --tmpfs                           over all of them, but at the same place as a -v it is an error
//! ```
//!
//! It decides and does nothing: which volumes and directories must be made is part of the answer.

mod error;
mod from;
mod long;
mod mode;
mod path;
mod short;
mod tmpfs;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use crate::settings::{MountKind, MountPoint, MountRequests, Propagation};

pub use error::Error;
pub(crate) use path::clean as clean_path;
pub use tmpfs::options as tmpfs_options;

/// The driver of volumes unless another is named.
pub const LOCAL_DRIVER: &str = "local";

/// What requests are resolved against.
pub trait Host {
    /// What is mounted in another container, by its name or id.
    fn mounts_of(&self, container: &str) -> Option<Vec<MountPoint>>;

    /// Whether there is something at a path of the host; links are followed.
    ///
    /// # Errors
    /// If that can't be told.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// The id of an image.
    ///
    /// # Errors
    /// Why there is none, in words for the client.
    fn image(&self, name: &str) -> Result<String, String>;

    /// Whether the container's image has something else than a directory at a path.
    fn is_file_in_image(&self, path: &Path) -> bool;

    /// A name that no volume has: 64 hexadecimal digits.
    fn new_volume_name(&self) -> String;
}

/// How requests are read.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// The daemon's own directory: a mount that shows it must not keep mounts in it from going away.
    pub root: &'a Path,
    /// Whether read-only binds leave mounts below them writable, as they did for clients before API 1.44.
    pub read_only_non_recursive: bool,
}

/// A volume that a container uses, and that is made if it is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WantedVolume {
    /// Its name.
    pub name: String,
    /// Its driver, if one was named.
    pub driver: Option<String>,
    /// For a volume that is made.
    pub options: BTreeMap<String, String>,
    /// For a volume that is made.
    pub labels: BTreeMap<String, String>,
    /// Whether it was given no name: it is new, and labelled as such.
    pub anonymous: bool,
}

/// What requests come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolved {
    /// What is mounted, those above before those below.
    pub mounts: Vec<MountPoint>,
    /// Volumes that must be there.
    pub volumes: Vec<WantedVolume>,
    /// Directories of the host that are made, if they are not there, whenever the container starts.
    pub host_dirs: Vec<PathBuf>,
}

/// Resolves requests.
///
/// # Errors
/// If one breaks a rule, in Docker's words.
pub fn resolve(
    requests: &MountRequests,
    rules: Rules<'_>,
    host: &dyn Host,
) -> Result<Resolved, Error> {
    check_forms(requests, host)?;
    let mut table = Table::default();
    for from in &requests.volumes_from {
        table.take_over(from, host)?;
    }
    for bind in &requests.binds {
        table.add_bind(bind, requests, rules, host)?;
    }
    for mount in &requests.mounts {
        table.add_mount(mount, rules, host)?;
    }
    let tmpfs = tmpfs::parse(&requests.tmpfs)?;
    for destination in &requests.volumes {
        let destination = path::clean(&rooted(destination));
        if !table.mounts.contains_key(&destination) && !tmpfs.contains_key(&destination) {
            table.add_anonymous(destination, requests, host)?;
        }
    }
    Ok(table.finish(tmpfs))
}

/// Sees to it that each request is sound by itself, before any is acted on.
fn check_forms(requests: &MountRequests, host: &dyn Host) -> Result<(), Error> {
    let driver = requests.volume_driver.as_deref();
    for volume in &requests.volumes {
        path::check_destination(&rooted(volume)).map_err(Error::Place)?;
    }
    for bind in &requests.binds {
        short::parse(bind, driver)?;
    }
    for mount in &requests.mounts {
        long::check(mount, host)?;
    }
    for from in &requests.volumes_from {
        from::parse(from)?;
    }
    tmpfs::parse(&requests.tmpfs).map(drop)
}

/// Images may say `VOLUME data`, and mean the root's.
fn rooted(destination: &str) -> String {
    format!("/{}", destination.trim_start_matches('/'))
}

/// What is mounted where, so far.
#[derive(Default)]
struct Table {
    mounts: BTreeMap<PathBuf, MountPoint>,
    /// Volumes of those, by destination: what is displaced is not made.
    volumes: BTreeMap<PathBuf, WantedVolume>,
    /// Destinations that were asked for explicitly.
    taken: BTreeSet<PathBuf>,
}

impl Table {
    fn take_over(&mut self, from: &str, host: &dyn Host) -> Result<(), Error> {
        let from = from::parse(from)?;
        let theirs = host.mounts_of(from.container);
        let theirs = theirs.ok_or_else(|| Error::NoContainer(from.container.to_owned()))?;
        for mount in theirs {
            if mount.is_plain_tmpfs() {
                continue;
            }
            let volume = (mount.kind == MountKind::Volume).then(|| WantedVolume {
                name: mount.name.clone().unwrap_or_default(),
                driver: mount.driver.clone(),
                ..WantedVolume::default()
            });
            let mount = MountPoint {
                writable: mount.writable && from.writable,
                mode: String::new(),
                copy_up: false,
                shadowed: false,
                ..mount
            };
            self.put(mount, volume);
        }
        Ok(())
    }

    fn add_bind(
        &mut self,
        bind: &str,
        requests: &MountRequests,
        rules: Rules<'_>,
        host: &dyn Host,
    ) -> Result<(), Error> {
        let parsed = short::parse(bind, requests.volume_driver.as_deref())?;
        let (mut point, given) = (parsed.point, parsed.propagation);
        guard_root(&mut point, given, rules)?;
        let tmpfs = requests.tmpfs.keys().map(|key| path::clean(key));
        let destination = point.destination.clone();
        if self.taken.contains(&destination) || tmpfs.into_iter().any(|path| path == destination) {
            return Err(Error::Duplicate(destination.display().to_string()));
        }
        let volume = named_volume(&mut point, host);
        if point.kind == MountKind::Bind && !point.writable {
            point.bind.read_only_non_recursive = rules.read_only_non_recursive;
        }
        self.taken.insert(destination);
        self.put(point, volume);
        Ok(())
    }

    fn add_mount(
        &mut self,
        request: &crate::settings::MountRequest,
        rules: Rules<'_>,
        host: &dyn Host,
    ) -> Result<(), Error> {
        let mut point = long::parse(request, host)?;
        let given = request.bind.as_ref().and_then(|bind| bind.propagation);
        guard_root(&mut point, given, rules)?;
        if !self.taken.insert(point.destination.clone()) {
            return Err(Error::Duplicate(request.destination.clone()));
        }
        let volume = named_volume(&mut point, host).map(|volume| {
            let options = request.volume.clone().unwrap_or_default();
            WantedVolume {
                options: options.driver_options,
                labels: options.labels,
                ..volume
            }
        });
        if point.kind == MountKind::Bind && !point.writable && rules.read_only_non_recursive {
            point.bind.read_only_non_recursive = true;
        }
        self.put(point, volume);
        Ok(())
    }

    fn add_anonymous(
        &mut self,
        destination: PathBuf,
        requests: &MountRequests,
        host: &dyn Host,
    ) -> Result<(), Error> {
        if host.is_file_in_image(&destination) {
            return Err(Error::OverFile(destination));
        }
        let mut point = MountPoint {
            kind: MountKind::Volume,
            destination,
            driver: requests.volume_driver.clone(),
            writable: true,
            copy_up: true,
            anonymous: true,
            ..MountPoint::default()
        };
        let volume = named_volume(&mut point, host);
        point.mode = String::new();
        self.put(point, volume);
        Ok(())
    }

    fn put(&mut self, mount: MountPoint, volume: Option<WantedVolume>) {
        let destination = mount.destination.clone();
        match volume {
            Some(volume) => drop(self.volumes.insert(destination.clone(), volume)),
            None => drop(self.volumes.remove(&destination)),
        }
        self.mounts.insert(destination, mount);
    }

    fn finish(mut self, tmpfs: BTreeMap<PathBuf, MountPoint>) -> Resolved {
        for destination in tmpfs.keys() {
            if let Some(below) = self.mounts.get_mut(destination) {
                below.shadowed = true;
            }
        }
        let mut mounts: Vec<_> = self
            .mounts
            .into_values()
            .chain(tmpfs.into_values())
            .collect();
        // Of two at one place the tmpfs comes last, for the sort is stable.
        mounts.sort_by_cached_key(|mount| {
            let depth = mount.destination.components().count();
            (depth, mount.destination.clone())
        });
        let made = |mount: &&MountPoint| {
            mount.kind == MountKind::Bind && mount.bind.create_source && !mount.shadowed
        };
        let host_dirs = mounts.iter().filter(made);
        Resolved {
            host_dirs: host_dirs.map(|mount| mount.source.clone()).collect(),
            volumes: self.volumes.into_values().collect(),
            mounts,
        }
    }
}

/// The volume of a mount, which gets a name if it has none.
fn named_volume(point: &mut MountPoint, host: &dyn Host) -> Option<WantedVolume> {
    if point.kind != MountKind::Volume {
        return None;
    }
    let name = point.name.get_or_insert_with(|| host.new_volume_name());
    let volume = WantedVolume {
        name: name.clone(),
        driver: point.driver.clone(),
        anonymous: point.anonymous,
        ..WantedVolume::default()
    };
    let driver = point.driver.get_or_insert_with(|| LOCAL_DRIVER.to_owned());
    if driver == LOCAL_DRIVER && point.mode.is_empty() {
        // Volumes are shared between containers, so that labels are too.
        "z".clone_into(&mut point.mode);
    }
    Some(volume)
}

/// A mount that shows the daemon's own directory gets the propagation with which it keeps nothing mounted
/// there that the daemon unmounts.
fn guard_root(
    point: &mut MountPoint,
    given: Option<Propagation>,
    rules: Rules<'_>,
) -> Result<(), Error> {
    let root = rules.root;
    let shows = point.source.starts_with(root) || root.starts_with(&point.source);
    if point.kind != MountKind::Bind || !shows {
        return Ok(());
    }
    match given {
        None => point.bind.propagation = Some(Propagation::Rslave),
        Some(Propagation::Rslave | Propagation::Rshared) => {}
        Some(propagation) => {
            return Err(Error::ShowsRoot {
                root: root.to_owned(),
                shown: point.source.clone(),
                propagation,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
