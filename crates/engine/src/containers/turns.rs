//! Turns: changes of a container come one after another, and its root stays where it is while files are copied.
//!
//! A copy may wait for a file system that does not answer, and what becomes of its container is written down all the
//! same. So there are two locks. Whoever starts or removes a container holds both. A copy holds the files, and looks
//! under the other only what the container does when it begins. Whoever writes down that a container ended needs
//! the other alone: if its files are in use, it is taken down when they are no more.
//!
//! The files are taken first. Nobody who keeps a container from changing waits for its files.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::{Mutex as Turn, MutexGuard};
use tokio::time::{Instant, timeout, timeout_at};

use super::container::{Container, held};

/// Who has the turn of a container.
#[derive(Debug, Default)]
pub(super) struct Turns {
    changing: Turn<()>,
    files: Turn<()>,
    /// What the copy does that has the files.
    copying: Mutex<Option<String>>,
}

/// A container is changed by nobody else, as long as this lives.
#[derive(Debug)]
pub(crate) struct Changing<'a> {
    _changing: MutexGuard<'a, ()>,
}

/// A container is changed by nobody else, and nobody has its files.
#[derive(Debug)]
pub(crate) struct Still<'a> {
    _changing: Changing<'a>,
    _files: MutexGuard<'a, ()>,
}

/// A container's root stays as it is for a copy.
#[derive(Debug)]
pub(crate) struct Copying<'a> {
    turns: &'a Turns,
    _files: MutexGuard<'a, ()>,
}

/// What keeps a container from being still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Busy {
    /// A copy: what it does.
    Copying(String),
    /// It is being started, removed, or otherwise changed.
    Changing,
}

impl Container {
    /// Waits until nobody else changes it.
    pub(crate) async fn changing(&self) -> Changing<'_> {
        Changing {
            _changing: self.turns.changing.lock().await,
        }
    }

    /// As [`Self::changing`]; nothing if that takes too long.
    pub(crate) async fn changing_within(&self, limit: Duration) -> Option<Changing<'_>> {
        timeout(limit, self.changing()).await.ok()
    }

    /// Whether somebody changes it.
    pub(crate) fn is_changing(&self) -> bool {
        self.turns.changing.try_lock().is_err()
    }

    /// Waits until nobody else changes it, and nobody has its files.
    pub(crate) async fn still(&self) -> Still<'_> {
        let files = self.turns.files.lock().await;
        Still {
            _changing: self.changing().await,
            _files: files,
        }
    }

    /// As [`Self::still`], but not for longer than this.
    pub(crate) async fn still_by(&self, deadline: Instant) -> Result<Still<'_>, Busy> {
        let still = timeout_at(deadline, self.still()).await;
        still.map_err(|_elapsed| match &*held(&self.turns.copying) {
            Some(what) => Busy::Copying(what.clone()),
            None => Busy::Changing,
        })
    }

    /// Its files, if nobody has them.
    pub(crate) fn files_if_free(&self) -> Option<MutexGuard<'_, ()>> {
        self.turns.files.try_lock().ok()
    }

    /// Waits for its files, for a copy that does this.
    pub(crate) async fn copying(&self, what: String) -> Copying<'_> {
        let files = self.turns.files.lock().await;
        *held(&self.turns.copying) = Some(what);
        Copying {
            turns: &self.turns,
            _files: files,
        }
    }
}

impl Drop for Copying<'_> {
    fn drop(&mut self) {
        *held(&self.turns.copying) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::record::{Record, State};
    use lapstrake_container::settings::Settings;

    fn container() -> Container {
        Container::new(Record {
            id: "1".to_owned(),
            name: "one".to_owned(),
            created: 0,
            image: String::new(),
            driver: String::new(),
            settings: Settings::default(),
            document: String::new(),
            state: State::default(),
        })
    }

    #[tokio::test]
    async fn a_copy_keeps_a_container_from_being_still_and_not_from_being_changed() {
        let container = container();
        let soon = || Instant::now() + Duration::from_millis(20);
        let copying = container.copying("a copy".to_owned()).await;
        assert!(container.changing_within(Duration::ZERO).await.is_some());
        assert!(container.files_if_free().is_none());
        let busy = container.still_by(soon()).await.err();
        assert_eq!(busy, Some(Busy::Copying("a copy".to_owned())));
        // Who gave up waiting is in nobody's way.
        assert!(!container.is_changing());
        drop(copying);

        let changing = container.changing().await;
        assert!(container.is_changing());
        assert!(
            container
                .changing_within(Duration::from_millis(20))
                .await
                .is_none()
        );
        assert_eq!(container.still_by(soon()).await.err(), Some(Busy::Changing));
        drop(changing);
        let still = container.still_by(soon()).await;
        assert!(still.is_ok() && container.files_if_free().is_none());
    }
}
