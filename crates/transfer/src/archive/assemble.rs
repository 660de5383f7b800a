//! Puts the images of an archive together from what it holds. Pure: nothing is read or written here.
//!
//! An OCI layout goes before a `manifest.json` beside it, as in Docker with containerd's store: it has
//! the manifests as they are. Names come from both. An image has one manifest here, so that of an index
//! with several platforms the best one for this machine gets the name; the others are kept by digest.

use std::sync::Arc;

use lapstrake_oci::{
    Algorithm, Config, Descriptor, DiffId, Digest, Document, Image, Index, Parsed, Platform,
    Reference, Repo,
};
use serde::Deserialize;

use super::documents::{DockerImage, IMAGE_NAME, REF_NAME, made};
use super::facts::{Facts, named_digest};
use super::problem::Problem;

type Result<T> = std::result::Result<T, Problem>;
type Stored = (Digest, Arc<[u8]>);

/// Indexes in one another.
const DEPTH_MAX: usize = 8;
/// Images of an archive.
const IMAGES_MAX: usize = 2000;
/// What says of a manifest that it is about another one.
const ABOUT: &str = "vnd.docker.reference.type";

/// An image that can be stored.
#[derive(Debug, Clone)]
pub(super) struct ToLoad {
    pub(super) names: Vec<Reference>,
    pub(super) manifest: Stored,
    pub(super) config: Stored,
    /// What the names lead to, if it is an index.
    pub(super) index: Option<Stored>,
    pub(super) layers: Vec<DiffId>,
    pub(super) platform: Platform,
    /// In whose repository it is kept if it has no name.
    pub(super) repo: Option<Repo>,
}

/// What an archive has for us.
#[derive(Debug, Default)]
pub(super) struct Assembled {
    pub(super) images: Vec<ToLoad>,
    /// What is left out, and why, in words.
    pub(super) notes: Vec<String>,
}

/// Which platforms are wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// Only the best image for this one.
    pub(super) only: Option<&'a Platform>,
    /// Whose image gets the name if there are several.
    pub(super) host: &'a Platform,
}

pub(super) fn assemble(facts: &Facts, wanted: Wanted<'_>) -> Result<Assembled> {
    let is_layout = facts.has("oci-layout") && facts.has("index.json");
    let docker = docker_images(facts)?;
    let mut all = Assembled::default();
    match (is_layout, docker) {
        (true, docker) => {
            from_layout(facts, wanted, &mut all)?;
            if let Some(docker) = docker {
                more_names(facts, &docker, &mut all.images)?;
            }
        }
        (false, Some(docker)) => from_docker(facts, &docker, wanted, &mut all)?,
        (false, None) if facts.has("repositories") => return Err(Problem::Legacy),
        (false, None) => return Err(Problem::NoImages),
    }
    match (wanted.only, all.images.is_empty()) {
        (_, false) => Ok(all),
        (Some(only), true) => Err(Problem::NoPlatform {
            wanted: Box::new(only.clone()),
            offered: all.notes.join("; "),
        }),
        (None, true) => Err(Problem::NoImages),
    }
}

