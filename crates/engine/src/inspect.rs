//! All that is known of an image or a writable layer.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lapstrake_oci::{ChainId, Config, DiffId, Digest, Image, Reference, chain_ids};
use lapstrake_snapshot::room::{self, Usage};
use lapstrake_store::{LayerFiles, LayerRecord, LayerState, Source, WritableRecord, freed};

use crate::Engine;
use crate::df::Held;
use crate::error::{Error, Result};
use crate::names::{ImageName, familiar, is_tagged};

/// An image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageDetails {
    /// Its id: the digest of its config.
    pub id: Digest,
    /// Its manifest.
    pub manifest: Digest,
    /// Its names with a tag.
    pub tags: Vec<String>,
    /// Its names with a digest: that of its manifest, or of the index that led to it.
    pub digests: Vec<String>,
    /// Its config.
    pub config: Config,
    /// Its layers, the lowest first.
    pub layers: Vec<LayerDetails>,
    /// The writable layers on it.
    pub writables: Vec<String>,
}

/// A layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerDetails {
    /// Its name.
    pub diff_id: DiffId,
    /// The name of it and all below.
    pub chain_id: ChainId,
    /// What the store knows of it; nothing if it is not there.
    pub record: Option<LayerRecord>,
    /// Its files.
    pub files: Option<LayerFiles>,
    /// Its index.
    pub index: PathBuf,
    /// What its files take on the disk.
    pub held: Held,
    /// Whether a mounted root uses it.
    pub mounted: bool,
    /// From where it can be made again.
    pub sources: Vec<Source>,
}

/// A writable layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WritableDetails {
    /// Its name, image and driver.
    pub record: WritableRecord,
    /// Where roots are mounted on it.
    pub mounted_at: Vec<PathBuf>,
    /// Where it is kept.
    pub room: PathBuf,
    /// What it uses; nothing if its room is gone.
    pub usage: Option<Usage>,
}

impl LayerDetails {
    /// How far it can be trusted.
    pub fn state(&self) -> Option<LayerState> {
        self.record.as_ref().map(|record| record.state)
    }

    /// The directory of its files, if it is there.
    pub fn dir(&self) -> Option<&Path> {
        self.files.as_ref()?.data.parent()
    }
}

impl Engine {
    /// All that is known of an image.
    ///
    /// # Errors
    /// If there is none, or its documents can't be read.
    pub fn inspect_image(&self, name: impl Into<ImageName>) -> Result<ImageDetails> {
        let image = self.resolve(name)?;
        let config = self.config(&image)?.value().clone();
        let names = self.store.state().names()?;
        let same = names
            .iter()
            .filter(|(other, _)| other.config == image.config);
        let (mut tags, mut digests) = (Vec::new(), BTreeSet::new());
        for (other, target) in same {
            if is_tagged(other) {
                tags.push(familiar(&other.reference));
            }
            if let Ok(reference) = other.reference.parse::<Reference>() {
                let repo = reference.repo().clone();
                digests.insert(Reference::pinned(repo, target.clone()).familiar());
            }
        }
        Ok(ImageDetails {
            layers: self.layer_details(&config.rootfs.diff_ids)?,
            writables: self.store.state().holders(&image.config)?,
            id: image.config,
            manifest: image.manifest,
            tags,
            digests: digests.into_iter().collect(),
            config,
        })
    }

    /// The layers of an image, the lowest first: the blob that its manifest names, and what it is uncompressed.
    ///
    /// # Errors
    /// If there is no such image, or its documents can't be read.
    pub fn image_layers(&self, name: impl Into<ImageName>) -> Result<Vec<(Digest, DiffId)>> {
        let image = self.resolve(name)?;
        let image = Image::new(self.manifest(&image)?, self.config(&image)?)?;
        let layers = image.layers();
        Ok(layers
            .map(|layer| (layer.blob.digest.clone(), layer.diff_id.clone()))
            .collect())
    }

    fn layer_details(&self, ids: &[DiffId]) -> Result<Vec<LayerDetails>> {
        let records = self.store.state().layers(ids)?;
        let mounted = self.run.in_use()?;
        let mut layers = Vec::new();
        for ((id, chain_id), record) in ids.iter().zip(chain_ids(ids)).zip(records) {
            let uses = self.store.uses(id)?;
            layers.push(LayerDetails {
                files: self.store.find_layer(id),
                index: self.store.indexes.path(id),
                held: Held {
                    bytes: freed(&uses),
                    inodes: uses.len() as u64,
                },
                mounted: mounted.contains(id),
                sources: self.store.state().sources(id)?,
                diff_id: id.clone(),
                chain_id,
                record,
            });
        }
        Ok(layers)
    }

    /// All that is known of a writable layer; nothing if there is none.
    ///
    /// # Errors
    /// If the store or its room can't be read.
    pub fn inspect_writable(&self, name: &str) -> Result<Option<WritableDetails>> {
        let Some(record) = self.store.state().writable(name)? else {
            return Ok(None);
        };
        let id = name.parse()?;
        let usage = match self.rooms()?.usage(&id) {
            Ok(usage) => Some(usage),
            Err(room::Error::Missing(_)) => None,
            Err(error) => return Err(Error::from(error)),
        };
        Ok(Some(WritableDetails {
            record,
            mounted_at: self.mounted_on(&id)?,
            room: self.store.root().join("state/containers").join(&id),
            usage,
        }))
    }
}
