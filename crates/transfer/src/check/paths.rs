//! From damaged ranges of `data` to the files that have them.

use std::ops::Range;

use lapstrake_erofs::read_index;
use lapstrake_store::{IndexStamp, Store};
use lapstrake_tree::limits::Limits;
use lapstrake_tree::model::{BLOCK, Content, FileData, NodeId, Tree};
use lapstrake_tree::rebuild::rebuild;
use lapstrake_tree::skeleton::{Map, Skeleton};

use super::examine::{Damage, Examined, data_of_spans};

/// Which files of a layer damage is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DamagedFiles {
    /// In these and no others.
    These(Vec<String>),
    /// In any of these: what would tell is damaged too.
    AnyOf(Vec<String>),
    /// Not even the names are known any more.
    Unknown,
}

/// Which files of a layer the damage is in. The layer's index, if it is the recorded one, still has the
/// names when the skeleton doesn't.
pub fn damaged_files(
    store: &Store,
    examined: &Examined,
    index: Option<&IndexStamp>,
) -> DamagedFiles {
    let from_skeleton = || {
        let skeleton = Skeleton::open(examined.skeleton.as_deref()?).ok()?;
        let tree = rebuild(&skeleton, Limits::DEFAULT).ok()?;
        Some((tree, Map::read(&skeleton).ok()?))
    };
    match (from_skeleton(), &examined.damage) {
        (Some(_), Damage::None) => DamagedFiles::These(Vec::new()),
        (Some((tree, map)), Damage::Spans { spans, between }) => {
            let table = examined.spans.as_ref();
            let mut ranges = table.map_or_else(Vec::new, |table| data_of_spans(table, &map, spans));
            // What follows a file in its last block is that file's damage.
            ranges.extend(between.iter().map(|gap| gap.start / BLOCK * BLOCK..gap.end));
            ranges.sort_by_key(|range| range.start);
            DamagedFiles::These(files_in(&tree, &ranges))
        }
        (Some((tree, _)), Damage::Unknown) => DamagedFiles::AnyOf(all_files(&tree)),
        (None, _) => from_index(store, examined, index).map_or(DamagedFiles::Unknown, |tree| {
            DamagedFiles::AnyOf(all_files(&tree))
        }),
    }
}

fn from_index(store: &Store, examined: &Examined, stamp: Option<&IndexStamp>) -> Option<Tree> {
    let is_intact = store.indexes.is_intact(&examined.id, stamp?).ok()?;
    let bytes = is_intact.then(|| std::fs::read(store.indexes.path(&examined.id)))?;
    Some(read_index(&bytes.ok()?).ok()?.tree)
}

/// The files of a tree that have bytes in these ranges of `data`, by path. The ranges begin in order.
/// A file of several names is there under each.
fn files_in(tree: &Tree, ranges: &[Range<u64>]) -> Vec<String> {
    let is_hit = |start: u64, length: u64| {
        let end = start.saturating_add(length);
        let before = ranges.partition_point(|range| range.start < end);
        ranges[..before].iter().rev().any(|range| range.end > start)
    };
    files(tree, |size, data| match data {
        FileData::Contiguous { data_offset } => is_hit(*data_offset, size),
        FileData::Sparse { extents, .. } => extents
            .iter()
            .any(|extent| is_hit(extent.data_offset, extent.length)),
    })
}

/// Every file of a tree that has contents, by path.
fn all_files(tree: &Tree) -> Vec<String> {
    files(tree, |size, _| size > 0)
}

fn files(tree: &Tree, is_wanted: impl Fn(u64, &FileData) -> bool) -> Vec<String> {
    let mut paths = Vec::new();
    // No recursion: a tar may be as deep as its names are long.
    let mut todo = vec![(NodeId::ROOT, String::new())];
    while let Some((directory, path)) = todo.pop() {
        for (name, id) in tree.children(directory) {
            let path = format!("{path}/{}", String::from_utf8_lossy(name));
            match &tree.node(id).content {
                Content::Directory(_) => todo.push((id, path)),
                Content::File { size, data } if is_wanted(*size, data) => paths.push(path),
                _ => {}
            }
        }
    }
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use lapstrake_testkit::tar;
    use lapstrake_tree::limits::Limits;
    use lapstrake_tree::split::Splitter;

    use super::*;

    #[test]
    fn ranges_lead_to_the_files_that_touch_them() {
        let tar = tar::Tar::default()
            .file("a", 0o644, &[1; 5000])
            .file("dir/b", 0o644, &[2; 10])
            .file("none", 0o644, b"")
            .finish();
        let (mut splitter, mut data) = (Splitter::new(Limits::DEFAULT), Vec::new());
        splitter.feed(&tar, &mut data).unwrap();
        let tree = splitter.finish(&mut data).unwrap().tree;
        let check = |range: Range<u64>, expected: &[&str]| {
            assert_eq!(files_in(&tree, &[range]), expected);
        };
        check(0..1, &["/a"]);
        check(4999..5000, &["/a"]);
        check(8192..8193, &["/dir/b"]);
        check(0..9000, &["/a", "/dir/b"]);
        check(8202..8300, &[]);
        assert_eq!(files_in(&tree, &[]), [""; 0]);
        assert_eq!(all_files(&tree), ["/a", "/dir/b"]);
    }
}