impl Assembled {
    /// An image may come under several entries: it is one, with the names of all.
    fn add(&mut self, image: ToLoad) -> Result<()> {
        let same = |other: &&mut ToLoad| other.manifest.0 == image.manifest.0;
        if let Some(other) = self.images.iter_mut().find(same) {
            for name in image.names {
                if !other.names.contains(&name) {
                    other.names.push(name);
                }
            }
            other.index = other.index.take().or(image.index);
            return Ok(());
        }
        if self.images.len() == IMAGES_MAX {
            return Err(Problem::TooMuch {
                what: "images",
                limit: IMAGES_MAX as u64,
            });
        }
        self.images.push(image);
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layout {
    image_layout_version: String,
}

fn from_layout(facts: &Facts, wanted: Wanted<'_>, all: &mut Assembled) -> Result<()> {
    let layout = facts.document("oci-layout", "the layout")?;
    let version = serde_json::from_slice(layout).map(|layout: Layout| layout.image_layout_version);
    match version {
        Ok(version) if version == "1.0.0" => {}
        Ok(version) => return Err(Problem::LayoutVersion(version)),
        Err(error) => return Err(Problem::LayoutVersion(error.to_string())),
    }
    let raw = facts.document("index.json", "the layout")?;
    let index = Parsed::<Index>::index(Arc::clone(raw)).map_err(document("index.json"))?;
    for entry in &index.manifests {
        let names = names(entry, &mut all.notes)?;
        let said = match names.first() {
            Some(name) => name.familiar(),
            None => entry.digest.to_string(),
        };
        let raw = facts.described(entry, "index.json")?;
        match parse(entry, raw)? {
            Document::Manifest(_) => {
                let Some(image) = image(facts, entry)? else {
                    all.notes.push(format!("{said} is no image"));
                    continue;
                };
                if wanted
                    .only
                    .is_some_and(|only| only.suits(&image.platform).is_none())
                {
                    all.notes.push(format!("{said} is for {}", image.platform));
                    continue;
                }
                all.add(ToLoad { names, ..image })?;
            }
            Document::Index(index) => {
                let mut found = Vec::new();
                leaves(facts, &index, 1, &mut found)?;
                let top = (entry.digest.clone(), Arc::clone(raw));
                choose(facts, &found, wanted, &said, (names, top), all)?;
            }
        }
    }
    Ok(())
}

/// The manifests of an index, and of those in it.
fn leaves(facts: &Facts, index: &Index, depth: usize, found: &mut Vec<Descriptor>) -> Result<()> {
    if depth > DEPTH_MAX {
        return Err(Problem::Deep(DEPTH_MAX));
    }
    for entry in &index.manifests {
        if found.len() == IMAGES_MAX {
            return Err(Problem::TooMuch {
                what: "images",
                limit: IMAGES_MAX as u64,
            });
        }
        let inner = match facts.described(entry, "an index") {
            Ok(raw) => match parse(entry, raw)? {
                Document::Index(inner) => Some(inner),
                Document::Manifest(_) => None,
            },
            // Whether it matters is for the one who chooses.
            Err(problem) if problem.is_absence() => None,
            Err(problem) => return Err(problem),
        };
        match inner {
            Some(inner) => leaves(facts, &inner, depth + 1, found)?,
            None => found.push(entry.clone()),
        }
    }
    Ok(())
}

/// Takes what is wanted of the manifests of an index, and gives the best of them the names.
fn choose(
    facts: &Facts,
    found: &[Descriptor],
    wanted: Wanted<'_>,
    said: &str,
    (names, index): (Vec<Reference>, Stored),
    all: &mut Assembled,
) -> Result<()> {
    let mut complete = Vec::new();
    let mut absence = None;
    for entry in found {
        match image(facts, entry) {
            Ok(Some(image)) => complete.push(image),
            Ok(None) => {}
            Err(problem) if problem.is_absence() => {
                if !is_about_another(entry) {
                    let platform = entry.platform.as_ref().map(Platform::to_string);
                    let platform = platform.unwrap_or_else(|| entry.digest.to_string());
                    all.notes
                        .push(format!("{said} for {platform} is not in the archive"));
                }
                absence = Some(problem);
            }
            Err(problem) => return Err(problem),
        }
    }
    let best = |platform: &Platform| {
        let ranked = complete.iter().enumerate();
        let ranked = ranked.filter_map(|(at, image)| Some((platform.suits(&image.platform)?, at)));
        ranked.min().map(|(_, at)| at)
    };
    let repo = names.first().map(|name| name.repo().clone());
    let chosen = match wanted.only {
        Some(only) => best(only),
        // What can't run here can still be loaded, as with Docker.
        None => best(wanted.host).or((!complete.is_empty()).then_some(0)),
    };
    let Some(chosen) = chosen else {
        return match (wanted.only, absence) {
            (None, Some(problem)) => Err(problem),
            _ => {
                let offered = complete.iter().map(|image| image.platform.to_string());
                let offered: Vec<_> = offered.collect();
                all.notes
                    .push(format!("{said} is for {}", offered.join(", ")));
                Ok(())
            }
        };
    };
    for (at, image) in complete.into_iter().enumerate() {
        if at == chosen {
            all.add(ToLoad {
                names: names.clone(),
                index: Some(index.clone()),
                ..image
            })?;
        } else if wanted.only.is_none() {
            all.notes.push(format!(
                "{said} for {} is kept without a name: another platform has it",
                image.platform
            ));
            all.add(ToLoad {
                repo: repo.clone(),
                ..image
            })?;
        }
    }
    Ok(())
}

fn is_about_another(entry: &Descriptor) -> bool {
    let is_unknown = |platform: &Platform| platform.os == "unknown";
    entry.annotations.contains_key(ABOUT) || entry.platform.as_ref().is_some_and(is_unknown)
}

/// The image of a manifest, all of it found and compared; none if it is something else.
fn image(facts: &Facts, entry: &Descriptor) -> Result<Option<ToLoad>> {
    if is_about_another(entry) {
        return Ok(None);
    }
    let raw = facts.described(entry, "an index")?;
    let path = entry.digest.to_string();
    let Document::Manifest(manifest) = parse(entry, raw)? else {
        return Ok(None);
    };
    if !manifest.is_image() {
        return Ok(None);
    }
    let by = format!("manifest {path}");
    let config = facts.described(&manifest.config, &by)?;
    let config = Parsed::<Config>::config(Arc::clone(config)).map_err(document(&path))?;
    let image = Image::new(manifest, config).map_err(document(&path))?;
    let mut layers = Vec::new();
    for layer in image.layers() {
        let fact = facts.described_layer(layer.blob, &by)?;
        same_layer(&layer.blob.digest.to_string(), layer.diff_id, &fact.id)?;
        layers.push(fact.id.clone());
    }
    Ok(Some(ToLoad {
        names: Vec::new(),
        manifest: (entry.digest.clone(), Arc::clone(raw)),
        config: (
            image.manifest().config.digest.clone(),
            Arc::clone(image.config().raw()),
        ),
        index: None,
        layers,
        platform: image.config().platform.clone(),
        repo: None,
    }))
}

fn parse(entry: &Descriptor, raw: &Arc<[u8]>) -> Result<Document> {
    let declared = Some(entry.media_type.as_str()).filter(|text| !text.is_empty());
    Document::parse(Arc::clone(raw), declared).map_err(document(&entry.digest.to_string()))
}

fn document(path: &str) -> impl Fn(lapstrake_oci::Error) -> Problem {
    let path = path.to_owned();
    move |source| Problem::Document {
        path: path.clone(),
        source: Box::new(source),
    }
}

fn same_layer(path: &str, want: &DiffId, got: &DiffId) -> Result<()> {
    if want == got {
        return Ok(());
    }
    Err(Problem::WrongLayer {
        path: path.to_owned(),
        want: want.clone(),
        got: got.clone(),
    })
}

/// What an entry of an index is called.
fn names(entry: &Descriptor, notes: &mut Vec<String>) -> Result<Vec<Reference>> {
    if let Some(text) = entry.annotations.get(IMAGE_NAME) {
        return Ok(tagged(&name(text)?).into_iter().collect());
    }
    let Some(text) = entry.annotations.get(REF_NAME) else {
        return Ok(Vec::new());
    };
    if !text.contains([':', '/']) {
        // OCI's annotation may be no more than a tag.
        notes.push(format!(
            "the archive says only the tag {text:?}, and no name"
        ));
        return Ok(Vec::new());
    }
    Ok(tagged(&name(text)?).into_iter().collect())
}

fn name(text: &str) -> Result<Reference> {
    text.parse()
        .map_err(|error: lapstrake_oci::ReferenceError| Problem::Name {
            name: text.to_owned(),
            why: error.to_string(),
        })
}

/// A name by digest is no name that one can give.
fn tagged(name: &Reference) -> Option<Reference> {
    let tag = name.tag()?.clone();
    Some(Reference::tagged(name.repo().clone(), tag))
}

fn docker_images(facts: &Facts) -> Result<Option<Vec<DockerImage>>> {
    if !facts.has("manifest.json") {
        return Ok(None);
    }
    let raw = facts.document("manifest.json", "the archive")?;
    let list: Vec<DockerImage> = serde_json::from_slice(raw).map_err(Problem::List)?;
    if list.len() > IMAGES_MAX {
        return Err(Problem::TooMuch {
            what: "images",
            limit: IMAGES_MAX as u64,
        });
    }
    Ok(Some(list))
}

fn docker_names(image: &DockerImage) -> Result<Vec<Reference>> {
    let tags = image.repo_tags.as_deref().unwrap_or_default();
    let names = tags.iter().map(|text| Ok(tagged(&name(text)?)));
    Ok(names
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect())
}

/// Adds the names that a `manifest.json` has for images of a layout.
fn more_names(facts: &Facts, docker: &[DockerImage], images: &mut [ToLoad]) -> Result<()> {
    for one in docker {
        // It may speak of what a chosen platform left out, or of another platform's.
        let Ok(raw) = facts.document(&normal(&one.config), "manifest.json") else {
            continue;
        };
        let of_config = |image: &&mut ToLoad| image.config.1 == *raw;
        if let Some(image) = images.iter_mut().find(of_config) {
            for name in docker_names(one)? {
                if !image.names.contains(&name) {
                    image.names.push(name);
                }
            }
        }
    }
    Ok(())
}

fn from_docker(
    facts: &Facts,
    docker: &[DockerImage],
    wanted: Wanted<'_>,
    all: &mut Assembled,
) -> Result<()> {
    for one in docker {
        let path = normal(&one.config);
        let raw = facts.document(&path, "manifest.json")?;
        let digest = Algorithm::Sha256.digest(raw);
        if named_digest(&path).is_some_and(|named| named != digest) {
            return Err(Problem::WrongDigest { path, got: digest });
        }
        let config = Parsed::<Config>::config(Arc::clone(raw)).map_err(document(&path))?;
        let names = docker_names(one)?;
        let platform = config.platform.clone();
        if wanted
            .only
            .is_some_and(|only| only.suits(&platform).is_none())
        {
            let said = names
                .first()
                .map_or_else(|| digest.to_string(), Reference::familiar);
            all.notes.push(format!("{said} is for {platform}"));
            continue;
        }
        let diff_ids = &config.rootfs.diff_ids;
        if diff_ids.len() != one.layers.len() {
            return Err(Problem::LayerCount {
                image: digest,
                layers: one.layers.len(),
                diff_ids: diff_ids.len(),
            });
        }
        let mut tar_lens = Vec::new();
        for (path, want) in one.layers.iter().zip(diff_ids) {
            let fact = facts.layer(&normal(path), "manifest.json")?;
            same_layer(path, want, &fact.id)?;
            tar_lens.push(fact.tar_len);
        }
        let manifest = serde_json::to_vec(&made(&digest, &config, &tar_lens));
        let manifest: Arc<[u8]> = manifest.expect("a manifest is JSON").into();
        all.add(ToLoad {
            names,
            manifest: (Algorithm::Sha256.digest(&manifest), manifest),
            layers: diff_ids.clone(),
            config: (digest, Arc::clone(raw)),
            index: None,
            platform,
            repo: None,
        })?;
    }
    Ok(())
}

/// A path as the archive's entries are called: a `./` before it means nothing.
fn normal(path: &str) -> String {
    let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
    parts.collect::<Vec<_>>().join("/")
}
