//! Giving an image a further name.

use std::time::SystemTime;

use lapstrake_oci::Reference;
use lapstrake_store::{Commit, ImageRecord, Lineage};

use crate::Engine;
use crate::error::{Error, Result};
use crate::events::Action;
use crate::names::ImageName;

/// A name that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tagged {
    /// The image under its new name.
    pub image: ImageRecord,
    /// The image that had the name before, if that was another.
    pub instead_of: Option<ImageRecord>,
}

impl Engine {
    /// Lets a further name lead to an image. Name and image are on disk when this returns. An image
    /// that loses its last name by this keeps one by digest.
    ///
    /// # Errors
    /// If there is no such image, the new name has a digest, or the disk refuses.
    pub fn tag(&self, source: impl Into<ImageName>, target: &Reference) -> Result<Tagged> {
        if target.digest().is_some() {
            return Err(Error::TagWithDigest(target.familiar()));
        }
        let source = self.claim(source)?;
        let layers = &source.config.value().rootfs.diff_ids;
        let documents = vec![
            source.image.manifest.clone(),
            source.image.config.clone(),
            source.target.clone(),
        ];
        // What it leads to may have been pulled a moment ago: the name must not be there alone.
        self.store.prove(layers.clone(), documents)?.wait()?;
        let image = ImageRecord {
            reference: target.to_string(),
            ..source.image.clone()
        };
        let lineage = Lineage {
            index: (source.target != image.manifest).then_some(&source.target),
            layers,
        };
        let mut state = self.store.state();
        let before = state.image(&image.reference)?;
        state.set_image(&image, &lineage, SystemTime::now(), Commit::Synced)?;
        drop(state);
        let labels = &source.config.value().config.labels;
        self.tell_image(Action::Tag, &image.config, &target.familiar(), labels);
        Ok(Tagged {
            instead_of: before.filter(|before| before.manifest != image.manifest),
            image,
        })
    }
}
