//! What the threads of an open store share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lapstrake_oci::DiffId;

use crate::claims::Claims;
use crate::content::Content;
use crate::error::Result;
use crate::index::Indexes;
use crate::lease::Leases;
use crate::object::Object;
use crate::stage::Moment;
use crate::state::State;
use crate::trash::Trash;
use crate::usage::{FileUse, measure};

#[derive(Debug)]
pub(crate) struct Shared {
    /// Whatever unfinished was begun before is a dead process's.
    pub(crate) opened: Moment,
    pub(crate) content: Content,
    pub(crate) indexes: Indexes,
    pub(crate) state: Mutex<State>,
    pub(crate) claims: Arc<Claims>,
    pub(crate) leases: Leases,
    pub(crate) trash: Trash,
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The files of an object, with its index.
    pub(crate) fn measure(&self, object: &Object) -> Result<Vec<FileUse>> {
        let mut files = Vec::new();
        measure(&self.content.path(object), &mut files)?;
        if let Object::Layer(id) = object {
            measure(&self.indexes.path(id), &mut files)?;
        }
        Ok(files)
    }

    /// Lets a layer be read back before it is used again: a sync of it failed.
    pub(crate) fn doubt(&self, layer: &DiffId) -> Result<()> {
        self.state().set_doubtful(layer)?;
        self.content.drop_cache(layer);
        Ok(())
    }

    /// Moves an object to the trash and removes its index. Its records must be gone.
    pub(crate) fn throw_away(&self, object: &Object) -> Result<()> {
        if let Object::Layer(id) = object {
            self.indexes.remove(id)?;
        }
        self.trash.take(&self.content.path(object)).map(drop)
    }
}
