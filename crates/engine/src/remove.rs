//! Removing images by name or id.
//!
//! As Docker does it: a name is taken away; the image goes with its last one, unless a writable
//! layer lies on it. What only it had is then removed, for good when the trash is emptied.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::SystemTime;

use lapstrake_oci::{Digest, Reference};
use lapstrake_store::{Collected, ImageRecord, Object};

use crate::Engine;
use crate::error::{Error, Result};

/// What to do about an image that is used, or has several names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfUsed {
    /// Leave it.
    Refuse,
    /// Take its names; what a writable layer lies on stays without one.
    TakeNames,
}

/// What an image is called on a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageName(String);

impl ImageName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ImageName {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

/// What was removed, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Names that are gone.
    pub names: Vec<String>,
    /// Ids of images of which nothing is left.
    pub images: Vec<Digest>,
    /// Layers that are gone.
    pub layers: usize,
    /// Bytes that this frees.
    pub bytes: u64,
}

impl Engine {
    /// Removes images. Their space is free when the trash was emptied ([`Engine::empty_trash`]).
    ///
    /// # Errors
    /// If there is no such image or it is used; then nothing was removed.
    pub fn remove_images(
        &self,
        images: &[ImageName],
        if_used: IfUsed,
        now: SystemTime,
    ) -> Result<Removed> {
        let collection = self.store.collect();
        let inventory = collection.inventory(now)?;
        let records: Vec<_> = (inventory.names.iter())
            .map(|name| name.image.clone())
            .collect();
        let mut names: Vec<ImageRecord> = Vec::new();
        for image in images {
            for record in names_of(&records, image, if_used)? {
                if !names.contains(&record) {
                    names.push(record);
                }
            }
        }
        self.refuse_used(&records, &names, if_used)?;
        let mounted = self.run.in_use()?;
        let plan = collection.plan(&inventory, &names, &mounted)?;
        let collected = collection.carry_out(&plan, now)?;
        self.forget_realised(&collected)?;
        Ok(Removed::of(
            &collected.names,
            &collected.objects,
            collected.bytes,
        ))
    }

    /// Waits until the space of what was removed is free.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn empty_trash(&self) -> Result<()> {
        Ok(self.store.empty_trash()?)
    }

    fn refuse_used(
        &self,
        records: &[ImageRecord],
        names: &[ImageRecord],
        if_used: IfUsed,
    ) -> Result<()> {
        if if_used == IfUsed::TakeNames {
            return Ok(());
        }
        for image in names {
            let has_another = (records.iter())
                .any(|record| record.manifest == image.manifest && !names.contains(record));
            if has_another {
                continue;
            }
            let users = self.store.state().holders(&image.manifest)?;
            if !users.is_empty() {
                return Err(Error::ImageUsed {
                    image: familiar(&image.reference),
                    users: users.join(", "),
                });
            }
        }
        Ok(())
    }

    /// Takes away what drivers made of layers that are gone, and were not pulled again meanwhile.
    pub(crate) fn forget_realised(&self, collected: &Collected) -> Result<()> {
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
    pub(crate) fn of(names: &[ImageRecord], objects: &[Object], bytes: u64) -> Self {
        let gone: BTreeSet<_> = objects.iter().collect();
        let configs: BTreeSet<_> = (names.iter())
            .map(|image| &image.config)
            .filter(|config| gone.contains(&Object::Blob((*config).clone())))
            .collect();
        Self {
            names: names
                .iter()
                .map(|image| familiar(&image.reference))
                .collect(),
            images: configs.into_iter().cloned().collect(),
            layers: (objects.iter())
                .filter(|object| matches!(object, Object::Layer(_)))
                .count(),
            bytes,
        }
    }
}

/// A normalised name as people write it.
fn familiar(reference: &str) -> String {
    reference
        .parse::<Reference>()
        .map_or_else(|_| reference.to_owned(), |reference| reference.familiar())
}

