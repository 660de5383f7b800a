//! The documents of an archive: Docker's `manifest.json` and `repositories`, and OCI's of a layout.

use std::collections::BTreeMap;

use lapstrake_oci::{
    Algorithm, Config, Descriptor, Digest, Image, Index, Manifest, Parsed, Reference, media_type,
};
use serde::{Deserialize, Serialize};

use super::plan::ToSave;

/// What containerd, and with it Docker, calls an image of a layout.
pub(super) const IMAGE_NAME: &str = "io.containerd.image.name";
/// What OCI calls one.
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// An image as `manifest.json` has it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerImage {
    pub(super) config: String,
    /// Docker writes `null` if there are none.
    #[serde(default)]
    pub(super) repo_tags: Option<Vec<String>>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(super) layers: Vec<String>,
}

/// An image without layers has `null` there.
fn null_is_empty<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A manifest for an image in an archive, whose layers are not compressed.
pub(super) struct ArchiveManifest {
    pub(super) descriptor: Descriptor,
    pub(super) bytes: Vec<u8>,
    /// Whether it is the one that the image has in the store.
    pub(super) kept: bool,
}

/// The image's own manifest if it is of layers that are not compressed, or else a new one.
pub(super) fn manifest(one: &ToSave) -> ArchiveManifest {
    let own = one.image.manifest();
    let (kept, media_type, digest, bytes) = if is_of_tars(&one.image) {
        let bytes = own.raw().to_vec();
        (true, own.media_type(), one.manifest.clone(), bytes)
    } else {
        let config = &one.image.manifest().config.digest;
        let made = made(config, one.image.config(), &one.tar_lens);
        let bytes = serde_json::to_vec(&made).expect("a manifest is JSON");
        let digest = Algorithm::Sha256.digest(&bytes);
        (false, media_type::OCI_MANIFEST, digest, bytes)
    };
    let mut descriptor = Descriptor::new(media_type, digest, bytes.len() as u64);
    descriptor.platform = Some(one.image.config().platform.clone());
    ArchiveManifest {
        descriptor,
        bytes,
        kept,
    }
}

fn is_of_tars(image: &Image) -> bool {
    image
        .layers()
        .all(|layer| layer.blob.digest == layer.diff_id.0)
}

/// A manifest for layers that are not compressed. The same image gives the same manifest, to the byte.
pub(super) fn made(digest: &Digest, config: &Parsed<Config>, tar_lens: &[u64]) -> Manifest {
    let layers = config.rootfs.diff_ids.iter().zip(tar_lens);
    let layers = layers.map(|(id, len)| Descriptor::new(media_type::OCI_LAYER, id.0.clone(), *len));
    Manifest {
        schema_version: 2,
        media_type: Some(media_type::OCI_MANIFEST.to_owned()),
        artifact_type: None,
        config: Descriptor::new(media_type::OCI_CONFIG, digest.clone(), config.size()),
        layers: layers.collect(),
        subject: None,
        annotations: BTreeMap::new(),
    }
}

/// `index.json`: an entry for each name, and one for an image without any.
pub(super) fn index<'a>(
    images: impl Iterator<Item = (&'a Descriptor, &'a [Reference])>,
) -> Vec<u8> {
    let mut manifests = Vec::new();
    for (descriptor, names) in images {
        if names.is_empty() {
            manifests.push(descriptor.clone());
        }
        manifests.extend(names.iter().map(|name| {
            let mut named = descriptor.clone();
            let tag = name.tag().map(|tag| tag.as_str().to_owned());
            named.annotations = BTreeMap::from([(IMAGE_NAME.to_owned(), name.to_string())]);
            named
                .annotations
                .extend(tag.map(|tag| (REF_NAME.to_owned(), tag)));
            named
        }));
    }
    let index = Index {
        schema_version: 2,
        media_type: Some(media_type::OCI_INDEX.to_owned()),
        artifact_type: None,
        manifests,
        subject: None,
        annotations: BTreeMap::new(),
    };
    serde_json::to_vec(&index).expect("an index is JSON")
}

/// `oci-layout`.
pub(super) const OCI_LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// `repositories`: for each name the topmost layer. Nothing that reads it alone can read the rest;
/// but there are programs that look for it to tell what an archive is.
pub(super) fn repositories<'a>(
    images: impl Iterator<Item = (&'a Config, &'a [Reference])>,
) -> Option<Vec<u8>> {
    let mut repositories: BTreeMap<String, BTreeMap<&str, &str>> = BTreeMap::new();
    for (config, names) in images {
        let Some(top) = config.rootfs.diff_ids.last() else {
            continue;
        };
        for name in names {
            let tags = repositories.entry(name.repo().familiar()).or_default();
            tags.extend(name.tag().map(|tag| (tag.as_str(), top.0.hex())));
        }
    }
    let json = serde_json::to_vec(&repositories).expect("names are JSON");
    (!repositories.is_empty()).then_some(json)
}

/// Where a blob is in an archive.
pub(super) fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}
