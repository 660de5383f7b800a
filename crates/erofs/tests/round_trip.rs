//! What was written reads back as it was, and damage is seen.

mod common;

use common::{check_round_trip, directory, empty_tree, file, metadata, put, symlink, write};
use lapstrake_erofs::{Class, Error, read_index};
use lapstrake_tree::model::{
    Content, Device, Extent, FileData, Metadata, Node, NodeId, Timestamp, Tree,
};
use proptest::prelude::*;

const DATA: u64 = 1 << 30;

#[test]
fn an_empty_tree_is_one_block() {
    let bytes = check_round_trip(&empty_tree(), 0);
    assert_eq!(bytes.len(), 4096);
}

#[test]
fn the_first_bytes_are_what_they_are() {
    let mut tree = empty_tree();
    put(&mut tree, NodeId::ROOT, "hello", file(6, 4096));
    let bytes = check_round_trip(&tree, 8192);
    let words = |from: usize, len: usize| {
        let words = bytes[from..from + 4 * len].chunks(4);
        words
            .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
            .collect::<Vec<_>>()
    };
    // Magic, checksum, compatible features, block bits and root inode number.
    assert_eq!(words(1024, 4), [0xE0F5_E1E2, 0x058A_333A, 3, 40 << 16 | 12]);
    // Inodes; epoch; nanoseconds; blocks, inode area, attribute area.
    assert_eq!(words(1040, 8), [2, 0, 1_600_000_000, 0, 0, 1, 0, 0]);
    // Device of two blocks at block one.
    assert_eq!(words(1152 + 64, 2), [2, 1]);
    // The root: inline, 0755, two links, 3 * 12 + 8 bytes.
    assert_eq!(words(1280, 8), [4, 2 << 16 | 0o040_755, 44, 0, 0, 40, 0, 0]);
    // The file: plain, 0644, one link, 6 bytes in block two.
    assert_eq!(words(1376, 8), [0, 1 << 16 | 0o100_644, 6, 0, 2, 43, 0, 0]);
}

#[test]
fn directories_of_every_size() {
    for count in [1, 100, 250, 300, 5000, 100_000] {
        let mut tree = empty_tree();
        let parent = put(&mut tree, NodeId::ROOT, "d", directory());
        for index in 0..count {
            put(&mut tree, parent, &format!("entry-{index}"), file(0, 0));
        }
        check_round_trip(&tree, 0);
    }
}

#[test]
fn a_directory_of_exactly_one_block() {
    for spare in 0..=64 {
        let mut tree = empty_tree();
        // `.` and `..` take 27 bytes, each entry 12 more than its name.
        let mut left = 4096 - 27 - spare;
        while left > 0 {
            let name = if left < 200 { left - 12 } else { 100 };
            let at = format!("{left:0>name$}");
            put(&mut tree, NodeId::ROOT, &at, file(0, 0));
            left -= 12 + name;
        }
        check_round_trip(&tree, 0);
    }
}

#[test]
fn a_deep_tree_needs_no_stack() {
    let mut tree = empty_tree();
    let mut at = NodeId::ROOT;
    for _ in 0..100_000 {
        at = put(&mut tree, at, "d", directory());
    }
    check_round_trip(&tree, 0);
}

#[test]
fn links_of_every_length() {
    let mut tree = empty_tree();
    for len in [1, 100, 4000, 4031, 4032, 4063, 4064, 4065, 4094, 4095] {
        put(
            &mut tree,
            NodeId::ROOT,
            &format!("l{len}"),
            symlink(&vec![b'x'; len]),
        );
    }
    check_round_trip(&tree, 0);
}

#[test]
fn attributes_of_every_length() {
    let mut tree = empty_tree();
    for len in [0, 1, 3, 500, 511, 4000, 4096, 30_000, 65_535] {
        for copy in 0..3 {
            let mut node = file(0, 0);
            let mut add = |name: &str, byte| {
                node.metadata
                    .xattrs
                    .insert(name.as_bytes().into(), vec![byte; len].into())
            };
            add("user.same", b's');
            add(&format!("user.{copy}-{len}"), b'o');
            add("security.capability", copy);
            add("system.posix_acl_access", b'a');
            put(&mut tree, NodeId::ROOT, &format!("{len}-{copy}"), node);
        }
    }
    let mut many = directory();
    for index in 0..300 {
        let name = format!("user.{index}");
        many.metadata
            .xattrs
            .insert(name.as_bytes().into(), vec![b'v'; 600].into());
    }
    put(&mut tree, NodeId::ROOT, "many", many);
    check_round_trip(&tree, 0);
}

