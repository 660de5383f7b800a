//! What was done, and between which steps of the disk; what must therefore be true after a cut.

use lapstrake_oci::Digest;
use lapstrake_store::ImageRecord;
use lapstrake_testkit::registry::Added;

/// An image and how it can be had again.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) reference: String,
    pub(crate) manifest: Digest,
    pub(crate) config: Digest,
    /// Where it was pulled from; none if it was made here.
    pub(crate) pulled: Option<Added>,
}

impl Known {
    pub(crate) fn pulled(image: &Added) -> Self {
        Self {
            reference: image.reference.to_string(),
            manifest: image.manifest.digest.clone(),
            config: image.config.digest.clone(),
            pulled: Some(image.clone()),
        }
    }

    pub(crate) fn record(&self) -> ImageRecord {
        ImageRecord {
            reference: self.reference.clone(),
            manifest: self.manifest.clone(),
            config: self.config.clone(),
        }
    }
}

/// What a deed does to an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    Add,
    Remove,
}

/// What must be true of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    There,
    Gone,
    Either,
}

#[derive(Debug, Clone)]
struct Event {
    image: Known,
    deed: Deed,
    began: usize,
    acknowledged: usize,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct History(Vec<Event>);

impl History {
    pub(crate) fn add(&mut self, image: Known, deed: Deed, steps: std::ops::Range<usize>) {
        self.0.push(Event {
            image,
            deed,
            began: steps.start,
            acknowledged: steps.end,
        });
    }

    /// Every image of which something was done.
    pub(crate) fn images(&self) -> Vec<&Known> {
        let mut images: Vec<&Known> = Vec::new();
        for event in &self.0 {
            if !images
                .iter()
                .any(|known| known.reference == event.image.reference)
            {
                images.push(&event.image);
            }
        }
        images
    }

    /// What must be true of an image if power goes after so many steps.
    pub(crate) fn fate(&self, reference: &str, steps: usize) -> Fate {
        let mut fate = Fate::Gone;
        for event in self
            .0
            .iter()
            .filter(|event| event.image.reference == reference)
        {
            if event.acknowledged <= steps {
                fate = match event.deed {
                    Deed::Add => Fate::There,
                    Deed::Remove => Fate::Gone,
                };
            } else if event.began < steps {
                fate = Fate::Either;
            }
        }
        fate
    }
}
