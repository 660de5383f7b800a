//! From what somebody typed to an image: one way for every verb.
//!
//! As Docker does it: a name first (`debian`, `debian:12`), then an id or its beginning. A name with a
//! digest (`debian@sha256:…`) leads to the image of that repository with that manifest, or that was
//! pulled by that index, whatever its tag. An id is the digest of a config; where none begins so,
//! the digest of a manifest or an index does too.

mod nearest;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::str::FromStr;

use lapstrake_oci::{Digest, Reference, ReferenceError};
use lapstrake_store::ImageRecord;

use crate::Engine;
use crate::error::{Error, Result};

/// What an image is called on a command line: a name, or an id or its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageName {
    text: Box<str>,
    reference: Option<Reference>,
}

/// A name in the store, its image, and the document that the name was resolved to.
pub(crate) type Named = (ImageRecord, Digest);

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// This name.
    Name(Named),
    /// All names of the image that was meant otherwise; there is at least one.
    Image(Vec<Named>),
}

impl ImageName {
    /// It as a name, if it can be one: registries know images by name only.
    ///
    /// # Errors
    /// If it can only be an id.
    pub fn reference(&self) -> std::result::Result<Reference, ReferenceError> {
        match &self.reference {
            Some(reference) => Ok(reference.clone()),
            None => self.text.parse(),
        }
    }

    fn hex(&self) -> Option<&str> {
        hex_of(&self.text)
    }
}

/// The hexadecimal digits of an id or its beginning.
fn hex_of(text: &str) -> Option<&str> {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let is_hex = hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (is_hex && (1..=64).contains(&hex.len())).then_some(hex)
}

impl FromStr for ImageName {
    type Err = ReferenceError;

    fn from_str(text: &str) -> std::result::Result<Self, ReferenceError> {
        // The digest of something, whole, is never a name: not of a repository `sha256` either.
        let is_whole = text
            .strip_prefix("sha256:")
            .is_some_and(|hex| hex.len() == 64);
        let reference = match text.parse() {
            Ok(_) if is_whole && hex_of(text).is_some() => None,
            Ok(reference) => Some(reference),
            Err(_) if hex_of(text).is_some() => None,
            Err(error) => return Err(error),
        };
        Ok(Self {
            text: text.into(),
            reference,
        })
    }
}

impl From<&Reference> for ImageName {
    fn from(reference: &Reference) -> Self {
        Self {
            text: reference.familiar().into(),
            reference: Some(reference.clone()),
        }
    }
}

impl From<&Self> for ImageName {
    fn from(name: &Self) -> Self {
        name.clone()
    }
}