#[test]
fn foreign_attributes_are_left_out_and_reported() {
    let mut tree = empty_tree();
    let mut node = file(0, 0);
    node.metadata
        .xattrs
        .insert(b"com.apple.quarantine"[..].into(), b"q"[..].into());
    node.metadata
        .xattrs
        .insert(b"user.kept"[..].into(), b"k"[..].into());
    put(&mut tree, NodeId::ROOT, "f", node);
    let (_, written) = write(&tree, 0).unwrap();
    let dropped: Vec<_> = written
        .dropped
        .iter()
        .map(|d| (&*d.name, d.inodes))
        .collect();
    assert_eq!(dropped, [(&b"com.apple.quarantine"[..], 1)]);
    check_round_trip(&tree, 0);
}

#[test]
fn what_erofs_cannot_say_is_an_error_with_a_path() {
    let check = |node: Node, want: &str| {
        let mut tree = empty_tree();
        let parent = put(&mut tree, NodeId::ROOT, "d", directory());
        put(&mut tree, parent, "bad", node);
        let error = write(&tree, 8192).unwrap_err();
        assert_eq!(error.class(), Class::Unsupported);
        let text = error.to_string();
        assert!(
            text.starts_with("/d/bad: ") && text.contains(want),
            "{text}"
        );
    };
    let with = |change: &dyn Fn(&mut Metadata)| {
        let mut node = file(0, 0);
        change(&mut node.metadata);
        node
    };
    let attribute = |name: &str, len: usize| {
        with(&|m| drop(m.xattrs.insert(name.as_bytes().into(), vec![0; len].into())))
    };
    check(symlink(b""), "this has 0");
    check(symlink(&[b'x'; 4096]), "this has 4096");
    check(file(8193, 0), "not blocks of the data");
    check(file(1, 8192), "not blocks of the data");
    check(file(1, 512), "not blocks of the data");
    check(file(u64::MAX, 0), "beyond the kernel's largest");
    check(attribute("user.big", 65_536), "65536 bytes");
    check(
        attribute(&format!("user.{}", "n".repeat(251)), 1),
        "256 bytes",
    );
    check(with(&|m| m.mode = 0o10_000), "mode 10000");
    check(
        with(&|m| m.mtime.nanoseconds = 1_000_000_000),
        "nanoseconds",
    );
    let device = Content::CharDevice(Device {
        major: 4096,
        minor: 0,
    });
    check(
        Node {
            metadata: metadata(0o600),
            content: device,
        },
        "4096:0",
    );
    let sparse = |size, extents: &[Extent]| {
        let data = FileData::Sparse {
            chunk_bits: 12,
            extents: extents.into(),
        };
        Node {
            metadata: metadata(0o600),
            content: Content::File { size, data },
        }
    };
    check(sparse(1 << 40, &[]), "268435456");
    check(
        sparse(
            8192,
            &[Extent {
                file_offset: 0,
                data_offset: 4096,
                length: 8192,
            }],
        ),
        "not blocks",
    );
}

#[test]
fn names_and_links_that_no_directory_can_have() {
    let long = "n".repeat(256);
    for name in ["", ".", "..", "a/b", "a\0b", &long] {
        let mut tree = empty_tree();
        put(&mut tree, NodeId::ROOT, name, file(0, 0));
        assert!(
            matches!(write(&tree, 0), Err(Error::Unrepresentable { .. })),
            "{name:?}"
        );
    }
    for target in [
        NodeId::ROOT,
        put(&mut empty_tree(), NodeId::ROOT, "d", directory()),
    ] {
        let mut tree = empty_tree();
        let first = put(&mut tree, NodeId::ROOT, "d", directory());
        assert!(target == first || target == NodeId::ROOT);
        tree.link(first, b"loop", target);
        assert!(
            write(&tree, 0)
                .unwrap_err()
                .to_string()
                .contains("linked twice")
        );
    }
}

