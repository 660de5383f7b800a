//! One member: bytes in memory, compressed so that they can be read alone.

use std::io;

use lapstrake_oci::Compression;
use libdeflater::{CompressionLvl, Compressor as Gzip};
use zstd::bulk::Compressor as Zstd;

use super::Encoding;

/// Bytes of tar in a member that is not the last. Part of what [`super::VERSION`] stands for.
pub(crate) fn tar_bytes(compression: Compression) -> usize {
    match compression {
        Compression::None | Compression::Gzip => 1 << 20,
        // The window of the usual level.
        Compression::Zstd => 2 << 20,
    }
}

/// Compresses members, one at a time.
pub(crate) enum Codec {
    Plain,
    Gzip(Gzip),
    Zstd(Zstd<'static>),
}

impl Codec {
    pub(crate) fn new(encoding: Encoding) -> io::Result<Self> {
        let level = i32::from(encoding.level);
        Ok(match encoding.compression {
            Compression::None => Self::Plain,
            Compression::Gzip => {
                let level = CompressionLvl::new(level).map_err(|error| {
                    io::Error::new(io::ErrorKind::InvalidInput, format!("{error:?}"))
                })?;
                Self::Gzip(Gzip::new(level))
            }
            Compression::Zstd => Self::Zstd(Zstd::new(level)?),
        })
    }

    /// Makes a member of `tar`, in the place of what `out` holds.
    pub(crate) fn encode(&mut self, tar: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let length = match self {
            Self::Plain => {
                out.clear();
                out.extend_from_slice(tar);
                return Ok(());
            }
            Self::Gzip(codec) => {
                out.resize(codec.gzip_compress_bound(tar.len()), 0);
                let made = codec.gzip_compress(tar, out);
                made.map_err(|error| io::Error::other(error.to_string()))?
            }
            Self::Zstd(codec) => {
                out.resize(zstd::zstd_safe::compress_bound(tar.len()), 0);
                codec.compress_to_buffer(tar, &mut out[..])?
            }
        };
        out.truncate(length);
        Ok(())
    }
}
