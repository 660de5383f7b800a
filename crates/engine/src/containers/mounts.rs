//! What is mounted in a container: planned when it is made, attached while it runs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lapstrake_container::mounts::{self, Host, Resolved, Rules};
use lapstrake_container::settings::{MountKind, MountPoint, MountRequests, Settings};
use lapstrake_container::spec::HostMount;

use super::Containers;
use super::container::Container;
use super::create::{hexadecimal, random};
use super::error::{Result, io_error};
use super::record::Record;
use crate::events::{Action, Kind as EventKind};
use crate::image::Claimed;
use crate::{ImageName, VolumeError, VolumeErrorClass};

impl Containers {
    /// What requests come to, for a container over an image.
    pub(crate) fn resolve_mounts(
        &self,
        claimed: &Claimed,
        settings: &Settings,
        requests: &MountRequests,
    ) -> Result<Resolved> {
        let mut requests = requests.clone();
        let volumes = settings.execution.volumes.iter().cloned();
        requests.volumes.extend(volumes);
        let host = Surroundings { all: self, claimed };
        let rules = Rules {
            root: self.inner.engine.root(),
            read_only_non_recursive: false,
        };
        Ok(mounts::resolve(&requests, rules, &host)?)
    }

    /// Attaches what is mounted in a container, and says where on the host it is.
    pub(crate) fn attach_mounts(&self, record: &Record) -> Result<Vec<HostMount>> {
        let mounts: Vec<_> = record.settings.host.mounts.iter().collect();
        let sources = self.attach_each(&record.id, &mounts)?;
        let at = mounts.iter().zip(&sources);
        at.map(|(point, source)| Ok(HostMount::of(point, source)?))
            .collect()
    }

    /// Attaches mounts of a container one after another, and tells of the volumes that it did not have before.
    /// Where on the host they are.
    pub(crate) fn attach_each(&self, id: &str, mounts: &[&MountPoint]) -> Result<Vec<PathBuf>> {
        let had = self.volumes_of(id, mounts);
        let attach = |point: &&MountPoint| {
            let source = self.attach_mount(id, point)?;
            if let Some(name) = mounted_volume(point).filter(|name| !had.contains(name)) {
                let how = [
                    ("container", id.to_owned()),
                    ("destination", point.destination.display().to_string()),
                    // As Docker has it, for volumes there is none.
                    ("propagation", String::new()),
                    ("read/write", point.writable.to_string()),
                ];
                self.tell_volume(name, Action::Mount, &how);
            }
            Ok(source)
        };
        mounts.iter().map(attach).collect()
    }

    /// Those volumes among mounts that a container has attached.
    fn volumes_of<'a>(&self, id: &str, mounts: &[&'a MountPoint]) -> BTreeSet<&'a str> {
        let volumes = mounts.iter().filter_map(|point| point.volume());
        volumes
            .filter(|name| self.inner.volumes.is_attached(name, id))
            .collect()
    }

    fn attach_mount(&self, id: &str, point: &MountPoint) -> Result<PathBuf> {
        let volumes = &self.inner.volumes;
        let name = point.name.as_deref().unwrap_or_default();
        match point.kind {
            MountKind::Tmpfs => Ok(PathBuf::new()),
            MountKind::Bind => {
                if point.bind.create_source {
                    make_source(&point.source)?;
                }
                Ok(point.source.clone())
            }
            MountKind::Volume => match point.subpath.as_deref() {
                Some(part) => Ok(volumes.attach_part(name, part, id)?),
                None => Ok(volumes.attach(name, id)?),
            },
            MountKind::Image => {
                let image: ImageName = (name.parse()).map_err(crate::Error::Name)?;
                let part = point.subpath.as_deref();
                Ok(volumes
                    .attach_image(&self.inner.engine, image, part, id)?
                    .path)
            }
        }
    }

    /// Says, after a restart, that a container that runs has its volumes.
    pub(crate) fn attach_again(&self, container: &Container) -> Result<()> {
        let mounts = container.with(|record| record.settings.host.mounts.clone());
        for name in mounts.iter().filter_map(MountPoint::volume) {
            self.inner.volumes.attach(name, &container.id)?;
        }
        Ok(())
    }

    /// Takes back what was attached for a container, and tells of the volumes among it.
    pub(crate) fn detach_mounts(&self, id: &str) -> Result<()> {
        let volumes = &self.inner.volumes;
        let mounts = match self.find(id) {
            Ok(container) => container.with(|record| record.settings.host.mounts.clone()),
            // Without a record there is nobody to say what it had; `Volumes::settle` finds that.
            Err(_) => Vec::new(),
        };
        let had = self.volumes_of(id, &mounts.iter().collect::<Vec<_>>());
        for point in &mounts {
            let Some(name) = point.volume() else {
                continue;
            };
            volumes.detach(name, id)?;
            if mounted_volume(point).is_some() && had.contains(name) {
                self.tell_volume(name, Action::Unmount, &[("container", id.to_owned())]);
            }
        }
        Ok(volumes.detach_images(&self.inner.engine, id)?)
    }

    /// Fills volumes that are empty with what the image has in their place.
    pub(crate) fn fill_volumes(
        &self,
        id: &str,
        claimed: &Claimed,
        mounts: &[MountPoint],
    ) -> Result<()> {
        let to_fill = |point: &&MountPoint| point.kind == MountKind::Volume && point.copy_up;
        if !mounts.iter().any(|point| to_fill(&point)) {
            return Ok(());
        }
        let engine = &self.inner.engine;
        engine.with_stack_at(&claimed.image, &claimed.config, |root| {
            let mut to_fill = mounts.iter().filter(to_fill);
            Ok(to_fill.try_for_each(|point| self.fill_volume(id, root, point)))
        })?
    }

    fn fill_volume(&self, id: &str, root: &Path, point: &MountPoint) -> Result<()> {
        let name = point.name.as_deref().unwrap_or_default();
        let (part, destination) = (point.subpath.as_deref(), &point.destination);
        let filled = (self.inner.volumes).fill(name, part, id, root, destination);
        Ok(filled.map(drop)?)
    }

    /// Removes the volumes that were made for a container alone.
    pub(crate) fn remove_anonymous_volumes(&self, container: &Container) {
        let mounts = container.with(|record| record.settings.host.mounts.clone());
        let users = |name: &str| self.users_of(name, Some(&container.id));
        for point in mounts.iter().filter(|point| point.anonymous) {
            let Some(name) = &point.name else { continue };
            match self.inner.volumes.remove(name, &users) {
                Ok(()) => self.tell_volume(name, Action::Destroy, &[]),
                Err(error) if is_there_or_used(&error) => {}
                Err(error) => self.note(&format!("volume {name}: {error}")),
            }
        }
    }

    /// Tells that something happened to a volume: with its driver, and what else there is to say.
    pub(crate) fn tell_volume(&self, name: &str, action: Action, more: &[(&str, String)]) {
        let driver = ("driver", mounts::LOCAL_DRIVER.to_owned());
        let attributes = more.iter().cloned().chain([driver]);
        let attributes = attributes.map(|(key, value)| (key.to_owned(), value));
        self.events()
            .publish(EventKind::Volume, action, name, attributes.collect());
    }
}

