//! Images of containers, and what containers changed.

use std::sync::Arc;
use std::time::SystemTime;

use lapstrake_oci::config::Execution;
use lapstrake_oci::{Compression, Reference};

use super::Containers;
use super::container::Container;
use super::error::{Error, Result};
use super::merge;
use super::record::Phase;
use super::stubs;
use crate::events::{Action, Kind as EventKind};
use crate::{Changes, CommitOptions, RootOf, Target};

/// How to make an image of a container.
#[derive(Debug, Clone, Default)]
pub struct CommitContainer {
    /// The image's name; none if nothing.
    pub reference: Option<Reference>,
    /// Whether the container stands still meanwhile.
    pub pause: bool,
    /// Instructions that change its config, as in a Dockerfile.
    pub changes: Vec<String>,
    /// What it is to run, over what the container runs.
    pub execution: Option<Execution>,
    /// Who made it.
    pub author: Option<String>,
    /// A remark.
    pub message: Option<String>,
}

impl Containers {
    /// Makes an image of a container: its own image with one layer more. The image's id.
    ///
    /// # Errors
    /// If there is none of that name, it is being removed, an instruction is not understood, or the disk
    /// refuses.
    pub async fn commit(&self, name: &str, how: CommitContainer) -> Result<String> {
        let container = self.find(name)?;
        let paused = how.pause && self.pause_for_a_while(&container).await?;
        let this = Arc::clone(&container);
        let made = self.blocking(move |all| all.commit_still(&this, how)).await;
        if paused {
            self.go_on(&container).await?;
        }
        let (id, reference) = made?;
        let more = [
            ("comment", String::new()),
            ("imageID", id.clone()),
            ("imageRef", reference.clone()),
        ];
        self.tell(&container, Action::Commit, &more);
        let attributes = [("name".to_owned(), reference)].into();
        self.events()
            .publish(EventKind::Image, Action::Create, id.clone(), attributes);
        Ok(id)
    }

    fn commit_still(
        &self,
        container: &Container,
        how: CommitContainer,
    ) -> Result<(String, String)> {
        let record = container.record();
        if matches!(record.state.phase, Phase::Removing | Phase::Dead) {
            return Err(Error::Conflict(format!(
                "You cannot commit container {} which is being removed",
                record.id
            )));
        }
        let mut own = record.settings.execution.clone();
        let created_by = own.cmd.as_ref().map(|cmd| cmd.join(" "));
        // They are the container's, not the image's.
        own.hostname = None;
        own.domainname = None;
        let execution = match how.execution {
            Some(asked) => merge::merge(asked, &own),
            None => own,
        };
        let options = CommitOptions {
            execution: Some(execution),
            created_by,
            changes: how.changes,
            author: how.author,
            message: how.message,
            now: SystemTime::now(),
        };
        let engine = &self.inner.engine;
        let reference = how.reference.as_ref();
        let made = engine.commit_without(&record.id, reference, &options, stubs::hide)?;
        let reference = how.reference.map(|reference| reference.to_string());
        Ok((made.image.config.to_string(), reference.unwrap_or_default()))
    }

    /// What a container changed of its image, without what starting it made in it.
    ///
    /// # Errors
    /// If there is none of that name, or its layer can't be read.
    pub async fn changes(&self, name: &str) -> Result<Changes> {
        let id = self.find(name)?.id.clone();
        self.blocking(move |all| {
            let mut changes = all.inner.engine.changes(&id)?;
            stubs::hide(&mut changes);
            Ok(changes)
        })
        .await
    }

    /// Writes all that is in a container's root as a tar, without volumes' content.
    ///
    /// # Errors
    /// If there is none of that name, its layer can't be read, or the stream does not take it.
    pub async fn export(&self, name: &str, to: std::fs::File) -> Result<()> {
        let container = self.find(name)?;
        let id = container.id.clone();
        let export = move |all: &Self| {
            let root = RootOf::Writable(&id);
            let target = Target::Stream(to);
            Ok(all.inner.engine.export(root, Compression::None, &target)?)
        };
        self.blocking(export).await?;
        self.tell(&container, Action::Export, &[]);
        Ok(())
    }

    /// Holds a container up, if it runs. Whether it did.
    async fn pause_for_a_while(&self, container: &Container) -> Result<bool> {
        if container.phase() != Phase::Running {
            return Ok(false);
        }
        match self.pause(&container.id).await {
            Ok(()) => Ok(true),
            // It has just ended, or another holds it up.
            Err(Error::Conflict(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn go_on(&self, container: &Container) -> Result<()> {
        match self.unpause(&container.id).await {
            Ok(()) | Err(Error::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
