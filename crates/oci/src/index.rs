//! Indexes: a choice of manifests, by platform. OCI's image index and Docker's manifest list.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::json::null_is_default;
use crate::parsed::{FromJson, at_most, bounded};
use crate::{Descriptor, Error, Parsed, Platform, bounds, document, media_type};

/// A choice of manifests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// The index' own type. OCI indexes may leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// For artifacts: what kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// What there is to choose from.
    #[serde(default, deserialize_with = "null_is_default")]
    pub manifests: Vec<Descriptor>,
    /// The manifest that this index is about.
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

impl Index {
    /// The entry for a platform: the one that suits it best ([`Platform::suits`]), the first of equals.
    ///
    /// Entries without a platform come after all that name one that suits, and the first of them is
    /// taken: such indexes hold a single image, whose config says what it runs on. Attestations carry
    /// the platform `unknown/unknown`, and so suit nothing.
    pub fn choose(&self, platform: &Platform) -> Result<&Descriptor, Error> {
        let named = self
            .manifests
            .iter()
            .filter_map(|entry| Some((platform.suits(entry.platform.as_ref()?)?, entry)))
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, entry)| entry);
        let unnamed = || self.manifests.iter().find(|entry| entry.platform.is_none());
        named.or_else(unnamed).ok_or_else(|| Error::Platform {
            wanted: Box::new(platform.clone()),
            offered: self.platforms(),
        })
    }

    /// The platforms there are images for, in the order of the index.
    pub fn platforms(&self) -> Vec<Platform> {
        let mut platforms: Vec<Platform> = Vec::new();
        for platform in self
            .manifests
            .iter()
            .filter_map(|entry| entry.platform.as_ref())
        {
            if platform.os != "unknown" && !platforms.contains(platform) {
                platforms.push(platform.clone());
            }
        }
        platforms
    }

    /// The type to store and serve it under.
    pub fn media_type(&self) -> &str {
        self.media_type.as_deref().unwrap_or(media_type::OCI_INDEX)
    }
}

impl FromJson for Index {
    fn from_json(raw: &[u8]) -> Result<Self, Error> {
        let read: Self = bounded("index", raw, bounds::MAX_MANIFEST_BYTES)?;
        at_most(
            "index",
            "entries",
            read.manifests.len(),
            bounds::MAX_INDEX_ENTRIES,
        )?;
        Ok(read)
    }
}

impl Parsed<Index> {
    /// Reads an index, and only an index: schema 1, manifests and documents that could be taken for
    /// either are refused.
    pub fn index(raw: impl Into<Arc<[u8]>>) -> Result<Self, Error> {
        let raw = raw.into();
        document::expect(&raw, media_type::Kind::Index)?;
        Self::read(raw)
    }
}
