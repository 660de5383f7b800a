//! Which containers there are: by id, by name, and by the beginning of an id.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::container::Container;
use super::error::{Error, Result};

/// The containers of a daemon.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    by_id: BTreeMap<String, Arc<Container>>,
    /// Names, also of containers that are being made.
    names: BTreeMap<String, String>,
}

impl Registry {
    /// Takes a name for a container.
    pub(crate) fn reserve(&mut self, name: &str, id: &str) -> Result<()> {
        match self.names.get(name) {
            Some(by) => Err(Error::NameTaken {
                name: name.to_owned(),
                by: by.clone(),
            }),
            None => {
                self.names.insert(name.to_owned(), id.to_owned());
                Ok(())
            }
        }
    }

    /// Gives a name back.
    pub(crate) fn release(&mut self, name: &str) {
        self.names.remove(name);
    }

    /// Adds a container, whose name was reserved.
    pub(crate) fn add(&mut self, container: Arc<Container>) {
        self.by_id.insert(container.id.clone(), container);
    }

    /// Takes a container and its name out.
    pub(crate) fn remove(&mut self, id: &str, name: &str) {
        self.by_id.remove(id);
        self.names.remove(name);
    }

    /// Every container, by id.
    pub(crate) fn all(&self) -> Vec<Arc<Container>> {
        self.by_id.values().cloned().collect()
    }

    /// The container of this id.
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Container>> {
        self.by_id.get(id).cloned()
    }

    /// The container of this id, name, or beginning of an id, in this order.
    pub(crate) fn find(&self, name: &str) -> Result<Arc<Container>> {
        let missing = || Error::NoContainer(name.to_owned());
        if let Some(container) = self.by_id.get(name) {
            return Ok(Arc::clone(container));
        }
        let bare = name.strip_prefix('/').unwrap_or(name);
        if let Some(id) = self.names.get(bare) {
            return self.by_id.get(id).cloned().ok_or_else(missing);
        }
        if bare.is_empty() {
            return Err(missing());
        }
        let mut matching = (self.by_id.range(bare.to_owned()..))
            .take_while(|(id, _)| id.starts_with(bare))
            .map(|(_, container)| container);
        match (matching.next(), matching.next()) {
            (Some(container), None) => Ok(Arc::clone(container)),
            (Some(_), Some(_)) => Err(Error::Ambiguous(bare.to_owned())),
            (None, _) => Err(missing()),
        }
    }
}
