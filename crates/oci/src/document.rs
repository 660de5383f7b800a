//! What a registry answers for a reference: a manifest or an index.
//!
//! Invariant: a document is read as what it is in every reader's eyes. One that carries the fields of
//! both kinds, or whose own type contradicts them, is refused (CVE-2021-41190: two readers, two images).

use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::media_type::{self, Kind};
use crate::parsed::bounded;
use crate::{Error, Index, Manifest, Parsed, bounds};

/// A manifest or an index.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "one is made per pull, and taken apart at once"
)]
pub enum Document {
    /// One image.
    Manifest(Parsed<Manifest>),
    /// A choice of images.
    Index(Parsed<Index>),
}

impl Document {
    /// Reads a document. `declared` is the media type that came with it (a `Content-Type` header, a
    /// descriptor); the document's own `mediaType` goes before it, and must not be of another kind.
    /// A declared type that names neither (such as `text/plain`) is ignored if the document has its own.
    pub fn parse(raw: impl Into<Arc<[u8]>>, declared: Option<&str>) -> Result<Self, Error> {
        let raw = raw.into();
        let shape = Shape::read(&raw)?;
        Ok(match shape.kind(declared)? {
            Kind::Manifest => Self::Manifest(Parsed::read(raw)?),
            Kind::Index => Self::Index(Parsed::read(raw)?),
            Kind::Schema1 => return Err(Error::Schema1),
        })
    }

    /// The exact bytes.
    pub fn raw(&self) -> &Arc<[u8]> {
        match self {
            Self::Manifest(manifest) => manifest.raw(),
            Self::Index(index) => index.raw(),
        }
    }

    /// The type to store and serve it under.
    pub fn media_type(&self) -> &str {
        match self {
            Self::Manifest(manifest) => manifest.media_type(),
            Self::Index(index) => index.media_type(),
        }
    }
}

/// Checks that a document can only be of one kind.
pub(crate) fn expect(raw: &[u8], kind: Kind) -> Result<(), Error> {
    let declared = match kind {
        Kind::Manifest => media_type::OCI_MANIFEST,
        Kind::Index => media_type::OCI_INDEX,
        Kind::Schema1 => return Err(Error::Schema1),
    };
    match Shape::read(raw)?.kind(Some(declared))? {
        Kind::Schema1 => Err(Error::Schema1),
        found if found == kind => Ok(()),
        found => Err(Error::Ambiguous {
            claimed: name(kind),
            found: name(found),
        }),
    }
}

/// Which of the telling fields a document has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    #[serde(default)]
    schema_version: Option<u64>,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    config: Option<IgnoredAny>,
    #[serde(default)]
    layers: Option<IgnoredAny>,
    #[serde(default)]
    manifests: Option<IgnoredAny>,
    #[serde(default)]
    fs_layers: Option<IgnoredAny>,
}

impl Shape {
    fn read(raw: &[u8]) -> Result<Self, Error> {
        bounded("manifest", raw, bounds::MAX_MANIFEST_BYTES)
    }

    fn kind(&self, declared: Option<&str>) -> Result<Kind, Error> {
        if self.schema_version == Some(1) || self.fs_layers.is_some() {
            return Err(Error::Schema1);
        }
        let looks = match (
            self.config.is_some() || self.layers.is_some(),
            self.manifests.is_some(),
        ) {
            (true, false) => Some(Kind::Manifest),
            (false, true) => Some(Kind::Index),
            (true, true) => {
                return Err(Error::Ambiguous {
                    claimed: "a manifest",
                    found: "an index as well",
                });
            }
            (false, false) => None,
        };
        let own = match self.media_type.as_deref() {
            None | Some("") => None,
            Some(text) => {
                Some(media_type::kind(text).ok_or_else(|| Error::MediaType(text.to_owned()))?)
            }
        };
        let declared_kind = declared.and_then(media_type::kind);
        let claims = [own, declared_kind];
        let found = own
            .or(declared_kind)
            .or(looks)
            .ok_or_else(|| Error::MediaType(declared.unwrap_or_default().to_owned()))?;
        for claim in claims.into_iter().chain([looks]).flatten() {
            if claim != found {
                return Err(Error::Ambiguous {
                    claimed: name(found),
                    found: name(claim),
                });
            }
        }
        Ok(found)
    }
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Manifest => "a manifest",
        Kind::Index => "an index",
        Kind::Schema1 => "a schema 1 manifest",
    }
}
