//! The OCI image layout with every image that was made.
//!
//! An image is there when the index has its name with the key of its present recipe; blobs come
//! before the index that refers to them.

use std::path::PathBuf;

use lapstrake_oci::{Algorithm, Digest};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cache::Cache;
use super::catalog::Image;
use super::compress::{self, Blob};
use super::stage::StagedLayer;
use crate::error::{Error, Result};
use crate::files;

const REF_NAME: &str = "org.opencontainers.image.ref.name";
const RECIPE: &str = "dev.lapstrake.recipe";
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
/// A fixed time: an image made again from the same layers is the same image.
const CREATED: &str = "2025-06-15T00:00:00Z";

/// An image in the layout.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BuiltImage {
    /// Its name in the layout.
    pub name: String,
    /// The layout's directory.
    pub layout: PathBuf,
    /// The manifest's digest.
    pub manifest: Digest,
    /// Its layers, bottom first.
    pub layers: Vec<Layer>,
}

impl BuiltImage {
    /// Bytes of all its tars.
    pub fn tar_bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.tar_size).sum()
    }

    /// Bytes of all its blobs as a registry sends them.
    pub fn blob_bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).sum()
    }
}

/// A layer of an image in the layout.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Layer {
    /// The blob as stored.
    pub digest: Digest,
    /// Length of the blob.
    pub size: u64,
    /// The tar.
    pub diff_id: Digest,
    /// Length of the tar.
    pub tar_size: u64,
}

impl Layer {
    /// Where the blob is, in the layout at `layout`.
    pub fn blob(&self, layout: &std::path::Path) -> PathBuf {
        layout.join("blobs/sha256").join(self.digest.hex())
    }
}

/// The blob directory, made if it is not there.
pub(super) fn blobs(cache: &Cache) -> Result<PathBuf> {
    files::make_dir(&cache.layout().join("blobs/sha256"))
}

/// The image of this name and recipe, if the layout has it.
pub(super) fn find(cache: &Cache, name: &str, key: &str) -> Result<Option<BuiltImage>> {
    let index = read_index(cache)?;
    let wanted = |entry: &&Value| {
        entry["annotations"][REF_NAME] == name && entry["annotations"][RECIPE] == key
    };
    let Some(entry) = entries(&index).iter().find(wanted) else {
        return Ok(None);
    };
    let image = files::read_json::<BuiltImage>(&note(cache, name))?;
    Ok(image.filter(|image| {
        let blobs = cache.layout().join("blobs/sha256");
        entry["digest"] == image.manifest.to_string()
            && image
                .layers
                .iter()
                .all(|layer| compress::blob_path(&blobs, &layer.digest).is_file())
    }))
}

/// Adds an image made of these layers, in place of an older one of the same name.
pub(super) fn add(
    cache: &Cache,
    image: &Image,
    key: &str,
    staged: &[StagedLayer],
) -> Result<BuiltImage> {
    let mut layers = Vec::new();
    let mut descriptors = Vec::new();
    for layer in staged {
        let blob = compress::blob_of(cache, layer, image.compression)?;
        descriptors.push(descriptor(image.compression.media_type(), &blob));
        layers.push(Layer {
            digest: blob.digest,
            size: blob.size,
            diff_id: layer.diff_id.clone(),
            tar_size: layer.size,
        });
    }
    let config = put(cache, &config(staged))?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": descriptor(CONFIG_TYPE, &config),
        "layers": descriptors,
    });
    let manifest = put(cache, &manifest)?;
    let mut entry = descriptor(MANIFEST_TYPE, &manifest);
    entry["annotations"] = json!({ REF_NAME: image.name, RECIPE: key });
    let built = BuiltImage {
        name: image.name.to_owned(),
        layout: cache.layout(),
        manifest: manifest.digest,
        layers,
    };
    files::write_json(&note(cache, image.name), &built)?;
    publish(cache, image.name, entry)?;
    Ok(built)
}

fn publish(cache: &Cache, name: &str, entry: Value) -> Result<()> {
    let index = read_index(cache)?;
    let mut manifests = entries(&index).to_vec();
    manifests.retain(|old| old["annotations"][REF_NAME] != name);
    manifests.push(entry);
    let layout = cache.layout();
    files::write_json(
        &layout.join("oci-layout"),
        &json!({ "imageLayoutVersion": "1.0.0" }),
    )?;
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": manifests,
    });
    files::write_json(&layout.join("index.json"), &index)
}

fn read_index(cache: &Cache) -> Result<Value> {
    let index = files::read_json::<Value>(&cache.layout().join("index.json"))?;
    Ok(index.unwrap_or_else(|| json!({ "manifests": [] })))
}

fn entries(index: &Value) -> &[Value] {
    index["manifests"].as_array().map_or(&[], Vec::as_slice)
}

/// What [`find`] returns again later.
fn note(cache: &Cache, name: &str) -> PathBuf {
    cache.layout().join(format!("{name}.json"))
}

fn put(cache: &Cache, value: &Value) -> Result<Blob> {
    let bytes = serde_json::to_vec(value).map_err(|source| Error::Json {
        what: "a new blob".to_owned(),
        source,
    })?;
    let digest = Algorithm::Sha256.digest(&bytes);
    files::replace(&compress::blob_path(&blobs(cache)?, &digest), &bytes)?;
    Ok(Blob {
        digest,
        size: bytes.len() as u64,
    })
}

fn descriptor(media_type: &str, blob: &Blob) -> Value {
    json!({ "mediaType": media_type, "digest": blob.digest, "size": blob.size })
}

fn config(layers: &[StagedLayer]) -> Value {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let history = layers
        .iter()
        .map(|layer| json!({ "created": CREATED, "created_by": layer.created_by }))
        .collect::<Vec<_>>();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    json!({
        "created": CREATED,
        "architecture": architecture,
        "os": "linux",
        "config": { "Env": [path], "Cmd": ["bash"] },
        "rootfs": {
            "type": "layers",
            "diff_ids": layers.iter().map(|layer| &layer.diff_id).collect::<Vec<_>>(),
        },
        "history": history,
    })
}