/// As typed, or for a reference its form for people.
impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Engine {
    /// The image that a name or an id leads to. By an id, one of its names: with a tag, if there is one.
    ///
    /// # Errors
    /// If there is none, or an id could be several.
    pub fn resolve(&self, name: impl Into<ImageName>) -> Result<ImageRecord> {
        Ok(self.find(&name.into())?.0)
    }

    /// The document that a name was resolved to, a manifest or an index; nothing if there is no such image.
    ///
    /// # Errors
    /// If the store can't be read, or an id could be several.
    pub fn document_of(&self, name: impl Into<ImageName>) -> Result<Option<Digest>> {
        match self.find(&name.into()) {
            Ok((_, document)) => Ok(Some(document)),
            Err(Error::NoImage(_) | Error::Misspelt { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a name or an id leads to an image.
    ///
    /// # Errors
    /// If the store can't be read, or an id could be several.
    pub fn has_image(&self, name: impl Into<ImageName>) -> Result<bool> {
        match self.find(&name.into()) {
            Ok(_) => Ok(true),
            Err(Error::NoImage(_) | Error::Misspelt { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The ids of the images that these names and ids lead to now. Those are left out that lead to none, or could be several.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn ids_of<'a>(&self, wanted: &BTreeSet<&'a str>) -> Result<HashMap<&'a str, Digest>> {
        if wanted.is_empty() {
            return Ok(HashMap::new());
        }
        let names = self.store.state().names()?;
        // Most are names as they stand, and there may be a thousand of both.
        let exact = names
            .iter()
            .map(|(image, _)| (&*image.reference, &image.config));
        let exact: HashMap<_, _> = exact.collect();
        let found = wanted
            .iter()
            .filter_map(|name| Some((*name, id_of(&names, &exact, name)?)));
        Ok(found.collect())
    }

    /// As [`Engine::resolve`], with the document that the name was resolved to.
    pub(crate) fn find(&self, wanted: &ImageName) -> Result<Named> {
        let names = self.store.state().names()?;
        match find(&names, wanted)? {
            Found::Name(named) => Ok(named),
            Found::Image(names) => {
                let tagged = names.iter().find(|(image, _)| is_tagged(image));
                let named = tagged.or(names.first()).cloned();
                named.ok_or_else(|| Error::NoImage(wanted.to_string()))
            }
        }
    }
}

/// What is wanted, of all names there are.
pub(crate) fn find(names: &[Named], wanted: &ImageName) -> Result<Found> {
    if let Some(found) = look(names, wanted)? {
        return Ok(found);
    }
    let nearest = wanted.reference.as_ref();
    let nearest = nearest.and_then(|wanted| nearest::nearest(names, wanted));
    Err(match nearest {
        Some(nearest) => Error::Misspelt {
            image: wanted.to_string(),
            nearest,
        },
        None => Error::NoImage(wanted.to_string()),
    })
}

/// The same; nothing if there is none.
fn look(names: &[Named], wanted: &ImageName) -> Result<Option<Found>> {
    if let Some(found) = by_name(names, wanted) {
        return Ok(Some(found));
    }
    if let Some(hex) = wanted.hex() {
        let ids = names_with(names, |(image, _)| image.config.hex().starts_with(hex));
        let found = match ids.is_empty() {
            false => distinct(wanted, ids, |(image, _)| &image.config)?,
            true => distinct(wanted, by_document(names, hex), |(image, _)| {
                &image.manifest
            })?,
        };
        if !found.is_empty() {
            return Ok(Some(Found::Image(found)));
        }
    }
    Ok(None)
}

/// The image that a name or an id leads to, if it leads to one.
fn id_of<'a>(
    names: &'a [Named],
    exact: &HashMap<&str, &'a Digest>,
    wanted: &str,
) -> Option<Digest> {
    let wanted: ImageName = wanted.parse().ok()?;
    let reference = wanted.reference.as_ref().map(Reference::to_string);
    if let Some(id) = reference.and_then(|reference| exact.get(&*reference)) {
        return Some((*id).clone());
    }
    match look(names, &wanted).ok()?? {
        Found::Name((image, _)) => Some(image.config),
        Found::Image(names) => names.into_iter().next().map(|(image, _)| image.config),
    }
}

fn by_name(names: &[Named], wanted: &ImageName) -> Option<Found> {
    let reference = wanted.reference.as_ref()?;
    let text = reference.to_string();
    if let Some(named) = names.iter().find(|(image, _)| image.reference == text) {
        return Some(Found::Name(named.clone()));
    }
    let digest = reference.digest()?;
    let pinned = Reference::pinned(reference.repo().clone(), digest.clone()).to_string();
    if let Some(named) = names.iter().find(|(image, _)| image.reference == pinned) {
        return Some(Found::Name(named.clone()));
    }
    let repo = Some(reference.repo().to_string());
    let found = names_with(names, |(image, target)| {
        (image.manifest == *digest || target == digest) && repo_of(image) == repo
    });
    (!found.is_empty()).then_some(Found::Image(found))
}

fn by_document(names: &[Named], hex: &str) -> Vec<Named> {
    names_with(names, |(image, target)| {
        image.manifest.hex().starts_with(hex) || target.hex().starts_with(hex)
    })
}

fn names_with(names: &[Named], fits: impl Fn(&Named) -> bool) -> Vec<Named> {
    names.iter().filter(|named| fits(named)).cloned().collect()
}

/// The same names, if all are of one image.
fn distinct(
    wanted: &ImageName,
    found: Vec<Named>,
    id: impl Fn(&Named) -> &Digest,
) -> Result<Vec<Named>> {
    let ids: BTreeSet<_> = found.iter().map(&id).collect();
    if ids.len() <= 1 {
        return Ok(found);
    }
    let candidates = ids.iter().map(|one| {
        let named = found.iter().find(|named| id(named) == *one);
        let name = named.map_or_else(String::new, |(image, _)| familiar(&image.reference));
        format!("{} ({name})", &one.hex()[..20])
    });
    Err(Error::Ambiguous {
        id: wanted.to_string(),
        candidates: candidates.collect::<Vec<_>>().join(", "),
    })
}

/// A normalised name as people write it.
pub(crate) fn familiar(reference: &str) -> String {
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

/// The repository of an image's name.
pub(crate) fn repo_of(image: &ImageRecord) -> Option<String> {
    let reference: Reference = image.reference.parse().ok()?;
    Some(reference.repo().to_string())
}

#[cfg(test)]
mod tests;