#[test]
fn sixteen_tebibytes_are_the_limit() {
    let tree = empty_tree();
    let limit = (u64::from(u32::MAX) - 1) * 4096;
    assert!(write(&tree, limit).is_ok());
    assert!(matches!(
        write(&tree, limit + 1),
        Err(Error::TooLarge { .. })
    ));
    assert!(matches!(
        write(&tree, u64::MAX),
        Err(Error::TooLarge { .. })
    ));
}

#[test]
fn nodes_without_a_name_are_not_written() {
    let mut tree = empty_tree();
    tree.add(file(u64::MAX, 1));
    put(&mut tree, NodeId::ROOT, "a", directory());
    put(&mut tree, NodeId::ROOT, "a", file(0, 0));
    let (bytes, _) = write(&tree, 0).unwrap();
    assert_eq!(read_index(&bytes).unwrap().inodes, 2);
}

/// Every byte of a small index changed in turn: never a panic, and the same tree or an error, since
/// only padding carries no meaning.
#[test]
fn damage_is_an_error_or_another_tree() {
    let bytes = check_round_trip(&sample(), DATA);
    let mut seen = 0;
    for at in 0..bytes.len() {
        for flip in [1, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] ^= flip;
            seen += usize::from(read_index(&changed).is_err());
        }
    }
    assert!(seen > 3 * 1000, "{seen}");
    for len in 0..bytes.len() {
        assert!(read_index(&bytes[..len]).is_err());
    }
}

/// A tree with a bit of everything.
fn sample() -> Tree {
    let mut tree = empty_tree();
    let etc = put(&mut tree, NodeId::ROOT, "etc", directory());
    let shared = put(&mut tree, etc, "a", file(5000, 4096));
    tree.link(NodeId::ROOT, b"b", shared);
    put(&mut tree, etc, "link", symlink(b"../b"));
    put(&mut tree, etc, "long", symlink(&[b'y'; 4090]));
    let extents = [Extent {
        file_offset: 8192,
        data_offset: 65_536,
        length: 4096,
    }];
    let data = FileData::Sparse {
        chunk_bits: 12,
        extents: extents.into(),
    };
    let sparse = Content::File {
        size: 1 << 16,
        data,
    };
    put(
        &mut tree,
        etc,
        "sparse",
        Node {
            metadata: metadata(0o600),
            content: sparse,
        },
    );
    for (name, content) in [
        ("null", Content::CharDevice(Device { major: 1, minor: 3 })),
        (
            "disk",
            Content::BlockDevice(Device {
                major: 8,
                minor: 1000,
            }),
        ),
        ("pipe", Content::Fifo),
    ] {
        let mut metadata = metadata(0o6755);
        metadata.uid = 1 << 20;
        metadata.mtime = Timestamp {
            seconds: -5,
            nanoseconds: 7,
        };
        metadata
            .xattrs
            .insert(b"user.a"[..].into(), b"same"[..].into());
        metadata
            .xattrs
            .insert(b"trusted.b"[..].into(), name.as_bytes().into());
        put(&mut tree, etc, name, Node { metadata, content });
    }
    tree
}

/// What the fuzzer begins with: an index that this version writes, so a change of format shows here.
#[test]
fn seeds_of_index_read() {
    let seed = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fuzz/seeds/index_read/sample.index"
    );
    assert_eq!(
        check_round_trip(&sample(), DATA),
        std::fs::read(seed).unwrap()
    );
}

