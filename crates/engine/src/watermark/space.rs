//! What is free on a file system.

use std::path::Path;

use super::policy::Mark;
use crate::df::Held;
use crate::error::{Result, io_error};

/// What is free on a file system, and what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Free for everybody: what is kept back for root is not.
    pub free: Held,
    /// All of it.
    pub total: Held,
    /// Whether it counts inodes; with some, such as btrfs, they come from what is free.
    pub counts_inodes: bool,
}

impl Space {
    /// Of the file system on which a path is.
    pub(super) fn at(path: &Path) -> Result<Self> {
        let found = rustix::fs::statvfs(path).map_err(Into::into);
        let found = found.map_err(io_error("ask for the free space of", path))?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        // What root alone may have is left out of the whole too, as df has it.
        let used = found.f_blocks.saturating_sub(found.f_bfree);
        Ok(Self {
            free: Held {
                bytes: bytes(found.f_bavail),
                inodes: found.f_favail,
            },
            total: Held {
                bytes: bytes(used + found.f_bavail),
                inodes: found.f_files,
            },
            counts_inodes: found.f_files > 0,
        })
    }

    /// What is missing until a mark is met; nothing if it is.
    pub fn lacks(&self, mark: Mark) -> Held {
        let inodes = match mark {
            Mark::Percent(_) if self.counts_inodes => mark.of(self.total.inodes),
            Mark::Percent(_) | Mark::Bytes(_) => 0,
        };
        Held {
            bytes: mark.of(self.total.bytes).saturating_sub(self.free.bytes),
            inodes: inodes.saturating_sub(self.free.inodes),
        }
    }

    /// What there would be, were so much freed.
    pub(super) fn with(mut self, freed: Held) -> Self {
        self.free.bytes = self.free.bytes.saturating_add(freed.bytes);
        self.free.inodes = self.free.inodes.saturating_add(freed.inodes);
        self
    }

    /// How many hundredths of the bytes are free, in tenths, as text.
    pub fn percent(&self) -> String {
        let tenths = (u128::from(self.free.bytes) * 1000)
            .checked_div(u128::from(self.total.bytes))
            .unwrap_or(0);
        format!("{}.{}%", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(free: (u64, u64), total: (u64, u64)) -> Space {
        let held = |(bytes, inodes)| Held { bytes, inodes };
        Space {
            free: held(free),
            total: held(total),
            counts_inodes: total.1 > 0,
        }
    }

    #[test]
    fn a_mark_is_met_by_bytes_and_by_inodes_that_are_counted() {
        let lacks = |space: Space, mark| {
            let lacks = space.lacks(mark);
            (lacks.bytes, lacks.inodes)
        };
        let percent = Mark::Percent(20);
        assert_eq!(lacks(space((150, 90), (1000, 100)), percent), (50, 0));
        assert_eq!(lacks(space((200, 5), (1000, 100)), percent), (0, 15));
        assert_eq!(lacks(space((200, 0), (1000, 0)), percent), (0, 0));
        assert_eq!(
            lacks(space((200, 0), (1000, 100)), Mark::Bytes(210)),
            (10, 0)
        );
        assert_eq!(space((155, 0), (1000, 0)).percent(), "15.5%");
        assert_eq!(space((0, 0), (0, 0)).percent(), "0.0%");
    }

    #[test]
    fn a_file_system_says_what_it_has() {
        let space = Space::at(Path::new("/")).unwrap();
        assert!(space.free.bytes <= space.total.bytes && space.total.bytes > 0);
    }
}
