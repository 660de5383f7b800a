//! Claims: who is about to use a volume, and has no record yet that says so.
//!
//! A container's maker claims the volumes that it will use, has those made that are not there, writes the
//! container's record, and lets go. Whoever removes a volume looks at claims first and at records then, so
//! that one of the two tells.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use lapstrake_container::mounts::WantedVolume;
use lapstrake_store::Commit;

use super::create::NewVolume;
use super::error::Result;
use super::{Volumes, held};

/// How often each volume is claimed, and by whom.
#[derive(Debug, Default)]
pub(super) struct Claims {
    by_name: Mutex<BTreeMap<String, Vec<String>>>,
}

impl Claims {
    fn take(&self, name: &str, user: &str) {
        let mut claims = held(&self.by_name);
        claims
            .entry(name.to_owned())
            .or_default()
            .push(user.to_owned());
    }

    fn release(&self, name: &str, user: &str) {
        let mut claims = held(&self.by_name);
        let Some(users) = claims.get_mut(name) else {
            return;
        };
        if let Some(at) = users.iter().position(|one| one == user) {
            users.swap_remove(at);
        }
        if users.is_empty() {
            claims.remove(name);
        }
    }

    pub(super) fn of(&self, name: &str) -> Vec<String> {
        held(&self.by_name).get(name).cloned().unwrap_or_default()
    }
}

/// Volumes that are there and stay, until this is dropped.
#[derive(Debug)]
pub struct Claim {
    claims: Arc<Claims>,
    names: Vec<String>,
    made: Vec<String>,
    user: String,
}

impl Volumes {
    /// Sees to it that volumes are there, and keeps them from being removed for the container `user`, whose
    /// record is not written yet.
    ///
    /// # Errors
    /// If one can't be made. Those that were made before it are taken away again.
    pub fn claim(&self, wanted: &[WantedVolume], user: &str) -> Result<Claim> {
        let mut claim = Claim {
            claims: Arc::clone(&self.inner.claims),
            names: Vec::new(),
            made: Vec::new(),
            user: user.to_owned(),
        };
        for wanted in wanted {
            claim.claims.take(&wanted.name, user);
            claim.names.push(wanted.name.clone());
            let new = NewVolume {
                name: wanted.name.clone(),
                driver: wanted.driver.clone(),
                options: wanted.options.clone(),
                labels: wanted.labels.clone(),
                anonymous: wanted.anonymous,
                made_for: Some(user.to_owned()),
            };
            match self.create(&new) {
                Ok((_details, true)) => claim.made.push(wanted.name.clone()),
                Ok((_details, false)) => {}
                Err(error) => {
                    self.undo(claim);
                    return Err(error);
                }
            }
        }
        Ok(claim)
    }

    /// Lets go of a claim whose container has a record now.
    ///
    /// # Errors
    /// If the database refuses. The volumes stay all the same.
    pub fn done(&self, claim: Claim) -> Result<()> {
        for name in &claim.made {
            if let Some(volume) = self.inner.table.get(name) {
                // What a crash takes back of this, the next start finds out from the container's record.
                let inner = &self.inner;
                inner.change(&volume, Commit::Lazy, |record| record.made_for = None)?;
            }
        }
        drop(claim);
        Ok(())
    }

    /// Lets go of a claim whose container came to nothing, and takes away what was made for it.
    pub fn undo(&self, claim: Claim) {
        let made = claim.made.clone();
        drop(claim);
        for name in made {
            // Whoever else began to use it keeps it; what can't be removed now is at the next start.
            drop(self.remove(&name, &|_name| Vec::new()));
        }
    }
}

impl Claim {
    /// Names of the volumes that were not there before.
    pub fn made(&self) -> &[String] {
        &self.made
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        for name in &self.names {
            self.claims.release(name, &self.user);
        }
    }
}
