//! Lists of images, and which images are in one.

mod pattern;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::SystemTime;

use lapstrake_oci::{DiffId, Digest, Reference};
use lapstrake_store::ImageRecord;
use lapstrake_sys::parallel;

use crate::Engine;
use crate::error::Result;
use crate::names::{ImageName, is_tagged};
use crate::prune::{Label, has_all};

/// An image, for a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSummary {
    /// Its name.
    pub reference: String,
    /// Its id: the digest of its config.
    pub id: Digest,
    /// Its manifest.
    pub manifest: Digest,
    /// The document that its name was resolved to: its manifest, or an index.
    pub target: Digest,
    /// When it was built, if it says so.
    pub created: Option<SystemTime>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Layers.
    pub layers: usize,
    /// Bytes of tar in its layers.
    pub bytes: u64,
    /// How many of these are in layers that other images have too.
    pub shared_bytes: u64,
}

/// Which images. All that is asked for must apply.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageFilter {
    /// Only those without a tag, or only those with one.
    pub dangling: Option<bool>,
    /// Only those with all of these labels.
    pub labels: Vec<Label>,
    /// Only those that were built before all of these.
    pub before: Vec<ImageName>,
    /// Only those that were built after all of these.
    pub since: Vec<ImageName>,
    /// Only those that were built before.
    pub until: Option<SystemTime>,
    /// Only those whose name fits one of these patterns: `*`, `?` and `[a-z]`, none of which stands for
    /// `/`; with a tag or without. If there are none, all do.
    pub references: Vec<String>,
}

impl Engine {
    /// Every image, by name.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn images(&self) -> Result<Vec<ImageSummary>> {
        let names = self.store.state().names()?;
        let lens = self.layer_lens()?;
        let read =
            |(image, target): &(ImageRecord, Digest)| match self.summary(image, target, &lens) {
                Ok(summary) => Ok(Some(summary)),
                // The owner may have removed it since the list was read.
                Err(_) if self.store.state().image(&image.reference)?.as_ref() != Some(image) => {
                    Ok(None)
                }
                Err(error) => Err(error),
            };
        (self.known_facts).keep(&names.iter().map(|(image, _)| &image.config).collect());
        let found: Vec<_> = parallel::map(&names, read)?.into_iter().flatten().collect();
        let mut images: HashMap<DiffId, BTreeSet<Digest>> = HashMap::new();
        for (summary, layers) in &found {
            for layer in layers {
                let images = images.entry(layer.clone()).or_default();
                images.insert(summary.id.clone());
            }
        }
        let is_shared = |layer: &&DiffId| images.get(*layer).is_some_and(|images| images.len() > 1);
        let with_shared = |(summary, layers): (ImageSummary, Vec<DiffId>)| ImageSummary {
            shared_bytes: layers
                .iter()
                .filter(is_shared)
                .filter_map(|id| lens.get(id))
                .sum(),
            ..summary
        };
        Ok(found.into_iter().map(with_shared).collect())
    }

    /// How many images there are, whatever their names.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn count_images(&self) -> Result<usize> {
        let names = self.store.state().images()?;
        let ids: BTreeSet<_> = names.iter().map(|name| &name.config).collect();
        Ok(ids.len())
    }

    /// Bytes of tar in the layers of images, by their ids, as far as they are known here.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn sizes_of_images<'a>(&self, ids: &BTreeSet<&'a str>) -> Result<HashMap<&'a str, u64>> {
        let lens = self.layer_lens()?;
        let size = |id: &&'a str| {
            let facts = self.facts_of(&id.parse().ok()?).ok()?;
            let bytes = facts.layers.iter().filter_map(|layer| lens.get(layer));
            Some((*id, bytes.sum()))
        };
        Ok(ids.iter().filter_map(size).collect())
    }

    pub(crate) fn layer_lens(&self) -> Result<HashMap<DiffId, u64>> {
        let layers = self.store.state().every_layer()?;
        let lens = layers
            .into_iter()
            .map(|layer| (layer.diff_id, layer.tar_len));
        Ok(lens.collect())
    }

    /// Bytes of tar in all layers, each counted once.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn layer_bytes(&self) -> Result<u64> {
        let layers = self.store.state().every_layer()?;
        Ok(layers.iter().map(|layer| layer.tar_len).sum())
    }

    /// The images that a filter lets through, those first that were built last.
    ///
    /// # Errors
    /// If the store can't be read, or an image to compare with is not there.
    pub fn list_images(&self, filter: &ImageFilter) -> Result<Vec<ImageSummary>> {
        let images = self.images()?;
        let built = |name: &ImageName| {
            let id = self.resolve(name)?.config;
            let image = images.iter().find(|image| image.id == id);
            Ok(image.and_then(|image| image.created))
        };
        let before: Result<Vec<_>> = filter.before.iter().map(built).collect();
        let since: Result<Vec<_>> = filter.since.iter().map(built).collect();
        let (before, since) = (before?, since?);
        let mut listed: Vec<_> = images
            .into_iter()
            .filter(|image| {
                filter.lets_through(image)
                    && before.iter().all(|limit| image.created < *limit)
                    && since.iter().all(|limit| image.created > *limit)
            })
            .collect();
        listed.sort_by(|a, b| {
            (b.created.cmp(&a.created)).then_with(|| a.reference.cmp(&b.reference))
        });
        Ok(listed)
    }

    fn summary(
        &self,
        image: &ImageRecord,
        target: &Digest,
        lens: &HashMap<DiffId, u64>,
    ) -> Result<(ImageSummary, Vec<DiffId>)> {
        let facts = self.facts_of(&image.config)?;
        let layers = &facts.layers;
        let summary = ImageSummary {
            reference: image.reference.clone(),
            id: image.config.clone(),
            manifest: image.manifest.clone(),
            target: target.clone(),
            created: facts.created,
            labels: facts.labels.clone(),
            layers: layers.len(),
            bytes: layers.iter().filter_map(|id| lens.get(id)).sum(),
            shared_bytes: 0,
        };
        Ok((summary, layers.clone()))
    }
}

