//! Removing images by name or id.
//!
//! As Docker does it: a name is taken away; the image goes with its last one, unless a writable
//! layer lies on it. What only it had is then removed, for good when the trash is emptied.

mod nameless;

use std::collections::BTreeSet;
use std::time::SystemTime;

use lapstrake_oci::{ChainId, Digest};
use lapstrake_store::{Collected, ImageRecord, Object};

use crate::Engine;
use crate::error::{Error, Result};
use crate::image_events::Going;
use crate::names::{Found, ImageName, Named, familiar, find, is_tagged, repo_of};

/// What to do about an image that is used, or has several names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfUsed<'a> {
    /// Leave it.
    Refuse,
    /// Take its names. Its content stays for as long as a writable layer needs it.
    TakeNames {
        /// The writable layers on which something runs: what they lie on stays as an image without a name.
        running: &'a BTreeSet<String>,
    },
}

/// What was removed, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Names that are gone.
    pub names: Vec<String>,
    /// Ids of images that no name leads to any more.
    pub images: Vec<Digest>,
    /// Layers that are gone.
    pub layers: usize,
    /// Bytes that this frees.
    pub bytes: u64,
    /// The same images, each with those of its layers that are gone.
    pub deleted: Vec<DeletedImage>,
}

/// An image that no name leads to any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedImage {
    /// Its id.
    pub id: Digest,
    /// Its layers that are gone, the highest first: no other image has them.
    pub layers: Vec<ChainId>,
}

impl Engine {
    /// Removes images. Their space is free when the trash was emptied ([`Engine::empty_trash`]).
    ///
    /// # Errors
    /// If there is no such image or it is used; then nothing was removed.
    pub fn remove_images(
        &self,
        images: &[ImageName],
        if_used: IfUsed<'_>,
        now: SystemTime,
    ) -> Result<Removed> {
        let collection = self.store.collect();
        let inventory = collection.inventory(now)?;
        let known: Vec<Named> = (inventory.names.iter())
            .map(|name| (name.image.clone(), name.target.clone()))
            .collect();
        let mut names: Vec<ImageRecord> = Vec::new();
        for image in images {
            for record in names_of(&known, image, if_used)? {
                if !names.contains(&record) {
                    names.push(record);
                }
            }
        }
        let losing = nameless::losing_their_last(&known, &names);
        match if_used {
            IfUsed::Refuse => self.refuse_used(&losing)?,
            IfUsed::TakeNames { running } => {
                self.keep_nameless(&losing, running, &mut names, now)?;
            }
        }
        let mounted = self.run.in_use()?;
        let plan = collection.plan(&inventory, &names, &mounted)?;
        let going = self.going(&plan.names);
        let collected = collection.carry_out(&plan, now)?;
        self.removed(&collected, &going)
    }

    /// Waits until the space of what was removed is free.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn empty_trash(&self) -> Result<()> {
        Ok(self.store.empty_trash()?)
    }

    fn refuse_used(&self, losing: &[Named]) -> Result<()> {
        for (image, _) in losing {
            let users = self.store.state().holders(&image.config)?;
            if !users.is_empty() {
                return Err(Error::ImageUsed {
                    image: familiar(&image.reference),
                    id: image.config.clone(),
                    users,
                });
            }
        }
        Ok(())
    }

    /// What a collection removed of images that were going, after whoever must know of it was told.
    pub(crate) fn removed(&self, collected: &Collected, going: &Going) -> Result<Removed> {
        self.forget_realised(collected)?;
        let left = self.store.state().images()?;
        let left = left.iter().map(|image| &image.config);
        let removed = Removed::of(&collected.names, left, &collected.objects, collected.bytes)
            .with_layers(going, &collected.objects);
        self.tell_removed(&removed, going, &collected.names);
        Ok(removed)
    }

    /// Takes away what drivers made of layers that are gone, and were not pulled again meanwhile.
    fn forget_realised(&self, collected: &Collected) -> Result<()> {
        let mut gone = Vec::new();
        for object in &collected.objects {
            if let Object::Layer(id) = object
                && self.store.state().layer(id)?.is_none()
            {
                gone.push(id);
            }
        }
        self.forget_layers(&gone)
    }
}

