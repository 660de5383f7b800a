//! A tree as lines of text.

use std::collections::HashMap;

use lapstrake_tree::model::{Content, FileData, NodeId, Tree};

/// One line for each name, in order: kind, path, and what is not ordinary about it.
pub fn describe(tree: &Tree, data: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut first_names = HashMap::new();
    let mut pending = vec![(NodeId::ROOT, String::from("."))];
    while let Some((id, path)) = pending.pop() {
        if let Some(first) = first_names.get(&id) {
            lines.push(format!("h {path} = {first}"));
            continue;
        }
        first_names.insert(id, path.clone());
        lines.push(line(tree, data, id, &path));
        let mut children: Vec<_> = tree.children(id).collect();
        children.reverse();
        let below = |name: &[u8]| match path.as_str() {
            "." => name.escape_ascii().to_string(),
            _ => format!("{path}/{}", name.escape_ascii()),
        };
        pending.extend(
            children
                .into_iter()
                .map(|(name, child)| (child, below(name))),
        );
    }
    lines
}

fn line(tree: &Tree, data: &[u8], id: NodeId, path: &str) -> String {
    let node = tree.node(id);
    let metadata = &node.metadata;
    let what = match &node.content {
        Content::Directory(_) => format!("d {path} {:o}", metadata.mode),
        Content::File { .. } => {
            format!("f {path} {}", contents(tree, data, id).escape_ascii())
        }
        Content::Symlink(target) => format!("l {path} -> {}", target.escape_ascii()),
        Content::CharDevice(device) => format!("c {path} {}:{}", device.major, device.minor),
        Content::BlockDevice(device) => format!("b {path} {}:{}", device.major, device.minor),
        Content::Fifo => format!("p {path}"),
    };
    let xattrs = metadata.xattrs.iter();
    xattrs.fold(what, |line, (name, value)| {
        format!("{line} {}={}", name.escape_ascii(), value.escape_ascii())
    })
}

/// What a reader of the file gets.
pub fn contents(tree: &Tree, data: &[u8], id: NodeId) -> Vec<u8> {
    let Content::File { size, data: place } = &tree.node(id).content else {
        return Vec::new();
    };
    let at = |offset: u64| usize::try_from(offset).unwrap();
    let mut contents = vec![0; at(*size)];
    match place {
        FileData::Contiguous { .. } if *size == 0 => {}
        FileData::Contiguous { data_offset } => {
            assert_eq!(data_offset % 4096, 0);
            contents.copy_from_slice(&data[at(*data_offset)..][..at(*size)]);
        }
        FileData::Sparse {
            chunk_bits,
            extents,
        } => {
            let mut end = 0;
            for extent in extents {
                assert!(extent.file_offset >= end && extent.length > 0);
                assert_eq!(extent.file_offset % (1 << chunk_bits), 0);
                assert_eq!(extent.data_offset % 4096, 0);
                end = extent.file_offset + extent.length;
                assert!(end % (1 << chunk_bits) == 0 || end == *size);
                contents[at(extent.file_offset)..at(end)]
                    .copy_from_slice(&data[at(extent.data_offset)..][..at(extent.length)]);
            }
        }
    }
    contents
}