/// The volume that a container finds at a mount.
fn mounted_volume(point: &MountPoint) -> Option<&str> {
    point.volume().filter(|_| !point.shadowed)
}

/// A volume that others use, or that is gone, is nothing to report.
fn is_there_or_used(error: &VolumeError) -> bool {
    matches!(
        error.class(),
        VolumeErrorClass::NotFound | VolumeErrorClass::Conflict
    )
}

fn make_source(path: &Path) -> Result<()> {
    use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
    // Whether it is there is asked, and nothing else: a server that does not answer holds up the runtime, which
    // can be killed, and not this process.
    let how = AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_DONT_SYNC;
    match statx(CWD, path, how, StatxFlags::empty()) {
        Err(rustix::io::Errno::NOENT) => {
            std::fs::create_dir_all(path).map_err(io_error("create", path))
        }
        _ => Ok(()),
    }
}

/// Whether there is something else than a directory at a path in a root.
fn is_file(root: &Path, path: &Path) -> rustix::io::Result<bool> {
    use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};
    let root = open(
        root,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let found = openat2(&root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)?;
    Ok(FileType::from_raw_mode(fstat(&found)?.st_mode) != FileType::Directory)
}

/// What requests are resolved against.
struct Surroundings<'a> {
    all: &'a Containers,
    claimed: &'a Claimed,
}

impl Host for Surroundings<'_> {
    fn mounts_of(&self, container: &str) -> Option<Vec<MountPoint>> {
        let container = self.all.find(container).ok()?;
        Some(container.with(|record| record.settings.host.mounts.clone()))
    }

    fn exists(&self, path: &Path) -> std::io::Result<bool> {
        path.try_exists()
    }

    fn image(&self, name: &str) -> std::result::Result<String, String> {
        let image: ImageName = name.parse().map_err(|error| format!("{error}"))?;
        let found = self.all.inner.engine.resolve(image);
        found
            .map(|image| image.config.to_string())
            .map_err(|error| error.to_string())
    }

    fn is_file_in_image(&self, path: &Path) -> bool {
        let engine = &self.all.inner.engine;
        let relative = path.strip_prefix("/").unwrap_or(path);
        let look = |root: &Path| Ok(is_file(root, relative));
        let found = engine.with_stack_at(&self.claimed.image, &self.claimed.config, look);
        // What can't be seen is met again when the container is started.
        matches!(found, Ok(Ok(true)))
    }

    fn new_volume_name(&self) -> String {
        // Without random numbers there is no name that nobody has; the volume is then refused.
        random::<32>()
            .map(|bytes| hexadecimal(&bytes))
            .unwrap_or_default()
    }
}
