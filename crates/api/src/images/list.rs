//! Lists of images.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use lapstrake_bridge::blocking;
use lapstrake_engine::{Engine, Error, ImageFilter, ImageSummary, Reference};
use lapstrake_oci::{Digest, Repo};
use serde::Serialize;

use crate::answer::{self, Answered};
use crate::call::Call;
use crate::error::Failure;
use crate::filters::Filters;
use crate::images::name;
use crate::version::Version;

const FILTERS: [&str; 7] = [
    "dangling",
    "label",
    "before",
    "since",
    "until",
    "reference",
    "id",
];

/// As Docker writes an image in a list.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Summary {
    pub(crate) containers: i64,
    pub(crate) created: u64,
    pub(crate) id: String,
    pub(crate) labels: Option<BTreeMap<String, String>>,
    pub(crate) parent_id: String,
    pub(crate) repo_digests: Vec<String>,
    pub(crate) repo_tags: Vec<String>,
    pub(crate) shared_size: i64,
    pub(crate) size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) virtual_size: Option<u64>,
}

/// `GET /images/json`.
pub(super) async fn list(call: Call) -> Answered {
    let filters = Filters::of(&call.query, &FILTERS)?;
    let asked = Asked::of(&filters, &call)?;
    let engine = call.daemon.engine.clone();
    let images = blocking(move || images(&engine, &asked)).await??;
    let shared = call.query.flag("shared-size");
    let listed: Vec<_> = images
        .into_iter()
        .map(|image| image.written(call.version, shared))
        .collect();
    answer::ok(&listed)
}

/// Every image, with its shared size, for `docker system df`.
pub(crate) fn summaries(engine: &Engine, version: Version) -> Result<Vec<Summary>, Failure> {
    let images = images(engine, &Asked::default())?;
    Ok(images
        .into_iter()
        .map(|image| image.written(version, true))
        .collect())
}

#[derive(Default)]
struct Asked {
    /// By image.
    images: ImageFilter,
    /// By name.
    names: Vec<String>,
    dangling: Option<bool>,
}

impl Asked {
    fn of(filters: &Filters, call: &Call) -> Result<Self, Failure> {
        let mut names: Vec<_> = filters.all("reference").map(str::to_owned).collect();
        if !call.version.from(1, 41)
            && let Some(old) = call.query.get("filter")
        {
            names.push(old.to_owned());
        }
        let images = |filter| filters.all(filter).map(name::here).collect();
        let until = match filters.single("until")? {
            None => None,
            Some(text) => {
                let until = lapstrake_engine::until(text, SystemTime::now());
                Some(until.ok_or_else(|| filters.wrong("until"))?)
            }
        };
        let before: Result<Vec<_>, _> = images("before");
        let since: Result<Vec<_>, _> = images("since");
        Ok(Self {
            images: ImageFilter {
                labels: filters.labels("label"),
                before: before?,
                since: since?,
                until,
                ..ImageFilter::default()
            },
            dangling: filters.flag("dangling")?,
            names,
        })
    }
}

/// An image with all its names.
struct Image {
    first: ImageSummary,
    tags: Vec<Reference>,
    digests: Vec<String>,
}

/// One for each id, those first that were built last.
fn images(engine: &Engine, asked: &Asked) -> Result<Vec<Image>, Failure> {
    let mut order: Vec<Digest> = Vec::new();
    let mut found: BTreeMap<Digest, Image> = BTreeMap::new();
    // An image to compare with may not be here.
    let missing = |error| match error {
        Error::NoImage(name) | Error::Misspelt { image: name, .. } => name::no_such(&name),
        error => error.into(),
    };
    for summary in engine.list_images(&asked.images).map_err(missing)? {
        let reference = summary.reference.parse::<Reference>();
        let image = found.entry(summary.id.clone()).or_insert_with(|| {
            order.push(summary.id.clone());
            Image {
                first: summary.clone(),
                tags: Vec::new(),
                digests: Vec::new(),
            }
        });
        let Ok(reference) = reference else {
            continue;
        };
        if let Some(digest) = digest_of(reference.repo(), &summary.target)
            && !image.digests.contains(&digest)
        {
            image.digests.push(digest);
        }
        if reference.tag().is_some() {
            image.tags.push(reference);
        }
    }
    let mut images: Vec<_> = (order.iter())
        .filter_map(|id| found.remove(id))
        .filter(|image| {
            asked
                .dangling
                .is_none_or(|yes| image.tags.is_empty() == yes)
        })
        .collect();
    if !asked.names.is_empty() {
        let filter = ImageFilter {
            references: asked.names.clone(),
            ..ImageFilter::default()
        };
        for image in &mut images {
            image.tags.retain(|tag| filter.fits(&tag.to_string()));
            image.digests.retain(|digest| filter.fits(digest));
        }
        images.retain(|image| !image.tags.is_empty() || !image.digests.is_empty());
    }
    Ok(images)
}

/// A name with a digest, unless nobody gave one.
pub(super) fn digest_of(repo: &Repo, digest: &Digest) -> Option<String> {
    let digest = Reference::pinned(repo.clone(), digest.clone()).familiar();
    // What the store calls it nobody is to see.
    (!lapstrake_engine::is_unnamed(&digest)).then_some(digest)
}

impl Image {
    fn written(self, version: Version, shared: bool) -> Summary {
        let image = self.first;
        let created = image
            .created
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let mut tags: Vec<_> = self.tags.iter().map(Reference::familiar).collect();
        tags.sort();
        let mut digests = self.digests;
        digests.sort();
        old_names(version, &mut tags, &mut digests);
        Summary {
            containers: -1,
            created: created.unwrap_or_default().as_secs(),
            id: image.id.to_string(),
            labels: Some(image.labels).filter(|labels| !labels.is_empty()),
            parent_id: String::new(),
            repo_digests: digests,
            repo_tags: tags,
            shared_size: if shared {
                i64::try_from(image.shared_bytes).unwrap_or(i64::MAX)
            } else {
                -1
            },
            size: image.bytes,
            virtual_size: (!version.from(1, 44)).then_some(image.bytes),
        }
    }
}

/// How older versions say that there is no name.
fn old_names(version: Version, tags: &mut Vec<String>, digests: &mut Vec<String>) {
    if !version.from(1, 43) && tags.is_empty() {
        tags.push("<none>:<none>".to_owned());
        if digests.is_empty() {
            digests.push("<none>@<none>".to_owned());
        }
    }
}
