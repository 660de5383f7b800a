//! What a choice depends on.

use std::path::PathBuf;

use super::DriverName;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The kernel's release, for messages only.
    pub release: String,
    /// The kernel's EROFS.
    pub erofs: Erofs,
    /// Whether the kernel has overlay.
    pub overlay: bool,
    /// Whether there are loop devices.
    pub loop_devices: bool,
    /// Where layers lie.
    pub content: Content,
    /// Where writable layers and unpacked ones lie.
    pub state: State,
    /// Whether broken containers were asked for (`vfs.xattrs`).
    pub vfs_without_xattrs: bool,
    /// How many layers, or stacks, each driver has realised.
    pub realised: Vec<(DriverName, usize)>,
}

/// What EROFS can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Erofs {
    /// There is none.
    Missing,
    /// An image's contents must be in the image.
    OneDevice,
    /// Contents can be in a file of their own.
    Devices,
}

/// The file system of layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Its type.
    pub kind: String,
    /// Its files can be mounted as they are.
    pub backs_mounts: bool,
}

/// The file system of writable layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The directory.
    pub path: PathBuf,
    /// Its type.
    pub kind: String,
    /// It tells the types of files in directories.
    pub d_type: bool,
    /// It keeps extended attributes of the kinds that layers have.
    pub xattrs: bool,
    /// A trial overlay over it could be made and written to; or why not.
    pub upper: Result<(), String>,
    /// Files can share blocks.
    pub shares_blocks: bool,
}
