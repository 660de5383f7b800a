//! Tars of our own: split, viewed and rebuilt.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::io::Read;

use lapstrake_tree::{
    error::Error,
    limits::Limits,
    model::{Content, NodeId, Tree},
    rebuild::rebuild,
    skeleton::{Map, Skeleton},
    split::{SplitLayer, Splitter},
    view::TarView,
};

fn split(tar: &[u8], step: usize) -> Result<(SplitLayer, Vec<u8>), Error> {
    let mut data = Vec::new();
    let mut splitter = Splitter::new(Limits::DEFAULT);
    for chunk in tar.chunks(step.max(1)) {
        splitter.feed(chunk, &mut data)?;
    }
    let layer = splitter.finish(&mut data)?;
    Ok((layer, data))
}

/// Splits a tar and checks what holds for every tar.
fn check(tar: &[u8]) -> (Tree, Vec<u8>) {
    let (layer, data) = split(tar, usize::MAX).unwrap();
    assert_eq!(layer.tar_len, tar.len() as u64);
    assert_eq!(layer.data_len, data.len() as u64);

    let mut again = Vec::new();
    let mut view = TarView::new(&layer.skeleton[..], &data[..]).unwrap();
    view.read_to_end(&mut again).unwrap();
    assert!(again == tar, "the view differs");

    let skeleton = Skeleton::open(&layer.skeleton[..]).unwrap();
    skeleton.check().unwrap();
    assert_eq!(rebuild(&skeleton, Limits::DEFAULT).unwrap(), layer.tree);

    let map = Map::read(&skeleton).unwrap();
    for piece in map.pieces() {
        let at = |offset: u64| usize::try_from(offset).unwrap();
        let (from, to) = (at(piece.tar_offset), at(piece.data_offset));
        assert_eq!(
            tar[from..][..at(piece.length)],
            data[to..][..at(piece.length)]
        );
    }

    for step in [1, 7, 511, 513, 4096] {
        let (parts, parts_data) = split(tar, step).unwrap();
        assert_eq!(parts.tree, layer.tree);
        assert_eq!(parts.skeleton, layer.skeleton);
        assert_eq!(parts_data, data);
    }
    (layer.tree, data)
}

#[test]
fn an_empty_input_is_an_empty_layer() {
    check(&[]);
    check(&[0; 1024]);
}

#[test]
fn a_small_layer() {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, contents) in [("a", "hello"), ("d/b", ""), ("d/c", "world")] {
        let mut header = tar::Header::new_gnu();
        header.set_size(contents.len() as u64);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, name, contents.as_bytes())
            .unwrap();
    }
    let (tree, data) = check(&builder.into_inner().unwrap());
    assert_eq!(tree.child(NodeId::ROOT, b"x"), None);
    let directory = tree.child(NodeId::ROOT, b"d").unwrap();
    let file = tree.child(directory, b"c").unwrap();
    assert!(matches!(
        tree.node(file).content,
        Content::File { size: 5, .. }
    ));
    assert_eq!(&data[4096..4101], b"world");
}