impl Removed {
    /// `left` are the images that names lead to still.
    pub(crate) fn of<'a>(
        names: &'a [ImageRecord],
        left: impl Iterator<Item = &'a Digest>,
        objects: &[Object],
        bytes: u64,
    ) -> Self {
        let mut images: BTreeSet<_> = names.iter().map(|image| &image.config).collect();
        for config in left {
            images.remove(config);
        }
        Self {
            names: names
                .iter()
                .map(|image| familiar(&image.reference))
                .collect(),
            images: images.into_iter().cloned().collect(),
            layers: (objects.iter())
                .filter(|object| matches!(object, Object::Layer(_)))
                .count(),
            bytes,
            deleted: Vec::new(),
        }
    }
}

/// The names that are to go: by name, that one, and with the last tag in a repository the names by
/// digest there; by id, all of them.
fn names_of(known: &[Named], wanted: &ImageName, if_used: IfUsed<'_>) -> Result<Vec<ImageRecord>> {
    let names: Vec<ImageRecord> = match find(known, wanted)? {
        Found::Name((named, _)) => {
            let names = with_those_by_digest(known, named);
            return Ok(nameless::with_places_of(known, names));
        }
        Found::Image(names) => names.into_iter().map(|(image, _)| image).collect(),
    };
    let tags: Vec<_> = names.iter().filter(|name| is_tagged(name)).collect();
    if tags.len() > 1 && if_used == IfUsed::Refuse {
        return Err(Error::SeveralNames {
            image: wanted.to_string(),
            id: tags[0].config.clone(),
            names: tags
                .iter()
                .map(|image| familiar(&image.reference))
                .collect::<Vec<_>>()
                .join(", "),
        });
    }
    Ok(names)
}

fn with_those_by_digest(known: &[Named], named: ImageRecord) -> Vec<ImageRecord> {
    let same = |other: &&ImageRecord| {
        other.manifest == named.manifest && repo_of(other) == repo_of(&named) && **other != named
    };
    let others = known.iter().map(|(image, _)| image).filter(same);
    let others: Vec<_> = others.cloned().collect();
    let mut names = vec![named];
    if !others.iter().any(is_tagged) {
        names.extend(others);
    }
    names
}

#[cfg(test)]
mod tests {
    use lapstrake_oci::{Algorithm, Reference};

    use super::*;

    fn image(name: &str, text: &str) -> ImageRecord {
        ImageRecord {
            reference: name.parse::<Reference>().unwrap().to_string(),
            manifest: Algorithm::Sha256.digest(text.as_bytes()),
            config: Algorithm::Sha256.digest(format!("config of {text}").as_bytes()),
        }
    }

    fn pinned(repo: &str, text: &str) -> String {
        format!("{repo}@{}", Algorithm::Sha256.digest(text.as_bytes()))
    }

    /// Of these names, `wanted` leads to those of these numbers.
    fn check(wanted: &str, if_used: IfUsed<'_>, numbers: &[usize]) {
        let got = names_of(&known(), &wanted.parse().unwrap(), if_used).unwrap();
        let want: Vec<_> = numbers.iter().map(|at| records()[*at].clone()).collect();
        assert_eq!(got, want);
    }

    fn known() -> Vec<Named> {
        (records().into_iter())
            .map(|image| (image.clone(), image.manifest))
            .collect()
    }

    fn records() -> [ImageRecord; 6] {
        [
            image("a:1", "one"),
            image("a:2", "one"),
            image(&pinned("a", "one"), "one"),
            image("b:1", "two"),
            image(&pinned("b", "two"), "two"),
            image("c:1", "three"),
        ]
    }

    #[test]
    fn a_name_goes_alone_and_the_last_tag_takes_those_by_digest_along() {
        check("a:1", IfUsed::Refuse, &[0]);
        check("b:1", IfUsed::Refuse, &[3, 4]);
        check("c:1", IfUsed::Refuse, &[5]);
        check(&pinned("a", "one"), IfUsed::Refuse, &[2]);
    }

    #[test]
    fn an_id_stands_for_all_names_if_there_are_few_or_it_is_meant() {
        let id = |text: &str| image("x", text).config.hex()[..12].to_owned();
        check(&id("two"), IfUsed::Refuse, &[3, 4]);
        check(&format!("sha256:{}", id("three")), IfUsed::Refuse, &[5]);
        let running = &BTreeSet::new();
        check(&id("one"), IfUsed::TakeNames { running }, &[0, 1, 2]);
        let wanted = id("one").parse().unwrap();
        let error = names_of(&known(), &wanted, IfUsed::Refuse).unwrap_err();
        assert!(error.to_string().contains("a:1, a:2"), "{error}");
    }
}
