//! Directories as blocks.
//!
//! A directory is a run of blocks, each complete in itself: 12-byte records (inode number, offset of
//! the name, type) and behind them the names. `.` and `..` are entries like any other, so the order
//! is that of all names' bytes: `!x` comes before `.`.

use lapstrake_tree::model::{NodeId, Tree};

use crate::disk::{BLOCK_LEN, DIRENT_LEN, NAME_MAX, get_u16, get_u64};

/// An entry on its way to disk.
pub(crate) type Entry<'t> = (&'t [u8], NodeId);

/// All entries of a directory in disk order, with `.` and `..`.
pub(crate) fn entries(tree: &Tree, id: NodeId, parent: NodeId) -> Vec<Entry<'_>> {
    let mut entries: Vec<Entry<'_>> = tree.children(id).collect();
    for dots in [(&b"."[..], id), (&b".."[..], parent)] {
        let at = entries.partition_point(|(name, _)| *name < dots.0);
        entries.insert(at, dots);
    }
    entries
}

/// Whether the kernel takes this for the name of a file.
pub(crate) fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..")
        && name.len() <= NAME_MAX
        && !name.iter().any(|byte| matches!(byte, b'/' | 0))
}

/// Cuts entries into what goes in each block.
pub(crate) fn blocks<'e, 't>(
    mut rest: &'e [Entry<'t>],
) -> impl Iterator<Item = &'e [Entry<'t>]> + use<'e, 't> {
    std::iter::from_fn(move || {
        let mut used = 0;
        let fitting = rest
            .iter()
            .take_while(|(name, _)| {
                used += DIRENT_LEN + name.len();
                used <= BLOCK_LEN
            })
            .count();
        let (block, later) = rest.split_at(fitting);
        rest = later;
        (!block.is_empty()).then_some(block)
    })
}

/// Bytes of a block's entries, without the padding.
pub(crate) fn used(block: &[Entry<'_>]) -> usize {
    block.iter().map(|(name, _)| DIRENT_LEN + name.len()).sum()
}

/// Appends the entries of one block, without the padding. `target` gives number and type.
pub(crate) fn encode(block: &[Entry<'_>], target: impl Fn(NodeId) -> (u64, u8), out: &mut Vec<u8>) {
    let mut name_at = block.len() * DIRENT_LEN;
    for (name, id) in block {
        let (nid, kind) = target(*id);
        out.extend(nid.to_le_bytes());
        out.extend(
            u16::try_from(name_at)
                .expect("a block has 4096 bytes")
                .to_le_bytes(),
        );
        out.extend([kind, 0]);
        name_at += name.len();
    }
    for (name, _) in block {
        out.extend_from_slice(name);
    }
}

/// An entry as read: name, inode number, type.
pub(crate) type Found<'b> = (&'b [u8], u64, u8);

/// Reads the entries of one block. Nothing if it is not one that [`encode`] writes.
pub(crate) fn decode(block: &[u8]) -> Option<Vec<Found<'_>>> {
    let header = block.get(..DIRENT_LEN)?;
    let names_at = usize::from(get_u16(header, 8));
    let count = names_at / DIRENT_LEN;
    if count == 0 || names_at % DIRENT_LEN != 0 || names_at > block.len() {
        return None;
    }
    let records: Vec<&[u8]> = block[..names_at].chunks_exact(DIRENT_LEN).collect();
    let start = |index: usize| {
        records
            .get(index)
            .map(|record| usize::from(get_u16(record, 8)))
    };
    let mut found = Vec::with_capacity(count);
    for (index, record) in records.iter().enumerate() {
        let from = start(index)?;
        let name = match start(index + 1) {
            Some(to) => block.get(from..to)?,
            None => {
                let tail = block.get(from..)?;
                let end = tail
                    .iter()
                    .position(|byte| *byte == 0)
                    .unwrap_or(tail.len());
                if tail[end..].iter().any(|byte| *byte != 0) {
                    return None;
                }
                &tail[..end]
            }
        };
        if record[11] != 0 {
            return None;
        }
        found.push((name, get_u64(record, 0), record[10]));
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use lapstrake_tree::model::{Metadata, Timestamp};

    use super::*;

    #[test]
    fn dots_are_sorted_with_the_rest() {
        let metadata = Metadata {
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: Timestamp {
                seconds: 0,
                nanoseconds: 0,
            },
            xattrs: [].into(),
        };
        let mut tree = Tree::new(metadata);
        for name in ["!", "-a", "...", "a", ".-", "..a"] {
            tree.link(NodeId::ROOT, name.as_bytes(), NodeId::ROOT);
        }
        let names: Vec<_> = entries(&tree, NodeId::ROOT, NodeId::ROOT)
            .into_iter()
            .map(|(name, _)| String::from_utf8_lossy(name).into_owned())
            .collect();
        assert_eq!(names, ["!", "-a", ".", ".-", "..", "...", "..a", "a"]);
    }

    #[test]
    fn a_full_block_is_cut_where_the_next_entry_would_not_fit() {
        let long = [b'x'; 255];
        let list = vec![(&long[..], NodeId::ROOT); 16];
        let sizes: Vec<_> = blocks(&list).map(<[_]>::len).collect();
        assert_eq!(sizes, [15, 1]);
        assert_eq!(used(&list[..15]), 15 * 267);
    }
}
