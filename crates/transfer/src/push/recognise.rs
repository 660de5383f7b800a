//! Blobs that this program made, told from what is known of them: nothing has to be kept to make them again.
//!
//! A blob of ours is members of a fixed length of tar, and the span table of a pulled layer says where in
//! the blob each member starts. An encoding that gives the first ones these lengths is taken for the one. Who makes
//! the blob of it compares the digest, so that a coincidence costs time and no more.

use std::fs::File;
use std::path::Path;

use lapstrake_fill::spans::{SpanTable, Start};
use lapstrake_oci::{Compression, Descriptor};
use lapstrake_store::LayerFiles;
use lapstrake_tree::view::TarView;

use crate::encode::Encoding;
use crate::encode::member::{Codec, tar_bytes};

/// Members that are tried: of one another encoding may make as many bytes by chance, hardly of so many.
const TRIED: usize = 3;

/// How this program made the blob of a layer; `None` if it did not, or that can't be told.
pub(super) fn encoding_of(files: &LayerFiles, blob: &Descriptor) -> Option<Encoding> {
    // A table that can't be read tells nothing; to say so is for a check.
    let table = SpanTable::from_bytes(&std::fs::read(&files.spans).ok()?).ok()?;
    if table.blob().digest != blob.digest || table.blob().compression == Compression::None {
        return None;
    }
    let compression = table.blob().compression;
    let lengths = member_lengths(&table, tar_bytes(compression))?;
    let open = |path: &Path| File::open(path).ok();
    let tar = TarView::new(open(&files.skeleton)?, open(&files.data)?).ok()?;
    let mut at = 0;
    let mut members = Vec::new();
    for (length, made) in lengths {
        let mut part = vec![0; length];
        let read = tar.read_at(at, &mut part).ok()?;
        if read < length {
            return None;
        }
        at += length as u64;
        members.push((part, made));
    }
    Encoding::likely(compression).find(|encoding| makes(*encoding, &members, blob))
}

/// Whether an encoding makes members of these lengths; if there is but one, the very blob.
fn makes(encoding: Encoding, members: &[(Vec<u8>, u64)], blob: &Descriptor) -> bool {
    let Ok(mut codec) = Codec::new(encoding) else {
        return false;
    };
    let mut made = Vec::new();
    let lengths_fit = members.iter().all(|(part, length)| {
        codec.encode(part, &mut made).is_ok() && made.len() as u64 == *length
    });
    let is_all = made.len() as u64 == blob.size;
    lengths_fit && (!is_all || blob.digest.algorithm().digest(&made) == blob.digest)
}

/// How much of the tar and of the blob the first members are; `None` if there are no members of this length.
fn member_lengths(table: &SpanTable, member: usize) -> Option<Vec<(usize, u64)>> {
    let mut lengths = Vec::new();
    let mut from = (0, 0);
    while lengths.len() < TRIED && from.0 < table.tar_bytes() {
        let end = from.0 + member as u64;
        let to = if end < table.tar_bytes() {
            let at = table
                .spans()
                .binary_search_by_key(&end, |span| span.tar_offset);
            match table.spans()[at.ok()?].start {
                Start::At { byte } => (end, byte),
                Start::Deflate { .. } | Start::Continue => return None,
            }
        } else {
            (table.tar_bytes(), table.blob().bytes)
        };
        let tar = usize::try_from(to.0 - from.0).ok()?;
        lengths.push((tar, to.1.checked_sub(from.1)?));
        from = to;
    }
    Some(lengths)
}
