//! Names of drivers, as they are typed.

use std::fmt;
use std::str::FromStr;

/// A driver that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DriverName {
    /// Content is mounted as it is.
    Erofs,
    /// Layers are unpacked and overlaid.
    Overlay2,
    /// Roots are copies.
    Vfs,
}

impl DriverName {
    /// All, the best first.
    pub const ALL: [Self; 3] = [Self::Erofs, Self::Overlay2, Self::Vfs];

    /// As it is typed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Erofs => "erofs",
            Self::Overlay2 => "overlay2",
            Self::Vfs => "vfs",
        }
    }
}

impl fmt::Display for DriverName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is none of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Docker had it, or has it.
    #[error("storage driver {name:?} is not to be had here: {instead}")]
    Retired {
        /// The name.
        name: String,
        /// What to do.
        instead: &'static str,
    },
    /// Nobody knows it.
    #[error(
        "unknown storage driver {name:?}: there are erofs, overlay2 and vfs; leave it out to have the best one that works"
    )]
    Unknown {
        /// The name.
        name: String,
    },
}

impl FromStr for DriverName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        if let Some(driver) = Self::ALL.into_iter().find(|driver| driver.as_str() == name) {
            return Ok(driver);
        }
        let instead = match name {
            "overlay" | "overlayfs" => "use overlay2, which is the same idea, or erofs",
            "aufs" => {
                "no current kernel has it, and Docker dropped it in version 24; use overlay2 or erofs"
            }
            "devicemapper" => {
                "Docker dropped it in version 25; use erofs or overlay2, which need no thin pool, and give writable layers a size with --storage-opt size=10G"
            }
            "btrfs" => {
                "use erofs or overlay2: on btrfs both share blocks, and writable layers with a size are subvolumes with a quota group"
            }
            "zfs" => {
                "use erofs or overlay2, which work on a zfs dataset with xattr=sa and acltype=posixacl"
            }
            "fuse-overlayfs" => "use overlay2; without root nothing can be mounted here yet",
            _ => {
                return Err(NameError::Unknown {
                    name: name.to_owned(),
                });
            }
        };
        Err(NameError::Retired {
            name: name.to_owned(),
            instead,
        })
    }
}
