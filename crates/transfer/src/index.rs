//! A layer's index: made from its tree when the layer arrives, and again from its skeleton when the
//! one on disk is missing or is not what was recorded.

use std::fs::File;
use std::io::Write;

use lapstrake_erofs::{IndexOptions, write_index};
use lapstrake_oci::DiffId;
use lapstrake_store::{IndexStamp, LayerRecord, Store};
use lapstrake_tree::limits::Limits;
use lapstrake_tree::model::Tree;
use lapstrake_tree::rebuild::rebuild;
use lapstrake_tree::skeleton::Skeleton;

use crate::error::{Error, Result};

/// Writes the index of a layer.
pub(crate) fn write(store: &Store, id: &DiffId, tree: &Tree, data_len: u64) -> Result<IndexStamp> {
    let options = IndexOptions {
        uuid: uuid(id),
        data_len,
    };
    store.indexes.put(id, |mut out: &mut dyn Write| {
        write_index(tree, &options, &mut out).map_err(|source| Error::Index {
            id: id.clone(),
            source,
        })?;
        Ok(())
    })
}

/// The index's UUID: the first half of the diff id's hash, marked as version 8 of RFC 9562 (a
/// format of one's own), so that a layer is the same file system on every host.
fn uuid(id: &DiffId) -> [u8; 16] {
    let mut uuid = [0; 16];
    let hex = id.0.hex().as_bytes();
    let digit = |at: usize| {
        char::from(hex[at])
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    for (at, byte) in uuid.iter_mut().enumerate() {
        let nibbles = digit(2 * at)
            .zip(digit(2 * at + 1))
            .expect("a digest is hex, 64 digits or more");
        *byte = nibbles.0 << 4 | nibbles.1;
    }
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

/// Makes the index of a published layer again, from its skeleton.
///
/// # Errors
/// If the skeleton is damaged, or the store refuses.
pub fn remake(store: &Store, id: &DiffId) -> Result<IndexStamp> {
    let path = store.content.layer_files(id).skeleton;
    let unreadable = |source| Error::Unreadable {
        path: path.clone(),
        source,
    };
    let file = File::open(&path).map_err(unreadable)?;
    let skeleton = Skeleton::open(file)?;
    let tree = rebuild(&skeleton, Limits::DEFAULT)?;
    write(store, id, &tree, skeleton.summary().data_len)
}

/// Sees to it that a layer's index is what was recorded, making it again if it is not.
///
/// # Errors
/// As [`remake`].
pub fn ensure(store: &Store, layer: &LayerRecord) -> Result<IndexStamp> {
    if store.indexes.is_intact(&layer.diff_id, &layer.index)? {
        return Ok(layer.index.clone());
    }
    let index = remake(store, &layer.diff_id)?;
    if index != layer.index {
        // An index made by another version of this program: as good, but its stamp is another.
        let layer = LayerRecord {
            index: index.clone(),
            ..layer.clone()
        };
        store.state().add_layer(&layer, None)?;
    }
    Ok(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_comes_from_the_diff_id_and_is_marked_as_ours() {
        let id = DiffId(format!("sha256:{}", "ff".repeat(32)).parse().unwrap());
        let mut want = [0xff; 16];
        want[6] = 0x8f;
        want[8] = 0xbf;
        assert_eq!(uuid(&id), want);
    }
}