pub(crate) fn is_tagged(image: &ImageRecord) -> bool {
    image
        .reference
        .parse::<Reference>()
        .is_ok_and(|reference| reference.tag().is_some())
}

fn repo(image: &ImageRecord) -> Option<String> {
    let reference: Reference = image.reference.parse().ok()?;
    Some(reference.repo().to_string())
}

/// The names that are to go: by name, that one, and with the last tag in a repository the names by
/// digest there; by id, all of them.
fn names_of(
    records: &[ImageRecord],
    wanted: &ImageName,
    if_used: IfUsed,
) -> Result<Vec<ImageRecord>> {
    let reference: Option<Reference> = wanted.0.parse().ok();
    let named = reference.map(|reference| reference.to_string());
    if let Some(named) = records
        .iter()
        .find(|image| Some(&image.reference) == named.as_ref())
    {
        let same = |other: &&ImageRecord| {
            other.manifest == named.manifest && repo(other) == repo(named) && *other != named
        };
        let others: Vec<_> = records.iter().filter(same).cloned().collect();
        let mut names = vec![named.clone()];
        if !others.iter().any(is_tagged) {
            names.extend(others);
        }
        return Ok(names);
    }
    let names = by_id(records, &wanted.0)?;
    let tags: Vec<_> = names.iter().filter(|name| is_tagged(name)).collect();
    if tags.len() > 1 && if_used == IfUsed::Refuse {
        return Err(Error::SeveralNames {
            image: wanted.0.clone(),
            names: tags
                .iter()
                .map(|image| familiar(&image.reference))
                .collect::<Vec<_>>()
                .join(", "),
        });
    }
    Ok(names)
}

/// The names of the one image whose id begins so.
pub(crate) fn by_id(records: &[ImageRecord], id: &str) -> Result<Vec<ImageRecord>> {
    let hex = id.strip_prefix("sha256:").unwrap_or(id);
    let is_hex = hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let found: Vec<_> = (records.iter())
        .filter(|image| !hex.is_empty() && is_hex && image.config.hex().starts_with(hex))
        .cloned()
        .collect();
    let ids: BTreeSet<_> = found.iter().map(|image| &image.config).collect();
    match ids.len() {
        0 => Err(Error::NoImage(id.to_owned())),
        1 => Ok(found),
        _ => Err(Error::Ambiguous(id.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use lapstrake_oci::Algorithm;

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
    fn check(wanted: &str, if_used: IfUsed, numbers: &[usize]) {
        let got = names_of(&records(), &ImageName(wanted.to_owned()), if_used).unwrap();
        let want: Vec<_> = numbers.iter().map(|at| records()[*at].clone()).collect();
        assert_eq!(got, want);
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
        check(&id("one"), IfUsed::TakeNames, &[0, 1, 2]);
        let wanted = ImageName(id("one"));
        let error = names_of(&records(), &wanted, IfUsed::Refuse).unwrap_err();
        assert!(error.to_string().contains("a:1, a:2"), "{error}");
    }

    #[test]
    fn what_is_not_there_or_could_be_several_is_refused() {
        let error = |text: &str| {
            names_of(&records(), &ImageName(text.to_owned()), IfUsed::Refuse).unwrap_err()
        };
        assert!(matches!(error("a:3"), Error::NoImage(_)));
        assert!(matches!(error("!"), Error::NoImage(_)));
        assert!(matches!(error("sha256:"), Error::NoImage(_)));
        let mut both = records();
        let mut hex = both[0].config.hex().to_owned();
        let last = if hex.ends_with('0') { "1" } else { "0" };
        hex.replace_range(63.., last);
        both[5].config = format!("sha256:{hex}").parse().unwrap();
        let wanted = ImageName(hex[..20].to_owned());
        let error = names_of(&both, &wanted, IfUsed::Refuse).unwrap_err();
        assert!(matches!(error, Error::Ambiguous(_)));
    }
}
