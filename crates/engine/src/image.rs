//! Images in the store.

use std::collections::BTreeSet;
use std::time::SystemTime;

use lapstrake_oci::{Config, DiffId, Digest, Manifest, Parsed, bounds};
use lapstrake_snapshot::{Layer, StoredFile};
use lapstrake_store::{Access, Claim, ImageRecord, LayerFiles, LayerRecord, LayerState, Object};
use lapstrake_sys::parallel;
use lapstrake_transfer::{index, settle_layer};

use crate::Engine;
use crate::error::{Error, Result};
use crate::names::{ImageName, Named, familiar};

/// An image that nobody can remove at the moment.
pub(crate) struct Claimed {
    pub(crate) image: ImageRecord,
    /// The document that its name was resolved to: its manifest, or an index.
    pub(crate) target: Digest,
    pub(crate) config: Parsed<Config>,
    _claim: Claim,
}

impl Engine {
    /// Claims what an image consists of, and looks it up: until the claim is dropped, nothing of it
    /// is removed.
    pub(crate) fn claim(&self, name: impl Into<ImageName>) -> Result<Claimed> {
        self.claim_image(&self.find(&name.into())?)
    }

    /// As [`Engine::claim`], of an image that was looked up by another way.
    pub(crate) fn claim_image(&self, named: &Named) -> Result<Claimed> {
        let claimed = self.claim_content(named)?;
        let (image, _) = named;
        if self.store.state().image(&image.reference)?.as_ref() != Some(image) {
            return Err(Error::NoImage(familiar(&image.reference)));
        }
        Ok(claimed)
    }

    /// Claims what an image consists of that something else keeps, such as a writable layer.
    pub(crate) fn claim_content(&self, (image, target): &Named) -> Result<Claimed> {
        let config = self.config(image)?;
        let documents = BTreeSet::from([&image.manifest, &image.config, target]);
        let documents = (documents.into_iter()).map(|digest| Object::Blob(digest.clone()));
        let layers = config.value().rootfs.diff_ids.iter().cloned();
        let objects = documents.chain(layers.map(Object::Layer));
        Ok(Claimed {
            image: image.clone(),
            target: target.clone(),
            _claim: self.store.claim(objects),
            config,
        })
    }

    /// Writes down what images refer to that a version which didn't has pulled.
    pub(crate) fn link_images(&self) -> Result<()> {
        let images = self.store.state().unlinked_images()?;
        for image in images {
            let layers = match self.config(&image) {
                Ok(config) => config.value().rootfs.diff_ids.clone(),
                // It can't be used until it is pulled again, which links it.
                Err(Error::Store(
                    lapstrake_store::Error::Missing(_) | lapstrake_store::Error::Damaged(_),
                )) => Vec::new(),
                Err(error) => return Err(error),
            };
            self.store.state().link_image(&image, &layers)?;
        }
        Ok(())
    }

    /// Writes down that images are used now, if this process may write. It is done when what it was used for is: that
    /// succeeded, whether this can be written down or not, and only the order suffers in which images go.
    pub(crate) fn note_use<'a>(&self, manifests: impl IntoIterator<Item = &'a Digest>) {
        if self.store.access() == Access::Owner {
            drop(self.store.state().use_images(manifests, SystemTime::now()));
        }
    }

    /// The same of the images that a root was mounted from.
    pub(crate) fn note_use_of(&self, stack: &[DiffId]) {
        if self.store.access() == Access::Owner {
            drop(self.store.state().use_stack(stack, SystemTime::now()));
        }
    }

    pub(crate) fn config(&self, image: &ImageRecord) -> Result<Parsed<Config>> {
        let raw = self
            .store
            .read_blob(&image.config, bounds::MAX_CONFIG_BYTES as u64)?;
        Ok(Parsed::<Config>::config(raw)?)
    }

    pub(crate) fn manifest(&self, image: &ImageRecord) -> Result<Parsed<Manifest>> {
        let raw = self
            .store
            .read_blob(&image.manifest, bounds::MAX_MANIFEST_BYTES as u64)?;
        Ok(Parsed::<Manifest>::manifest(raw)?)
    }

    /// The files of an image's layers, bottom first, and what their records say of them.
    pub(crate) fn stack(&self, image: &ImageRecord, config: &Config) -> Result<Vec<Layer>> {
        let ids = &config.rootfs.diff_ids;
        let missing = |id: &DiffId| Error::NoLayer {
            image: image.reference.clone(),
            layer: id.clone(),
        };
        let records = self.store.state().layers(ids)?;
        let layers = ids.iter().zip(records);
        let layers = layers
            .map(|(id, record)| record.ok_or_else(|| missing(id)))
            .collect::<Result<Vec<_>>>()?;
        for layer in &layers {
            if layer.state == LayerState::Doubtful {
                // Written before a crash or reboot and never synced: it may be full of zeros.
                settle_layer(&self.store, &layer.diff_id)?;
            }
        }
        let files = |layer: &LayerRecord| {
            let files = self.store.find_layer(&layer.diff_id);
            let files = files.ok_or_else(|| missing(&layer.diff_id))?;
            Ok(self.files(layer, files))
        };
        // Cold, each look waits for the disk.
        parallel::map(&layers, files)
    }

    /// Makes those indexes of a stack again that are not what was recorded.
    pub(crate) fn mend_indexes(&self, config: &Config) -> Result<()> {
        let records = self.store.state().layers(&config.rootfs.diff_ids)?;
        for layer in records.into_iter().flatten() {
            index::ensure(&self.store, &layer)?;
        }
        Ok(())
    }

    fn files(&self, layer: &LayerRecord, files: LayerFiles) -> Layer {
        let id = &layer.diff_id;
        Layer {
            id: id.clone(),
            index: StoredFile {
                path: self.store.indexes.path(id),
                len: layer.index.len,
            },
            index_blake3: layer.index.blake3.clone(),
            skeleton: files.skeleton,
            data: (layer.data_len > 0).then_some(StoredFile {
                path: files.data,
                len: layer.data_len,
            }),
        }
    }
}
