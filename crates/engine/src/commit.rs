//! What a writable layer changed, and an image of it.
//!
//! Changes are read beside the stack as it is without the layer, which is mounted for the while. A
//! writable layer may be in use meanwhile; what changes under the reader's hands makes an error, or a
//! layer with some of it. Whoever wants one moment stops or pauses the container.

pub(crate) mod change;
pub(crate) mod document;
mod words;

use std::time::SystemTime;

use lapstrake_oci::config::Execution;
use lapstrake_oci::{Config, Parsed, Reference};
use lapstrake_snapshot::FileTree;
use lapstrake_store::{ImageRecord, LayerRecord};
use lapstrake_transfer::{Limits, add_image, add_layer, unnamed};
use lapstrake_tree::changes::{Changes, changes};

use crate::Engine;
use crate::error::Result;
use crate::when::to_rfc3339;

/// What to write into the documents of a committed image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitOptions {
    /// What the image runs, before instructions change it; nothing for what the image below runs.
    pub execution: Option<Execution>,
    /// What made the changes, for the image's history.
    pub created_by: Option<String>,
    /// Instructions that change its config, as in a Dockerfile.
    pub changes: Vec<String>,
    /// Who made it.
    pub author: Option<String>,
    /// A remark.
    pub message: Option<String>,
    /// When.
    pub now: SystemTime,
}

/// A committed image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Its name and documents.
    pub image: ImageRecord,
    /// The layer that was added; none if nothing had changed.
    pub layer: Option<LayerRecord>,
    /// Sockets, which no layer holds.
    pub skipped: Vec<Box<[u8]>>,
}

impl Engine {
    /// What a writable layer changed of its image.
    ///
    /// # Errors
    /// If there is no such layer, or it or its image can't be read.
    pub fn changes(&self, name: &str) -> Result<Changes> {
        let image = self.writable(name)?.image;
        let config = self.config(&image)?;
        self.read_changes(name, &image, &config, |found, _, _| Ok(found))
    }

    /// Makes an image of a writable layer: its own image with one layer more, without a name if there is no
    /// reference. All of it is on disk when
    /// this returns.
    ///
    /// # Errors
    /// If there is no such layer, it can't be read or changes meanwhile, no layer can hold what was
    /// changed, an instruction is not understood, or the disk refuses.
    pub fn commit<'a>(
        &self,
        name: &str,
        reference: impl Into<Option<&'a Reference>>,
        options: &CommitOptions,
    ) -> Result<Committed> {
        self.commit_without(name, reference, options, |_changes| ())
    }

    /// As [`Engine::commit`], without those changes that `leave_out` takes away.
    pub(crate) fn commit_without<'a>(
        &self,
        name: &str,
        reference: impl Into<Option<&'a Reference>>,
        options: &CommitOptions,
        leave_out: impl FnOnce(&mut Changes),
    ) -> Result<Committed> {
        let base = self.writable(name)?.image;
        let config = self.config(&base)?;
        let manifest = self.manifest(&base)?;
        // Instructions are read before files are.
        let mut execution = options.execution.clone();
        let execution = execution.get_or_insert_with(|| config.config.clone());
        change::apply(execution, &options.changes)?;
        let (layer, skipped) =
            self.read_changes(name, &base, &config, |mut found, upper, lower| {
                leave_out(&mut found);
                let layer = if found.entries.is_empty() {
                    None
                } else {
                    Some(add_layer(
                        &self.store,
                        &found,
                        upper,
                        lower,
                        Limits::DEFAULT,
                    )?)
                };
                Ok((layer, found.skipped))
            })?;
        let record = layer.as_ref().map(|layer| layer.record.clone());
        let created = to_rfc3339(options.now);
        let documents = document::build(&manifest, &config, record.as_ref(), options, &created)?;
        let manifest = documents.manifest.0.clone();
        let reference = reference.into().cloned();
        let image = ImageRecord {
            reference: reference
                .unwrap_or_else(|| unnamed(manifest.clone()))
                .to_string(),
            manifest,
            config: documents.config.0.clone(),
        };
        let both = [&documents.manifest, &documents.config];
        let both = both.map(|(digest, bytes)| (digest, &bytes[..]));
        add_image(&self.store, &image, &documents.diff_ids, &both, layer)?;
        Ok(Committed {
            image,
            layer: record,
            skipped,
        })
    }

    /// Finds changes and does something with them, while layer and stack can be read.
    fn read_changes<T>(
        &self,
        name: &str,
        image: &ImageRecord,
        config: &Parsed<Config>,
        use_them: impl FnOnce(Changes, &FileTree, &FileTree) -> Result<T>,
    ) -> Result<T> {
        self.with_trees(name, image, config, |writable, lower| match writable {
            None => use_them(Changes::default(), lower, lower),
            Some(writable) => use_them(changes(writable, lower)?, writable.view(), lower),
        })
    }
}
