//! A layer's tar as the blob that a registry would hold.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use lapstrake_oci::Digest;
use serde::{Deserialize, Serialize};

use super::cache::Cache;
use super::catalog::Compression;
use super::stage::{StagedLayer, tar_path};
use crate::error::{IoContext as _, Result};
use crate::files;
use crate::hashing::Hashing;

impl Compression {
    /// The layer media type of the OCI image specification.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
            Self::Plain => "application/vnd.oci.image.layer.v1.tar",
        }
    }
}

/// A blob in the layout.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Blob {
    pub(super) digest: Digest,
    pub(super) size: u64,
}

/// The blob of a layer, made unless it is there from an earlier image.
pub(super) fn blob_of(
    cache: &Cache,
    layer: &StagedLayer,
    compression: Compression,
) -> Result<Blob> {
    let blobs = super::layout::blobs(cache)?;
    let tar = tar_path(cache, &layer.diff_id);
    if compression == Compression::Plain {
        return link(&tar, layer, &blobs);
    }
    let note = cache
        .compressed()
        .join(format!("{}.{compression:?}.json", layer.diff_id.hex()));
    if let Some(blob) = files::read_json::<Blob>(&note)?
        && blob_path(&blobs, &blob.digest).is_file()
    {
        return Ok(blob);
    }
    let staged = tempfile::NamedTempFile::new_in(&blobs).io("create a file in", &blobs)?;
    let from = BufReader::with_capacity(1 << 20, File::open(&tar).io("open", &tar)?);
    let (digest, size) =
        squeeze(from, compression, BufWriter::new(staged.as_file())).io("compress", &tar)?;
    let path = blob_path(&blobs, &digest);
    staged
        .persist(&path)
        .map_err(|error| error.error)
        .io("write", &path)?;
    let blob = Blob { digest, size };
    files::write_json(&note, &blob)?;
    Ok(blob)
}

/// Where a blob is.
pub(super) fn blob_path(blobs: &Path, digest: &Digest) -> PathBuf {
    blobs.join(digest.hex())
}

fn link(tar: &Path, layer: &StagedLayer, blobs: &Path) -> Result<Blob> {
    let path = blob_path(blobs, &layer.diff_id);
    if !path.is_file() {
        fs::hard_link(tar, &path).io("link", &path)?;
    }
    Ok(Blob {
        digest: layer.diff_id.clone(),
        size: layer.size,
    })
}

fn squeeze(
    mut from: impl Read,
    compression: Compression,
    to: impl Write,
) -> io::Result<(Digest, u64)> {
    let mut to = Hashing::new(to);
    match compression {
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(to, flate2::Compression::new(6));
            io::copy(&mut from, &mut encoder)?;
            to = encoder.finish()?;
        }
        Compression::Zstd => {
            let mut encoder = zstd::Encoder::new(to, 3)?;
            io::copy(&mut from, &mut encoder)?;
            to = encoder.finish()?;
        }
        Compression::Plain => {
            io::copy(&mut from, &mut to)?;
        }
    }
    to.finish()
}
