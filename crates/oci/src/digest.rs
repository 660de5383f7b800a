//! Digests: content named by its hash, as in the OCI image specification, "Digests".
//!
//! A [`Digest`] exists only if it was parsed or computed, so holding one proves its form.

use std::fmt;
use std::str::FromStr;

use sha2::Digest as _;
use sha2::digest::common::hazmat::SerializableState;

/// A hash that may name content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256, 64 hex digits.
    Sha256,
    /// SHA-512, 128 hex digits.
    Sha512,
}

impl Algorithm {
    /// As written before the colon.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Length of the hex part.
    pub fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }

    /// Starts hashing.
    pub fn hasher(self) -> Hasher {
        match self {
            Self::Sha256 => Hasher::Sha256(sha2::Sha256::new()),
            Self::Sha512 => Hasher::Sha512(sha2::Sha512::new()),
        }
    }

    /// Goes on from a [`Hasher::state`]; `None` if that is none of this algorithm's.
    pub fn hasher_at(self, state: &[u8]) -> Option<Hasher> {
        match self {
            Self::Sha256 => {
                let hasher = sha2::Sha256::deserialize(state.try_into().ok()?);
                hasher.ok().map(Hasher::Sha256)
            }
            Self::Sha512 => {
                let hasher = sha2::Sha512::deserialize(state.try_into().ok()?);
                hasher.ok().map(Hasher::Sha512)
            }
        }
    }

    /// Hashes bytes at hand.
    pub fn digest(self, bytes: &[u8]) -> Digest {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        hasher.finish()
    }
}

/// A hash under way.
#[derive(Debug, Clone)]
pub enum Hasher {
    /// SHA-256.
    Sha256(sha2::Sha256),
    /// SHA-512.
    Sha512(sha2::Sha512),
}

impl Hasher {
    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// Where the hash is, to go on later from [`Algorithm::hasher_at`].
    pub fn state(&self) -> Vec<u8> {
        match self {
            Self::Sha256(hasher) => hasher.serialize().to_vec(),
            Self::Sha512(hasher) => hasher.serialize().to_vec(),
        }
    }

    /// The digest of all bytes taken in.
    pub fn finish(self) -> Digest {
        match self {
            Self::Sha256(hasher) => Digest::from_raw(Algorithm::Sha256, &hasher.finalize()),
            Self::Sha512(hasher) => Digest::from_raw(Algorithm::Sha512, &hasher.finalize()),
        }
    }
}

/// The name of some bytes: an algorithm and the hash in lower-case hex.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    hex: Box<str>,
}

impl Digest {
    fn from_raw(algorithm: Algorithm, raw: &[u8]) -> Self {
        use fmt::Write as _;
        let mut hex = String::with_capacity(raw.len() * 2);
        for byte in raw {
            write!(hex, "{byte:02x}").expect("a String takes any text");
        }
        Self {
            algorithm,
            hex: hex.into(),
        }
    }

    /// The hash used.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hash in lower-case hex.
    pub fn hex(&self) -> &str {
        &self.hex
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// No colon, or nothing on a side of it.
    #[error("{0:?} is not a digest: expected ALGORITHM:HEX, such as sha256:<64 hex digits>")]
    Form(String),
    /// An algorithm that names no content here.
    #[error("digest algorithm {0:?} is not supported: use sha256 or sha512")]
    Algorithm(String),
    /// Wrong length, or characters other than lower-case hex digits.
    #[error("{0:?} is not a digest: the hash must be {1} lower-case hex digits")]
    Hex(String, usize),
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (name, hex) = text
            .split_once(':')
            .ok_or_else(|| DigestError::Form(text.to_owned()))?;
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            "" => return Err(DigestError::Form(text.to_owned())),
            other => return Err(DigestError::Algorithm(other.to_owned())),
        };
        let is_hex = hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if hex.len() != algorithm.hex_len() || !is_hex {
            return Err(DigestError::Hex(text.to_owned(), algorithm.hex_len()));
        }
        Ok(Self {
            algorithm,
            hex: hex.into(),
        })
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The digest of a layer's uncompressed tar: what names a layer here.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct DiffId(pub Digest);

impl fmt::Display for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_digest_reads_back_as_written() {
        for text in [format!("sha256:{EMPTY}"), format!("sha512:{EMPTY}{EMPTY}")] {
            let digest: Digest = text.parse().unwrap();
            assert_eq!(digest.to_string(), text);
            let json = serde_json::to_string(&digest).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
        }
    }

    #[test]
    fn bytes_hash_alike_whole_and_in_parts() {
        assert_eq!(Algorithm::Sha256.digest(b"").hex(), EMPTY);
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let mut hasher = algorithm.hasher();
            hasher.update(b"ab");
            hasher.update(b"c");
            assert_eq!(hasher.finish(), algorithm.digest(b"abc"));
        }
    }

    #[test]
    fn a_hash_goes_on_from_its_state_and_from_nothing_else() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let mut hasher = algorithm.hasher();
            hasher.update(&[7; 1000]);
            let mut later = algorithm.hasher_at(&hasher.state()).unwrap();
            later.update(b"more");
            hasher.update(b"more");
            assert_eq!(later.finish(), hasher.finish());
            assert!(algorithm.hasher_at(b"state").is_none());
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let form = |text: &str| DigestError::Form(text.to_owned());
        let hex = |text: &str, len| DigestError::Hex(text.to_owned(), len);
        for (text, expected) in [
            ("", form("")),
            (EMPTY, form(EMPTY)),
            (":abc", form(":abc")),
            ("md5:abc", DigestError::Algorithm("md5".to_owned())),
            ("SHA256:abc", DigestError::Algorithm("SHA256".to_owned())),
            ("sha256:", hex("sha256:", 64)),
            (
                &format!("sha256:{EMPTY}0"),
                hex(&format!("sha256:{EMPTY}0"), 64),
            ),
            (
                &format!("sha512:{EMPTY}"),
                hex(&format!("sha512:{EMPTY}"), 128),
            ),
            (
                &format!("sha256:{}", EMPTY.to_uppercase()),
                hex(&format!("sha256:{}", EMPTY.to_uppercase()), 64),
            ),
        ] {
            assert_eq!(text.parse::<Digest>(), Err(expected));
        }
    }
}
