//! One image: manifest and config, found to agree.

use crate::layer::LayerType;
use crate::{
    Config, Descriptor, DiffId, Error, Manifest, Parsed,
    chain::{ChainId, chain_ids},
};

/// A manifest and its config. Holding one proves that the config is the one that the manifest names,
/// that each layer has a diff id, and that each layer is of a type that can be stored.
#[derive(Debug, Clone)]
pub struct Image {
    manifest: Parsed<Manifest>,
    config: Parsed<Config>,
    types: Vec<LayerType>,
}

/// A layer of an image, as the two documents describe it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageLayer<'a> {
    /// The compressed blob.
    pub blob: &'a Descriptor,
    /// The layer.
    pub diff_id: &'a DiffId,
    /// What the blob's media type says.
    pub layer_type: LayerType,
}

impl Image {
    /// Puts the two documents together.
    pub fn new(manifest: Parsed<Manifest>, config: Parsed<Config>) -> Result<Self, Error> {
        if !manifest.is_image() {
            return Err(Error::Artifact(manifest.config.media_type.clone()));
        }
        manifest.config.verify(config.raw())?;
        let (layers, diff_ids) = (&manifest.layers, &config.rootfs.diff_ids);
        if layers.len() != diff_ids.len() {
            return Err(Error::LayerCount {
                layers: layers.len(),
                diff_ids: diff_ids.len(),
            });
        }
        let types = layers
            .iter()
            .map(Descriptor::layer_type)
            .collect::<Result<Vec<_>, Error>>()?;
        Ok(Self {
            manifest,
            config,
            types,
        })
    }

    /// The manifest.
    pub fn manifest(&self) -> &Parsed<Manifest> {
        &self.manifest
    }

    /// The config. Its digest is the image's id.
    pub fn config(&self) -> &Parsed<Config> {
        &self.config
    }

    /// The layers, lowest first.
    pub fn layers(&self) -> impl ExactSizeIterator<Item = ImageLayer<'_>> {
        let diff_ids = &self.config.rootfs.diff_ids;
        self.manifest
            .layers
            .iter()
            .zip(diff_ids)
            .zip(&self.types)
            .map(|((blob, diff_id), layer_type)| ImageLayer {
                blob,
                diff_id,
                layer_type: *layer_type,
            })
    }

    /// The chain id of each layer, lowest first.
    pub fn chain_ids(&self) -> Vec<ChainId> {
        chain_ids(&self.config.rootfs.diff_ids)
    }
}
