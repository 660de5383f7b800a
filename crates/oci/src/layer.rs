//! What a layer's media type says about its bytes.

use crate::media_type::essence;

/// How a layer's tar is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// The blob is the tar.
    None,
    /// RFC 1952, possibly several members.
    Gzip,
    /// RFC 8878, possibly several frames.
    Zstd,
}

impl Compression {
    /// As said in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// How many bytes [`Self::detect`] needs to see, unless the blob is shorter.
    pub const MAGIC: usize = 4;

    /// What the first bytes of a blob say. Some builders write
    /// a media type that does not fit the blob, and Docker and containerd go by the bytes; the diff
    /// id is the judge in the end.
    pub fn detect(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A zstd stream may begin with a skippable frame, as zstd:chunked does not but others do.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }
}

/// Who may hand a layer on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Distribution {
    /// Anyone: the registry holds it.
    Free,
    /// Only its publisher, from the descriptor's URLs (Docker: foreign layers). A push skips it.
    Foreign,
}

/// What a layer's media type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LayerType {
    /// How the tar is compressed.
    pub compression: Compression,
    /// Who may hand it on.
    pub distribution: Distribution,
}

impl LayerType {
    /// Reads a media type; `None` if it is not that of a tar layer.
    pub fn of(media_type: &str) -> Option<Self> {
        use Compression::{Gzip, None as Plain, Zstd};
        use Distribution::{Foreign, Free};
        let (compression, distribution) = match essence(media_type).as_str() {
            "application/vnd.oci.image.layer.v1.tar"
            | "application/vnd.docker.image.rootfs.diff.tar" => (Plain, Free),
            "application/vnd.oci.image.layer.v1.tar+gzip"
            | "application/vnd.docker.image.rootfs.diff.tar.gzip" => (Gzip, Free),
            "application/vnd.oci.image.layer.v1.tar+zstd"
            | "application/vnd.docker.image.rootfs.diff.tar.zstd" => (Zstd, Free),
            "application/vnd.oci.image.layer.nondistributable.v1.tar"
            | "application/vnd.docker.image.rootfs.foreign.diff.tar" => (Plain, Foreign),
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
            | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" => (Gzip, Foreign),
            "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"
            | "application/vnd.docker.image.rootfs.foreign.diff.tar.zstd" => (Zstd, Foreign),
            _ => return None,
        };
        Some(Self {
            compression,
            distribution,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media_type;

    fn check(media_type: &str, expected: Option<(Compression, Distribution)>) {
        let read = LayerType::of(media_type).map(|t| (t.compression, t.distribution));
        assert_eq!(read, expected, "{media_type}");
    }

    #[test]
    fn media_types_name_compression_and_distribution() {
        use Compression::{Gzip, None as Plain, Zstd};
        use Distribution::{Foreign, Free};
        check(media_type::OCI_LAYER, Some((Plain, Free)));
        check(media_type::OCI_LAYER_GZIP, Some((Gzip, Free)));
        check(media_type::OCI_LAYER_ZSTD, Some((Zstd, Free)));
        check(media_type::DOCKER_LAYER, Some((Plain, Free)));
        check(media_type::DOCKER_LAYER_GZIP, Some((Gzip, Free)));
        check(media_type::DOCKER_LAYER_ZSTD, Some((Zstd, Free)));
        check(
            "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
            Some((Zstd, Foreign)),
        );
        check(
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            Some((Gzip, Foreign)),
        );
        check(
            "Application/vnd.OCI.image.layer.v1.tar+gzip; x=y",
            Some((Gzip, Free)),
        );
        check(
            "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
            None,
        );
        check("application/vnd.in-toto+json", None);
        check("", None);
    }

    #[test]
    fn first_bytes_name_the_compression() {
        for (start, expected) in [
            (&[][..], Compression::None),
            (b"etc/passwd\0\0", Compression::None),
            (&[0x1f, 0x8b, 0x08, 0x00], Compression::Gzip),
            // Of another method, or cut: gzip's decoder has the better words for it.
            (&[0x1f, 0x8b], Compression::Gzip),
            (&[0x1f], Compression::None),
            (&[0x28, 0xb5, 0x2f, 0xfd, 0x04], Compression::Zstd),
            (&[0x50, 0x2a, 0x4d, 0x18, 0x04], Compression::Zstd),
        ] {
            assert_eq!(Compression::detect(start), expected, "{start:02x?}");
        }
    }
}
