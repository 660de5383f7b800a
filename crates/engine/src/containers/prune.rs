//! Removing all containers that don't run.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::error::{Error, Result};
use super::record::{Record, nanoseconds};
use super::{Containers, HowToRemove};
use crate::events::{Action, Kind as EventKind};
use crate::{Doing, Label};

/// Which of those that don't run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneContainers {
    /// Only those with all of these.
    pub labels: Vec<Label>,
    /// Only those that don't have all of these.
    pub not_labels: Vec<Label>,
    /// Only those that were made before.
    pub until: Option<SystemTime>,
}

/// What was removed, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrunedContainers {
    /// Ids.
    pub ids: Vec<String>,
    /// Bytes that the file system got back: of their writable layers, logs and other files.
    pub bytes: u64,
}

/// How long those with which something else is done are waited for, all together.
const PATIENCE: Duration = Duration::from_millis(500);

impl Containers {
    /// Removes containers that don't run, without their volumes.
    ///
    /// # Errors
    /// If another such removal is under way, or one can't be removed.
    pub async fn prune(&self, which: &PruneContainers, doing: Doing) -> Result<PrunedContainers> {
        let Ok(_alone) = self.inner.pruning.try_lock() else {
            return Err(Error::Conflict(
                "a prune operation is already running".to_owned(),
            ));
        };
        let mut pruned = PrunedContainers::default();
        let deadline = Self::patience();
        for record in self.records().iter().filter(|record| which.takes(record)) {
            let id = record.id.clone();
            // One whose room is gone takes nothing.
            let held = self.blocking(move |all| all.takes(&*all.find(&id)?)).await;
            let bytes = held.map_or(0, |held| held.bytes);
            if doing == Doing::It
                && !self
                    .remove_idle(&record.id, record.last_used(), deadline)
                    .await?
            {
                continue;
            }
            pruned.ids.push(record.id.clone());
            pruned.bytes += bytes;
        }
        if doing == Doing::It {
            // What is said to be free is.
            self.blocking(|all| Ok(all.inner.engine.settle()?)).await?;
            let attributes = BTreeMap::from([("reclaimed".to_owned(), pruned.bytes.to_string())]);
            self.events()
                .publish(EventKind::Container, Action::Prune, "", attributes);
        }
        Ok(pruned)
    }

    /// Until when those with which something else is done are waited for.
    pub(crate) fn patience() -> Instant {
        Instant::now() + PATIENCE
    }

    /// Removes a container, without its volumes, if it does not run, nothing is being done with it at the deadline, and it
    /// was not used after `used`. Whether it did.
    pub(crate) async fn remove_idle(
        &self,
        id: &str,
        used: SystemTime,
        deadline: Instant,
    ) -> Result<bool> {
        let how = HowToRemove {
            force: false,
            volumes: false,
        };
        let Ok(container) = self.find(id) else {
            return Ok(false);
        };
        let Ok(_still) = container.still_by(deadline).await else {
            // It is being started, or files are copied, and its volume does not answer: the others go on.
            return Ok(false);
        };
        if container.with(|record| record.last_used()) > used {
            return Ok(false);
        }
        match self.remove_held(&container, how).await {
            Ok(()) => Ok(true),
            // It was started or removed meanwhile.
            Err(Error::Conflict(_) | Error::NoContainer(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl PruneContainers {
    pub(crate) fn takes(&self, record: &Record) -> bool {
        let labels = &record.settings.execution.labels;
        let old = (self.until).is_none_or(|until| record.created < nanoseconds(until));
        !record.state.phase.is_active()
            && old
            && crate::prune::has_all(labels, &self.labels)
            && (self.not_labels.is_empty() || !crate::prune::has_all(labels, &self.not_labels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::{Phase, State};
    use lapstrake_container::settings::Settings;

    fn record(phase: Phase, labels: &[(&str, &str)], created: i64) -> Record {
        let mut settings = Settings::default();
        for (key, value) in labels {
            (settings.execution.labels).insert((*key).to_owned(), (*value).to_owned());
        }
        Record {
            id: "1".to_owned(),
            name: "one".to_owned(),
            created,
            image: String::new(),
            driver: String::new(),
            settings,
            document: String::new(),
            state: State {
                phase,
                ..State::default()
            },
        }
    }

    #[test]
    fn only_what_does_not_run_and_is_not_exempt() {
        let label = |key: &str, value: Option<&str>| Label {
            key: key.to_owned(),
            value: value.map(str::to_owned),
        };
        let all = PruneContainers::default();
        for (phase, taken) in [
            (Phase::Created, true),
            (Phase::Exited, true),
            (Phase::Dead, true),
            (Phase::Running, false),
            (Phase::Paused, false),
            (Phase::Restarting, false),
        ] {
            assert_eq!(all.takes(&record(phase, &[], 0)), taken, "{phase:?}");
        }
        let unprotected = PruneContainers {
            not_labels: vec![label("protected", None)],
            ..PruneContainers::default()
        };
        assert!(!unprotected.takes(&record(Phase::Exited, &[("protected", "")], 0)));
        assert!(unprotected.takes(&record(Phase::Exited, &[("other", "")], 0)));
        let old = PruneContainers {
            labels: vec![label("a", Some("1"))],
            until: Some(SystemTime::UNIX_EPOCH + std::time::Duration::from_nanos(10)),
            ..PruneContainers::default()
        };
        assert!(old.takes(&record(Phase::Exited, &[("a", "1")], 9)));
        assert!(!old.takes(&record(Phase::Exited, &[("a", "1")], 10)));
        assert!(!old.takes(&record(Phase::Exited, &[("a", "2")], 9)));
    }
}
