//! What is told of who holds what.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lapstrake_oci::Digest;
use lapstrake_snapshot::LiveRoot;
use lapstrake_store::{Area, Object};

use crate::containers::Phase;

/// Bytes and inodes on the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Bytes allocated.
    pub bytes: u64,
    /// Files and directories.
    pub inodes: u64,
}

/// A blob or a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectUse {
    /// Which.
    pub object: Object,
    /// What it takes: a layer with its index.
    pub held: Held,
    /// Of a layer, bytes of its tar: what clients are told of its size.
    pub tar: Option<u64>,
    /// How many images have it.
    pub images: usize,
    /// How many writable layers, those of containers too, lie on it.
    pub writables: usize,
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUse {
    /// Its names.
    pub names: Vec<String>,
    /// Whether it has a name with a tag.
    pub tagged: bool,
    /// Its id.
    pub id: Digest,
    /// Its manifest.
    pub manifest: Digest,
    /// What it alone holds.
    pub alone: Held,
    /// What others hold too.
    pub shared: Held,
    /// All that it has, the largest first.
    pub objects: Vec<ObjectUse>,
    /// The writable layers on it, of containers too.
    pub writables: Vec<String>,
    /// Whether all its layers are mounted.
    pub mounted: bool,
}

/// A writable layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WritableUse {
    /// Its name; a container's is that of the container's id.
    pub name: String,
    /// Its image, as it was called then.
    pub image: String,
    /// Whether a root is mounted on it.
    pub mounted: bool,
    /// What it takes of the disk; nothing if its room is gone.
    pub held: Held,
    /// What it alone holds of its image: something only when the image has no name any more.
    pub content: Held,
    /// What it shares of its image.
    pub shared: Held,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerUse {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its image, as it was named when the container was made.
    pub image: String,
    /// The image's id.
    pub image_id: String,
    /// What it does.
    pub phase: Phase,
    /// Its writable layer, if it has one.
    pub layer: Option<WritableUse>,
    /// Its log.
    pub logs: Held,
    /// What else is kept of it: `/etc/hosts` and the like, its last exit.
    pub files: Held,
    /// Bytes that it wrote, as clients are told; not known of one that runs.
    pub written: Option<u64>,
    /// The volumes that it uses.
    pub volumes: Vec<String>,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeUse {
    /// Its name.
    pub name: String,
    /// Whether the client gave it no name.
    pub anonymous: bool,
    /// What it takes of the disk: nothing, if its options name a file system.
    pub held: Held,
    /// The containers that use it, by name.
    pub containers: Vec<String>,
}

/// Everything below a store's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskUsage {
    /// Images, the largest first.
    pub images: Vec<ImageUse>,
    /// What several holders have of images, once.
    pub shared: Held,
    /// Content that nobody holds, the largest first.
    pub loose: Vec<ObjectUse>,
    /// Containers, by name.
    pub containers: Vec<ContainerUse>,
    /// Writable layers that are no container's, by name.
    pub writables: Vec<WritableUse>,
    /// Volumes, by name.
    pub volumes: Vec<VolumeUse>,
    /// Roots that are mounted.
    pub mounts: Vec<LiveRoot>,
    /// The store's own.
    pub areas: BTreeMap<Area, Held>,
    /// What nothing here explains, by its path below the root.
    pub unknown: BTreeMap<PathBuf, Held>,
    /// All of it.
    pub total: Held,
    /// Bytes that `prune` would free.
    pub prunable: u64,
    /// Bytes that `prune --all` would free: damaged content included that was kept for a look.
    pub prunable_all: u64,
    /// What of that is damaged content.
    pub prunable_quarantine: u64,
    /// What of both are layers that pulls left unfinished.
    pub prunable_unfinished: u64,
}

impl Held {
    /// The sum of all these.
    pub fn sum(all: impl IntoIterator<Item = Self>) -> Self {
        let mut sum = Self::default();
        for held in all {
            sum.add(held);
        }
        sum
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.inodes += other.inodes;
    }
}

impl ImageUse {
    /// Whether it is mounted, or a writable layer lies on it.
    pub fn is_active(&self) -> bool {
        self.mounted || !self.writables.is_empty()
    }
}

impl WritableUse {
    /// What comes back when it goes.
    pub fn alone(&self) -> Held {
        Held::sum([self.held, self.content])
    }
}

impl ContainerUse {
    /// What comes back when it goes; its volumes stay.
    pub fn alone(&self) -> Held {
        let layer = self.layer.as_ref().map(WritableUse::alone);
        Held::sum([layer.unwrap_or_default(), self.logs, self.files])
    }

    /// What it shares of its image.
    pub fn shared(&self) -> Held {
        self.layer
            .as_ref()
            .map_or_else(Held::default, |layer| layer.shared)
    }
}

impl DiskUsage {
    /// What images take, and content that nobody holds.
    pub fn content(&self) -> Held {
        let alone = Held::sum(self.images.iter().map(|image| image.alone));
        let loose = Held::sum(self.loose.iter().map(|object| object.held));
        Held::sum([self.shared, alone, loose])
    }

    /// What containers take.
    pub fn contained(&self) -> Held {
        Held::sum(self.containers.iter().map(ContainerUse::alone))
    }

    /// What writable layers take that are no container's.
    pub fn written(&self) -> Held {
        Held::sum(self.writables.iter().map(WritableUse::alone))
    }

    /// What volumes take.
    pub fn in_volumes(&self) -> Held {
        Held::sum(self.volumes.iter().map(|volume| volume.held))
    }

    /// What nothing here explains.
    pub fn unexplained(&self) -> Held {
        Held::sum(self.unknown.values().copied())
    }

    pub(super) fn add_up(&mut self) {
        let areas = Held::sum(self.areas.values().copied());
        let holders = [self.content(), self.contained(), self.written()];
        let others = [self.in_volumes(), areas, self.unexplained()];
        self.total = Held::sum(holders.into_iter().chain(others));
    }
}
