//! Another name for a container.

use std::sync::Arc;

use super::error::{Error, Result};
use super::record::Phase;
use super::{Containers, names};
use crate::events::Action;

impl Containers {
    /// Gives a container another name.
    ///
    /// # Errors
    /// If there is none of the old name, or the new one is taken or is none.
    pub async fn rename(&self, name: &str, new: &str) -> Result<()> {
        let container = self.find(name)?;
        if new.is_empty() {
            return Err(Error::Invalid("new name cannot be empty".to_owned()));
        }
        let new = names::checked(new)?.to_owned();
        let _changing = container.changing().await;
        if matches!(container.phase(), Phase::Removing | Phase::Dead) {
            return Err(Error::Conflict(format!(
                "container {} is marked for removal and cannot be renamed",
                container.id
            )));
        }
        let old = container.with(|record| record.name.clone());
        if old == new {
            return Err(Error::Invalid(
                "Renaming a container with the same name as its current name".to_owned(),
            ));
        }
        let reserved = self.registry().reserve(&new, &container.id);
        reserved
            .map_err(|why| Error::Conflict(format!("Error when allocating new name: {why}")))?;
        container.change(|record| record.name.clone_from(&new));
        let this = Arc::clone(&container);
        if let Err(error) = self.blocking(move |all| all.save(&this)).await {
            container.change(|record| record.name.clone_from(&old));
            self.registry().release(&new);
            return Err(error);
        }
        self.registry().release(&old);
        self.tell(
            &container,
            Action::Rename,
            &[("oldName", format!("/{old}"))],
        );
        Ok(())
    }
}
