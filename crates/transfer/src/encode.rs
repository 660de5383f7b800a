//! Layers compressed, always to the same bytes.
//!
//! ```text
//! tar    | 1 MiB    | 1 MiB    | … | rest   |       members of what is read
//!           │ thread 1 │ thread 2     │
//! blob   | member   | member   | … | member |       gzip members (RFC 1952), or zstd frames (RFC 8878)
//! ```
//!
//! What it keeps true: the same tar, encoding and [`VERSION`] give the same blob, on any number of threads.
//! So a blob that was pushed can be made again ([`Encoding::name`] is what to remember of it), and a layer
//! that is pushed twice has one digest. Every member can be read alone, so that a broken upload goes on
//! where it broke, and a reader may begin at any.
//!
//! Why libdeflate: at the same level and no larger, it needs two thirds of the time of zlib-rs. It compresses
//! only what is in memory whole, hence members.

pub(crate) mod member;
mod stream;

use std::fmt;

use lapstrake_oci::Compression;

pub use stream::{Encoder, Ends};

/// Of the bytes that encodings give: another version may give others. It changes with the libraries that
/// compress, if their bytes do; a test knows when.
pub const VERSION: u32 = 1;

/// How a layer's tar becomes a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    compression: Compression,
    level: u8,
}

/// A level that a compression does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} has no level {level}: give one of {least} to {most}", compression.name())]
pub struct LevelError {
    compression: Compression,
    level: u8,
    least: u8,
    most: u8,
}

impl Encoding {
    /// What Docker does: gzip, at zlib's usual level.
    pub const DOCKER: Self = Self {
        compression: Compression::Gzip,
        level: 6,
    };

    /// A compression at a level, or at its usual one.
    ///
    /// # Errors
    /// If it has no such level.
    pub fn new(compression: Compression, level: Option<u8>) -> Result<Self, LevelError> {
        let (least, usual, most) = match compression {
            Compression::None => (0, 0, 0),
            Compression::Gzip => (1, 6, 12),
            // More need more memory to be read than readers give.
            Compression::Zstd => (1, 3, 19),
        };
        let level = level.unwrap_or(usual);
        if !(least..=most).contains(&level) {
            return Err(LevelError {
                compression,
                level,
                least,
                most,
            });
        }
        Ok(Self { compression, level })
    }

    /// The encodings that somebody may have used, the usual one first: not zstd's levels above 9, which take
    /// long to try.
    pub(crate) fn likely(compression: Compression) -> impl Iterator<Item = Self> {
        let most = if compression == Compression::Zstd {
            9
        } else {
            12
        };
        let usual = Self::new(compression, None).ok();
        let others = (0..=most).filter_map(move |level| Self::new(compression, Some(level)).ok());
        usual
            .into_iter()
            .chain(others.filter(move |other| Some(*other) != usual))
    }

    /// How it compresses.
    pub fn compression(self) -> Compression {
        self.compression
    }

    /// What to remember to make the same bytes again: with [`Encoding::parse`] it is an encoding.
    pub fn name(self) -> String {
        self.to_string()
    }

    /// The encoding that has this name; `None` if this version makes other bytes, or it is none.
    pub fn parse(name: &str) -> Option<Self> {
        let (compression, rest) = name.split_once("-members-")?;
        let (version, level) = rest.split_once('/')?;
        let compression = match compression {
            "gzip" => Compression::Gzip,
            "zstd" => Compression::Zstd,
            "uncompressed" => Compression::None,
            _ => return None,
        };
        let is_ours = version.parse() == Ok(VERSION);
        let encoding = Self::new(compression, Some(level.parse().ok()?)).ok()?;
        (is_ours && encoding.name() == name).then_some(encoding)
    }

    /// About how long a blob will be, for who shows progress: most layers come out between a third and half.
    pub fn estimate(self, tar_len: u64) -> u64 {
        match self.compression {
            Compression::None => tar_len,
            Compression::Gzip | Compression::Zstd => tar_len / 5 * 2,
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.compression.name();
        write!(f, "{name}-members-{VERSION}/{}", self.level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_and_only_by_its_version() {
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let encoding = Encoding::new(compression, None).unwrap();
            assert_eq!(Encoding::parse(&encoding.name()), Some(encoding));
        }
        assert_eq!(Encoding::DOCKER.name(), "gzip-members-1/6");
        for other in [
            "gzip-members-2/6",
            "gzip-members-1/06",
            "gzip/6",
            "xz-members-1/6",
            "",
        ] {
            assert_eq!(Encoding::parse(other), None, "{other}");
        }
    }

    #[test]
    fn levels_have_bounds() {
        let error = Encoding::new(Compression::Zstd, Some(22)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "zstd has no level 22: give one of 1 to 19"
        );
        assert!(Encoding::new(Compression::Gzip, Some(0)).is_err());
        assert!(Encoding::new(Compression::None, Some(1)).is_err());
    }
}
