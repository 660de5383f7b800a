//! What an archive holds, as far as it matters for putting images together: documents, what layers
//! turned out to be, and links.

use std::collections::BTreeMap;
use std::sync::Arc;

use lapstrake_fill::spans::Blob;
use lapstrake_oci::{Algorithm, Descriptor, DiffId, Digest};

use super::documents::blob_path;
use super::problem::Problem;

type Result<T> = std::result::Result<T, Problem>;

/// Links followed one after another.
const LINKS_MAX: usize = 40;

/// A file that is a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LayerFact {
    /// What its tar hashes to.
    pub(super) id: DiffId,
    /// How long that is.
    pub(super) tar_len: u64,
    /// The file.
    pub(super) blob: Blob,
}

/// A file of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// A small one that is no layer.
    Document(Arc<[u8]>),
    /// A layer.
    Layer(LayerFact),
    /// What can't be used, and why: that matters only if an image needs it.
    Unusable(String),
    /// The same as what is at another path.
    Link(String),
}

/// An archive's files by their paths.
#[derive(Debug, Default)]
pub(super) struct Facts(BTreeMap<String, Found>);

impl Facts {
    /// Notes a file.
    pub(super) fn add(&mut self, path: String, found: Found) -> Result<()> {
        match self.0.insert(path.clone(), found) {
            None => Ok(()),
            Some(_) => Err(Problem::Twice { path }),
        }
    }

    /// Whether there is something at a path.
    pub(super) fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    /// How many files there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// What is at a path, links followed; `by` is what names it.
    fn find(&self, path: &str, by: &str) -> Result<&Found> {
        let mut at = path;
        for _link in 0..LINKS_MAX {
            match self.0.get(at) {
                Some(Found::Link(target)) => at = target,
                Some(found) => return Ok(found),
                None => {
                    return Err(Problem::Missing {
                        path: path.to_owned(),
                        by: by.to_owned(),
                    });
                }
            }
        }
        Err(Problem::Loop {
            path: path.to_owned(),
        })
    }

    /// The document at a path.
    pub(super) fn document(&self, path: &str, by: &str) -> Result<&Arc<[u8]>> {
        let why = match self.find(path, by)? {
            Found::Document(bytes) => return Ok(bytes),
            Found::Unusable(why) => why.clone(),
            Found::Layer(_) | Found::Link(_) => "it is a layer and no document".to_owned(),
        };
        Err(Problem::Unusable {
            path: path.to_owned(),
            why,
        })
    }

    /// The layer at a path.
    pub(super) fn layer(&self, path: &str, by: &str) -> Result<&LayerFact> {
        let why = match self.find(path, by)? {
            Found::Layer(fact) => return Ok(fact),
            Found::Unusable(why) => why.clone(),
            Found::Document(_) | Found::Link(_) => "it is no layer".to_owned(),
        };
        Err(Problem::Unusable {
            path: path.to_owned(),
            why,
        })
    }

    /// The document that a descriptor names.
    pub(super) fn described(&self, descriptor: &Descriptor, by: &str) -> Result<&Arc<[u8]>> {
        let path = blob_path(&descriptor.digest);
        let bytes = self.document(&path, by)?;
        verify(&path, &descriptor.digest, descriptor.size, bytes)?;
        Ok(bytes)
    }

    /// The layer that a descriptor names.
    pub(super) fn described_layer(&self, descriptor: &Descriptor, by: &str) -> Result<&LayerFact> {
        let path = blob_path(&descriptor.digest);
        let fact = self.layer(&path, by)?;
        if fact.blob.digest != descriptor.digest {
            return Err(Problem::WrongDigest {
                path,
                got: fact.blob.digest.clone(),
            });
        }
        if fact.blob.bytes != descriptor.size {
            return Err(Problem::WrongSize {
                path,
                want: descriptor.size,
                got: fact.blob.bytes,
            });
        }
        Ok(fact)
    }
}

fn verify(path: &str, want: &Digest, size: u64, bytes: &[u8]) -> Result<()> {
    let got = want.algorithm().digest(bytes);
    if got != *want {
        return Err(Problem::WrongDigest {
            path: path.to_owned(),
            got,
        });
    }
    if bytes.len() as u64 != size {
        return Err(Problem::WrongSize {
            path: path.to_owned(),
            want: size,
            got: bytes.len() as u64,
        });
    }
    Ok(())
}

/// The digest by which a path names its file, if it does: `blobs/sha256/<hex>`, and `<hex>.tar` and
/// `<hex>.json` as podman and Docker before 25 write them.
pub(super) fn named_digest(path: &str) -> Option<Digest> {
    if let Some(blob) = path.strip_prefix("blobs/") {
        return blob.replacen('/', ":", 1).parse().ok();
    }
    let (hex, _) = path.split_once('.')?;
    format!("{}:{hex}", Algorithm::Sha256.name()).parse().ok()
}