impl ImageSummary {
    /// Whether it has a tag.
    pub fn is_tagged(&self) -> bool {
        is_tagged(&ImageRecord {
            reference: self.reference.clone(),
            manifest: self.manifest.clone(),
            config: self.id.clone(),
        })
    }
}

impl ImageFilter {
    /// Whether an image passes, but for comparisons with other images.
    fn lets_through(&self, image: &ImageSummary) -> bool {
        let until = |until| image.created.is_some_and(|created| created < until);
        self.dangling
            .is_none_or(|dangling| dangling != image.is_tagged())
            && has_all(&image.labels, &self.labels)
            && self.until.is_none_or(until)
            && (self.references.is_empty() || self.fits(&image.reference))
    }

    /// Whether a name fits one of the patterns.
    pub fn fits(&self, name: &str) -> bool {
        let Ok(reference) = name.parse::<Reference>() else {
            return false;
        };
        let names = [
            reference.familiar(),
            reference.repo().familiar(),
            reference.to_string(),
            reference.repo().to_string(),
        ];
        let fits = |wanted: &String| names.iter().any(|name| pattern::fits(wanted, name));
        self.references.iter().any(fits)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use lapstrake_oci::Algorithm;

    use super::*;

    fn image(name: &str, created: Option<u64>, label: &str) -> ImageSummary {
        let digest = Algorithm::Sha256.digest(name.as_bytes());
        let name = match name.strip_suffix('@') {
            Some(repo) => format!("{repo}@{digest}"),
            None => name.to_owned(),
        };
        ImageSummary {
            reference: name.parse::<Reference>().unwrap().to_string(),
            id: digest.clone(),
            manifest: digest.clone(),
            target: digest,
            created: created.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds)),
            labels: BTreeMap::from([("l".to_owned(), label.to_owned())]),
            layers: 1,
            bytes: 1,
            shared_bytes: 0,
        }
    }

    fn check(filter: &ImageFilter, want: &[&str]) {
        let images = [
            image("debian:12", Some(10), "1"),
            image("quay.io/me/tool:1", Some(20), "2"),
            image("old@", None, "1"),
        ];
        let got: Vec<_> = (images.iter())
            .filter(|image| filter.lets_through(image))
            .map(|image| image.reference.rsplit('/').next().unwrap())
            .map(|name| name.split([':', '@']).next().unwrap())
            .collect();
        assert_eq!(got, want, "{filter:?}");
    }

    #[test]
    fn all_that_is_asked_for_must_apply() {
        let all = ImageFilter::default();
        check(&all, &["debian", "tool", "old"]);
        let dangling = |dangling| ImageFilter {
            dangling: Some(dangling),
            ..ImageFilter::default()
        };
        check(&dangling(true), &["old"]);
        check(&dangling(false), &["debian", "tool"]);
        let label = Label {
            key: "l".to_owned(),
            value: Some("1".to_owned()),
        };
        let labelled = ImageFilter {
            labels: vec![label],
            ..dangling(false)
        };
        check(&labelled, &["debian"]);
        let until = ImageFilter {
            until: Some(UNIX_EPOCH + Duration::from_secs(20)),
            ..ImageFilter::default()
        };
        check(&until, &["debian"]);
    }

    #[test]
    fn a_name_fits_with_its_tag_or_without_short_or_whole() {
        for (pattern, want) in [
            ("debian", &["debian"][..]),
            ("deb*:1?", &["debian"]),
            ("docker.io/library/debian", &["debian"]),
            ("*", &["debian", "old"]),
            ("quay.io/*/*", &["tool"]),
            ("tool", &[]),
            ("debian:11", &[]),
        ] {
            let filter = ImageFilter {
                references: vec![pattern.to_owned()],
                ..ImageFilter::default()
            };
            check(&filter, want);
        }
    }
}
