//! Waiting for a container.

use tokio::sync::watch;

use super::Containers;
use super::container::Seen;
use super::error::{Error, Result};

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// That it does not run.
    NotRunning,
    /// That it ends once more.
    NextExit,
    /// That it is no more.
    Removed,
}

/// A wait that has begun: what happens from now on is not missed.
#[derive(Debug)]
pub struct Wait {
    seen: watch::Receiver<Seen>,
    until: Until,
    exits: u64,
}

impl Containers {
    /// Begins to wait for a container.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn wait(&self, name: &str, until: Until) -> Result<Wait> {
        let container = self.find(name)?;
        let seen = container.watch();
        let exits = seen.borrow().exits;
        Ok(Wait { seen, until, exits })
    }
}

impl Wait {
    /// Waits. How it ended last, and what went wrong.
    ///
    /// # Errors
    /// If the daemon ends.
    pub async fn ended(mut self) -> Result<Seen> {
        let (until, exits) = (self.until, self.exits);
        let reached = |seen: &Seen| {
            seen.removed
                || match until {
                    // One that is about to be started again has ended all the same.
                    Until::NotRunning => !seen.phase.is_active() || seen.exits > exits,
                    Until::NextExit => seen.exits > exits,
                    Until::Removed => false,
                }
        };
        let seen = self.seen.wait_for(reached).await;
        let seen = seen.map_err(|_gone| Error::Internal("the daemon ends".to_owned()))?;
        Ok(seen.clone())
    }
}
