//! A document as it came, beside what was read from it.

use std::ops::Deref;
use std::sync::Arc;

use crate::{Algorithm, Digest, Error};

/// A parsed view beside the exact bytes it was read from. Dereferences to the view.
///
/// Digests are over the bytes, so these are what is stored and sent on; serialising the view again
/// would lose fields that are not known here.
#[derive(Debug, Clone)]
pub struct Parsed<T> {
    raw: Arc<[u8]>,
    value: T,
}

/// A document that can be read from JSON within bounds.
pub(crate) trait FromJson: Sized {
    fn from_json(raw: &[u8]) -> Result<Self, Error>;
}

impl<T> Parsed<T> {
    /// The exact bytes.
    pub fn raw(&self) -> &Arc<[u8]> {
        &self.raw
    }

    /// Their number.
    pub fn size(&self) -> u64 {
        self.raw.len() as u64
    }

    /// Their digest.
    pub fn digest(&self, algorithm: Algorithm) -> Digest {
        algorithm.digest(&self.raw)
    }

    /// The parsed view.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// Both parts.
    pub fn into_parts(self) -> (Arc<[u8]>, T) {
        (self.raw, self.value)
    }

    pub(crate) fn read(raw: Arc<[u8]>) -> Result<Self, Error>
    where
        T: FromJson,
    {
        let value = T::from_json(&raw)?;
        Ok(Self { raw, value })
    }
}

impl<T> Deref for Parsed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Reads JSON of at most `limit` bytes.
pub(crate) fn bounded<T: serde::de::DeserializeOwned>(
    what: &'static str,
    raw: &[u8],
    limit: usize,
) -> Result<T, Error> {
    if raw.len() > limit {
        return Err(Error::TooLarge {
            what,
            size: raw.len() as u64,
            limit: limit as u64,
        });
    }
    serde_json::from_slice(raw).map_err(|source| Error::Json { what, source })
}

/// Refuses more than `limit` things.
pub(crate) fn at_most(
    what: &'static str,
    things: &'static str,
    count: usize,
    limit: usize,
) -> Result<(), Error> {
    if count > limit {
        return Err(Error::TooMany {
            what,
            things,
            count,
            limit,
        });
    }
    Ok(())
}
