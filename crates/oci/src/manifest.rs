//! Image manifests: OCI's, and Docker's schema 2.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::json::null_is_default;
use crate::parsed::{FromJson, at_most, bounded};
use crate::{Descriptor, Error, Parsed, bounds, document, media_type};

/// What an image consists of: a config and layers, lowest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// The manifest's own type. OCI manifests may leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// For artifacts: what kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// How to run it.
    pub config: Descriptor,
    /// The layers, lowest first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub layers: Vec<Descriptor>,
    /// The manifest that this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free-form notes.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// Whether it is a container image, rather than another artifact (a chart, a signature).
    pub fn is_image(&self) -> bool {
        media_type::is_image_config(&self.config.media_type)
    }

    /// The type to store and serve it under.
    pub fn media_type(&self) -> &str {
        self.media_type
            .as_deref()
            .unwrap_or(media_type::OCI_MANIFEST)
    }
}

impl FromJson for Manifest {
    fn from_json(raw: &[u8]) -> Result<Self, Error> {
        let read: Self = bounded("manifest", raw, bounds::MAX_MANIFEST_BYTES)?;
        at_most("manifest", "layers", read.layers.len(), bounds::MAX_LAYERS)?;
        for blob in read.layers.iter().chain([&read.config]) {
            if blob.size > bounds::MAX_BLOB_BYTES {
                return Err(Error::TooLarge {
                    what: "blob",
                    size: blob.size,
                    limit: bounds::MAX_BLOB_BYTES,
                });
            }
        }
        Ok(read)
    }
}

impl Parsed<Manifest> {
    /// Reads a manifest, and only a manifest: schema 1, indexes and documents that could be taken for
    /// either are refused.
    pub fn manifest(raw: impl Into<Arc<[u8]>>) -> Result<Self, Error> {
        let raw = raw.into();
        document::expect(&raw, media_type::Kind::Manifest)?;
        Self::read(raw)
    }
}
