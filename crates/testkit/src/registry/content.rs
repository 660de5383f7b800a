//! What the registry has.

use std::collections::BTreeMap;
use std::sync::Arc;

use lapstrake_oci::{
    Algorithm, Config, Descriptor, DiffId, Digest, Manifest, Platform, Reference, config::RootFs,
    media_type,
};

use super::Added;

/// A layer to make an image of.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The blob, as it is pulled.
    pub blob: Vec<u8>,
    /// The blob's type.
    pub media_type: String,
    /// The digest of its tar.
    pub diff_id: DiffId,
}

impl Layer {
    /// A layer whose blob is its tar, not compressed.
    pub fn plain(tar: Vec<u8>) -> Self {
        Self {
            diff_id: DiffId(Algorithm::Sha256.digest(&tar)),
            media_type: media_type::OCI_LAYER.to_owned(),
            blob: tar,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Content {
    blobs: BTreeMap<Digest, Arc<[u8]>>,
    manifests: BTreeMap<Digest, Stored>,
    /// By path and tag, or path and digest.
    names: BTreeMap<(String, String), Digest>,
}

/// A manifest or an index, with its type.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) media_type: String,
    pub(super) raw: Arc<[u8]>,
}

impl Content {
    pub(super) fn add_blob(&mut self, bytes: Arc<[u8]>) -> Digest {
        let digest = Algorithm::Sha256.digest(&bytes);
        self.blobs.insert(digest.clone(), bytes);
        digest
    }

    pub(super) fn add_manifest(
        &mut self,
        path: &str,
        tag: Option<&str>,
        media_type: &str,
        raw: Arc<[u8]>,
    ) -> Descriptor {
        let digest = Algorithm::Sha256.digest(&raw);
        let descriptor = Descriptor::new(media_type, digest.clone(), raw.len() as u64);
        for name in tag
            .map(str::to_owned)
            .into_iter()
            .chain([digest.to_string()])
        {
            self.names.insert((path.to_owned(), name), digest.clone());
        }
        let media_type = media_type.to_owned();
        self.manifests.insert(digest, Stored { media_type, raw });
        descriptor
    }

    pub(super) fn add_image(&mut self, reference: Reference, layers: &[Layer]) -> Added {
        let config = Config {
            platform: Platform::new("linux", "amd64"),
            rootfs: RootFs {
                diff_ids: layers.iter().map(|layer| layer.diff_id.clone()).collect(),
                ..RootFs::default()
            },
            ..Config::default()
        };
        let config = self.described(media_type::OCI_CONFIG, json(&config));
        let layers: Vec<_> = layers
            .iter()
            .map(|layer| self.described(&layer.media_type, layer.blob.as_slice().into()))
            .collect();
        let manifest = json(&Manifest {
            schema_version: 2,
            media_type: Some(media_type::OCI_MANIFEST.to_owned()),
            artifact_type: None,
            config: config.clone(),
            layers: layers.clone(),
            subject: None,
            annotations: BTreeMap::new(),
        });
        let path = reference.repo().path().to_owned();
        let tag = reference.tag().map(ToString::to_string);
        let manifest = self.add_manifest(&path, tag.as_deref(), media_type::OCI_MANIFEST, manifest);
        Added {
            reference,
            manifest,
            config,
            layers,
        }
    }

    fn described(&mut self, media_type: &str, bytes: Arc<[u8]>) -> Descriptor {
        let size = bytes.len() as u64;
        Descriptor::new(media_type, self.add_blob(bytes), size)
    }

    pub(super) fn blob(&self, digest: &str) -> Option<(Digest, Arc<[u8]>)> {
        let digest: Digest = digest.parse().ok()?;
        let bytes = self.blobs.get(&digest)?.clone();
        Some((digest, bytes))
    }

    /// The tags at a path, in order.
    pub(super) fn tags(&self, path: &str) -> Vec<String> {
        let names = self
            .names
            .keys()
            .filter(|(at, name)| at == path && !name.contains(':'));
        names.map(|(_, name)| name.clone()).collect()
    }

    pub(super) fn manifest(&self, path: &str, name: &str) -> Option<(Digest, Stored)> {
        let digest = self.names.get(&(path.to_owned(), name.to_owned()))?;
        Some((digest.clone(), self.manifests.get(digest)?.clone()))
    }
}

fn json(document: &impl serde::Serialize) -> Arc<[u8]> {
    serde_json::to_vec(document)
        .expect("documents of the image specification are JSON")
        .into()
}