fn metadatas() -> impl Strategy<Value = Metadata> {
    let small = || prop_oneof![3 => 0..3_u32, 1 => any::<u32>()];
    let time = prop_oneof![
        4 => Just((1_600_000_000, 0)),
        1 => (any::<i64>(), 0..1_000_000_000_u32),
    ];
    let name = prop_oneof![
        "user\\.[a-c]",
        "trusted\\.[a-c]",
        Just("security.capability".to_owned()),
        Just("system.posix_acl_default".to_owned()),
    ];
    let value = prop_oneof![
        8 => prop::collection::vec(0..2_u8, 0..4),
        1 => prop::collection::vec(any::<u8>(), 0..9000),
    ];
    let xattrs = prop_oneof![
        3 => Just(Default::default()),
        1 => prop::collection::btree_map(
            name.prop_map(|name| name.into_bytes().into()),
            value.prop_map(Into::into),
            0..4,
        ),
    ];
    (0..0o10_000_u16, small(), small(), time, xattrs).prop_map(
        |(mode, uid, gid, (seconds, nanoseconds), xattrs)| Metadata {
            mode,
            uid,
            gid,
            mtime: Timestamp {
                seconds,
                nanoseconds,
            },
            xattrs,
        },
    )
}

fn contents() -> impl Strategy<Value = Content> {
    let contiguous = (0..100_000_u64, 0..1000_u64).prop_map(|(size, block)| Content::File {
        size,
        data: FileData::Contiguous {
            data_offset: block * 4096,
        },
    });
    let sparse = (
        12..16_u8,
        prop::collection::vec((0..4_u64, 1..4_u64, 0..100_u64), 0..6),
        0..3_u64,
    )
        .prop_map(|(chunk_bits, runs, tail)| {
            let chunk = 1 << chunk_bits;
            let mut at = 0;
            let extents = runs.iter().map(|(gap, length, data)| {
                let file_offset = at + gap * chunk;
                at = file_offset + length * chunk;
                Extent {
                    file_offset,
                    data_offset: data * chunk,
                    length: length * chunk,
                }
            });
            let mut extents: Vec<_> = extents.collect();
            // The file ends at, behind or inside its last run.
            let mut size = at + tail * 1000;
            if let Some(last) = extents.last_mut().filter(|_| tail == 1) {
                size = at - 1000;
                last.length -= 1000;
            }
            Content::File {
                size,
                data: FileData::Sparse {
                    chunk_bits,
                    extents: extents.into(),
                },
            }
        });
    let device =
        || (0..4096_u32, 0..0x10_0000_u32).prop_map(|(major, minor)| Device { major, minor });
    prop_oneof![
        4 => Just(Content::Directory([].into())),
        4 => contiguous,
        2 => sparse,
        2 => prop::collection::vec(1..=255_u8, 1..4096)
            .prop_map(|target| Content::Symlink(target.into())),
        1 => device().prop_map(Content::CharDevice),
        1 => device().prop_map(Content::BlockDevice),
        1 => Just(Content::Fifo),
    ]
}

fn names() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_filter("never in a name", |byte| !matches!(byte, 0 | b'/'));
    prop_oneof![
        prop::collection::vec(prop_oneof![b'!'..b'/', byte], 1..6),
        prop::collection::vec(b'a'..b'c', 200..=255),
    ]
    .prop_filter("not a name", |name| !matches!(&name[..], b"." | b".."))
}

fn trees() -> impl Strategy<Value = Tree> {
    let entry = (
        names(),
        metadatas(),
        contents(),
        any::<prop::sample::Index>(),
        0..8_u8,
    );
    (metadatas(), prop::collection::vec(entry, 0..150)).prop_map(|(root, entries)| {
        let mut tree = Tree::new(root);
        let mut directories = vec![NodeId::ROOT];
        let mut files = Vec::new();
        for (name, metadata, content, place, link) in entries {
            let parent = *place.get(&directories);
            if tree.child(parent, &name).is_some() {
                continue;
            }
            let id = if link == 0 && !files.is_empty() {
                *place.get(&files)
            } else {
                let is_directory = matches!(content, Content::Directory(_));
                let id = tree.add(Node { metadata, content });
                if is_directory {
                    &mut directories
                } else {
                    &mut files
                }
                .push(id);
                id
            };
            tree.link(parent, &name, id);
        }
        tree
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_reads_back(tree in trees()) {
        check_round_trip(&tree, DATA);
    }

    #[test]
    fn any_change_is_harmless(tree in trees(), at in any::<prop::sample::Index>(), byte: u8) {
        let (mut bytes, _) = write(&tree, DATA).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        drop(read_index(&bytes));
    }
}
