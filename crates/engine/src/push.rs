//! Images on their way to a registry.

use lapstrake_oci::{Digest, Image, Reference};
use lapstrake_registry_client::Client;
use lapstrake_store::{Object, Parent};
use lapstrake_transfer::{PushEvent, PushOptions, PushedImage, ToPush};

use crate::Engine;
use crate::error::Result;
use crate::events::Action;
use crate::names::ImageName;

/// What was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The image, as it is there.
    pub image: PushedImage,
    /// Its id.
    pub id: Digest,
    /// The index that it was pulled through: of that, only the manifest of this image was pushed.
    pub index: Option<Digest>,
}

impl Engine {
    /// Pushes an image to a reference; see [`lapstrake_transfer::push`].
    ///
    /// # Errors
    /// If there is no such image, the registry refuses, or a layer can't be had as is asked.
    pub async fn push(
        &self,
        client: &Client,
        image: impl Into<ImageName>,
        to: &Reference,
        options: &PushOptions,
        tell: impl Fn(PushEvent) + Send + Sync + 'static,
    ) -> Result<Pushed> {
        let claimed = self.claim(image)?;
        let record = claimed.image.clone();
        let manifest = self.manifest(&record)?;
        let what = ToPush {
            image: Image::new(manifest, claimed.config.clone())?,
            manifest: record.manifest.clone(),
        };
        let pushed =
            lapstrake_transfer::push(&self.store, client, &what, to, options, tell).await?;
        self.note_use([&record.manifest]);
        self.tell_moved(to, Action::Push);
        Ok(Pushed {
            image: pushed,
            id: record.config,
            index: self.index_of(&record.manifest)?,
        })
    }

    /// An index that leads to a manifest.
    fn index_of(&self, manifest: &Digest) -> Result<Option<Digest>> {
        let child = Object::Blob(manifest.clone());
        let edges = self.store.state().edges()?;
        let mut parents = edges.into_iter().filter(|(_, of)| *of == child);
        Ok(parents.find_map(|(parent, _)| match parent {
            Parent::Object(Object::Blob(index)) => Some(index),
            Parent::Object(Object::Layer(_)) | Parent::Writable(_) => None,
        }))
    }
}
