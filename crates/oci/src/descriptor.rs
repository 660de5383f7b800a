//! Descriptors: how one document names another.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::json::null_is_default;
use crate::{Digest, Error, LayerType, Platform};

/// What names a blob or a manifest: its type, digest and size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is. Empty if the document does not say.
    #[serde(default, deserialize_with = "null_is_default")]
    pub media_type: String,
    /// What the content hashes to.
    pub digest: Digest,
    /// How many bytes it has.
    pub size: u64,
    /// Where else to find it.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub urls: Vec<String>,
    /// Free-form notes.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// In an index: what the image runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// In an index or a list of referrers: the kind of artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The content itself, base64, if small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

impl Descriptor {
    /// A descriptor with nothing but the three required fields.
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            platform: None,
            artifact_type: None,
            data: None,
        }
    }

    /// What the media type says about a layer; an error if it is no layer's.
    pub fn layer_type(&self) -> Result<LayerType, Error> {
        LayerType::of(&self.media_type).ok_or_else(|| Error::LayerType {
            digest: self.digest.clone(),
            media_type: self.media_type.clone(),
        })
    }

    /// Whether these bytes are the content.
    pub fn verify(&self, bytes: &[u8]) -> Result<(), Error> {
        let got = self.digest.algorithm().digest(bytes);
        let got_size = bytes.len() as u64;
        if got != self.digest || got_size != self.size {
            return Err(Error::Mismatch {
                want: self.digest.clone(),
                want_size: self.size,
                got,
                got_size,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Algorithm;

    #[test]
    fn bytes_are_the_content_only_with_digest_and_size() {
        let digest = Algorithm::Sha256.digest(b"abc");
        let right = Descriptor::new("text/plain", digest.clone(), 3);
        assert!(right.verify(b"abc").is_ok());
        assert!(matches!(right.verify(b"abd"), Err(Error::Mismatch { .. })));
        let wrong_size = Descriptor::new("text/plain", digest, 4);
        assert!(matches!(
            wrong_size.verify(b"abc"),
            Err(Error::Mismatch { .. })
        ));
    }

    #[test]
    fn a_negative_size_is_malformed() {
        let json = format!(
            r#"{{"mediaType":"x","digest":"{}","size":-1}}"#,
            Algorithm::Sha256.digest(b"")
        );
        assert!(serde_json::from_str::<Descriptor>(&json).is_err());
    }

    #[test]
    fn nulls_are_absent() {
        let digest = Algorithm::Sha256.digest(b"");
        let json = format!(
            r#"{{"mediaType":null,"digest":"{digest}","size":0,"urls":null,"annotations":null,"platform":null}}"#
        );
        let read: Descriptor = serde_json::from_str(&json).unwrap();
        assert_eq!(read, Descriptor::new("", digest, 0));
    }
}
