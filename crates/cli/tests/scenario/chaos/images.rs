//! What a client does with images.

use super::client::Client;
use super::known::Known;
use crate::daemon::text;

impl Client<'_> {
    pub(super) fn pull(&mut self) {
        let free: Vec<_> = self.with_known(|known| known.absent.iter().cloned().collect());
        let Some(reference) = self.random.one(free) else {
            return;
        };
        if !self.with_known(|known| known.absent.remove(&reference)) {
            return;
        }
        if self.done("pull", &["pull", "-q", &reference]).is_some() {
            self.with_known(|known| known.images.insert(reference));
        }
    }

    pub(super) fn load(&mut self) {
        let loaded = self.wares.loaded;
        if self.with_known(|known| known.absent.remove(loaded))
            && self
                .done("load", &["load", "-q", "-i", text(&self.wares.archive)])
                .is_some()
        {
            self.with_known(|known| known.images.insert(loaded.to_owned()));
        }
    }

    pub(super) fn remove_image(&mut self) {
        let images = self.with_known(|known| known.images.iter().cloned().collect());
        let Some(image) = self.random.one(images) else {
            return;
        };
        if !self.with_known(|known| known.images.remove(&image)) {
            return;
        }
        if self.done("rmi", &["rmi", &image]).is_some() {
            self.with_known(|known| {
                if image.starts_with("made:") {
                    known.images_gone.insert(image);
                } else {
                    known.absent.insert(image);
                }
            });
        }
    }

    /// Pushes one of the images that clients made.
    pub(super) fn push(&mut self, name: &str) {
        let made = |known: &mut Known| {
            let made = known.images.iter().find(|image| image.starts_with("made:"));
            let made = made.cloned();
            made.filter(|image| known.images.remove(image))
        };
        let Some(image) = self.with_known(made) else {
            return;
        };
        let reference = format!("{}/pushed:{name}", self.wares.registry.host());
        if self.done("tag", &["tag", &image, &reference]).is_some()
            && self.done("push", &["push", "-q", &reference]).is_some()
        {
            self.with_known(|known| known.pushed.insert(reference.clone()));
            self.done("rmi", &["rmi", &reference]);
        }
        self.with_known(|known| known.images.insert(image));
    }
}
