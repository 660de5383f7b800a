//! What writable layers use of the disk, without looking at every file.
//!
//! A layer changes only while its container runs, or while files are copied into it. So what it used when its
//! container ended is what it uses still, and only those that run are looked at.

use super::Containers;
use super::container::Container;
use super::error::Result;

impl Containers {
    /// Bytes that a container's writable layer uses.
    ///
    /// # Errors
    /// If there is none of that name, or its layer can't be read.
    pub fn writable_bytes(&self, name: &str) -> Result<u64> {
        let container = self.find(name)?;
        let (kept, runs) = container.with(|record| {
            (
                record.state.writable_bytes,
                record.state.phase.has_process(),
            )
        });
        match kept {
            Some(bytes) if !runs => Ok(bytes),
            _ => self.measure(&container.id),
        }
    }

    /// Looks, when a container ended, what its layer uses; nothing if that can't be told.
    pub(crate) fn settle_size(&self, container: &Container) -> Option<u64> {
        match self.measure(&container.id) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                self.note(&format!(
                    "container {}: its size is not known: {error}",
                    container.id
                ));
                None
            }
        }
    }

    fn measure(&self, id: &str) -> Result<u64> {
        let engine = &self.inner.engine;
        let usage = engine
            .rooms()?
            .usage(&id.parse().map_err(crate::Error::from)?);
        Ok(usage.map_err(crate::Error::from)?.bytes)
    }
}
