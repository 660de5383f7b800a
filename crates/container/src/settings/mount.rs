//! What is mounted in a container: as it was asked for, and as it was resolved.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a client asked to be mounted, in the ways there are to ask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MountRequests {
    /// `source:destination:options`, as `-v` has them.
    pub binds: Vec<String>,
    /// `--mount`.
    pub mounts: Vec<MountRequest>,
    /// Destination and options, as `--tmpfs` has them.
    pub tmpfs: BTreeMap<String, String>,
    /// `container[:options]`, as `--volumes-from` has them.
    pub volumes_from: Vec<String>,
    /// Destinations that get a new volume if nothing else is there: `-v /path`, and the image's own.
    pub volumes: Vec<String>,
    /// The driver of volumes that are made for `-v`.
    pub volume_driver: Option<String>,
}

/// One `--mount`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MountRequest {
    /// What.
    pub kind: MountKind,
    /// A path on the host, a volume's name, or an image's; empty for a new volume and for tmpfs.
    pub source: String,
    /// Where in the container.
    pub destination: String,
    /// Whether it can't be written there.
    pub read_only: bool,
    /// For binds; none were given if nothing.
    pub bind: Option<BindOptions>,
    /// For volumes.
    pub volume: Option<VolumeOptions>,
    /// For tmpfs.
    pub tmpfs: Option<TmpfsOptions>,
    /// For images: a directory in it.
    pub image_subpath: Option<String>,
}

/// What a mount shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountKind {
    /// A file or directory of the host.
    #[default]
    Bind,
    /// A volume.
    Volume,
    /// Memory.
    Tmpfs,
    /// An image's root, read-only.
    Image,
}

/// Options of a bind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BindOptions {
    /// Whether mounts below come into sight on the other side.
    pub propagation: Option<Propagation>,
    /// Whether mounts below the source are left out.
    pub non_recursive: bool,
    /// Whether a source that is not there is made: a directory.
    pub create_source: bool,
    /// Whether a read-only bind leaves mounts below it writable.
    pub read_only_non_recursive: bool,
    /// Whether a read-only bind fails if mounts below it can't be made read-only.
    pub read_only_force_recursive: bool,
}

/// Options of a volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeOptions {
    /// Whether an empty volume stays empty.
    pub no_copy: bool,
    /// For a volume that is made.
    pub labels: BTreeMap<String, String>,
    /// For a volume that is made.
    pub driver: Option<String>,
    /// For a volume that is made.
    pub driver_options: BTreeMap<String, String>,
    /// A directory in the volume.
    pub subpath: Option<String>,
}

/// Options of a tmpfs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TmpfsOptions {
    /// Bytes.
    pub size: Option<u64>,
    /// Permission bits of its root.
    pub mode: Option<u32>,
    /// Mount options that were given: `rw`, `noexec`, `size=64m`.
    pub options: Vec<String>,
}

/// How mounts propagate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Propagation {
    /// Not, with everything below.
    Rprivate,
    /// Not.
    Private,
    /// Both ways, with everything below.
    Rshared,
    /// Both ways.
    Shared,
    /// Into the container, with everything below.
    Rslave,
    /// Into the container.
    Slave,
}

/// A mount, resolved: part of a container's record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MountPoint {
    /// What.
    pub kind: MountKind,
    /// The volume's name, or the image as it was named.
    pub name: Option<String>,
    /// For binds, the path on the host; for images, the id. That of a volume is asked of the volume.
    pub source: PathBuf,
    /// Where in the container: absolute and without `.`, `..` or a slash at the end.
    pub destination: PathBuf,
    /// A volume's driver.
    pub driver: Option<String>,
    /// Options that were given in the short form, for show: `ro,z`.
    pub mode: String,
    /// Whether it can be written.
    pub writable: bool,
    /// Bind options that were given or follow.
    pub bind: BindOptions,
    /// A directory in the volume or image.
    pub subpath: Option<String>,
    /// Whether an empty volume gets the image's content.
    pub copy_up: bool,
    /// Whether the volume was made for this container and goes with it: its request had no source.
    pub anonymous: bool,
    /// For tmpfs.
    pub tmpfs: TmpfsOptions,
    /// The request, if it was one of [`MountRequests::mounts`].
    pub request: Option<MountRequest>,
    /// Whether a tmpfs of [`MountRequests::tmpfs`] takes its place, so that it is not mounted.
    pub shadowed: bool,
}

impl MountPoint {
    /// The name of the volume that it is of, if it is of one.
    pub fn volume(&self) -> Option<&str> {
        let name = self.name.as_deref();
        name.filter(|_| self.kind == MountKind::Volume)
    }

    /// Whether it is one of [`MountRequests::tmpfs`], which Docker does not show as a mount.
    pub fn is_plain_tmpfs(&self) -> bool {
        self.kind == MountKind::Tmpfs && self.request.is_none()
    }
}

impl MountKind {
    /// Its name, as Docker has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Volume => "volume",
            Self::Tmpfs => "tmpfs",
            Self::Image => "image",
        }
    }
}

impl Propagation {
    /// Its name, as mount(8) has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rprivate => "rprivate",
            Self::Private => "private",
            Self::Rshared => "rshared",
            Self::Shared => "shared",
            Self::Rslave => "rslave",
            Self::Slave => "slave",
        }
    }

    /// The propagation of this name.
    pub fn parse(name: &str) -> Option<Self> {
        let all = [
            Self::Rprivate,
            Self::Private,
            Self::Rshared,
            Self::Shared,
            Self::Rslave,
            Self::Slave,
        ];
        all.into_iter().find(|one| one.name() == name)
    }
}
