//! What entries mean: a tar in, a tree out.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod shared;

use lapstrake_tree::{
    error::{Class, Error},
    model::{Content, FileData, NodeId, Timestamp},
};
use shared::{
    describe::describe,
    make::{Head, Magic, Tar},
};

#[track_caller]
fn tree(tar: Tar, expected: &[&str]) {
    let (tree, data) = shared::check(&tar.end()).unwrap();
    assert_eq!(describe(&tree, &data), expected);
}

#[track_caller]
fn refused(tar: Tar, message: &str) {
    let error = shared::check(&tar.end()).unwrap_err();
    assert_eq!(error.class(), Class::Input);
    let text = error.to_string();
    assert!(text.contains(message), "{text}");
}

fn new() -> Tar {
    Tar::default()
}

#[test]
fn parents_that_no_entry_gives_are_plain_directories() {
    tree(
        new().file("a/b/c", "x"),
        &["d . 755", "d a 755", "d a/b 755", "f a/b/c x"],
    );
}

#[test]
fn names_are_relative_to_the_root_however_written() {
    let tar = new()
        .directory("./")
        .file("./a", "1")
        .file("/b", "2")
        .file("c/../d", "3");
    tree(tar, &["d . 711", "f a 1", "f b 2", "f d 3"]);
}

#[test]
fn names_that_leave_the_root_are_refused() {
    refused(new().file("../x", ""), "leaves the root");
    refused(new().file("a/../../x", ""), "leaves the root");
    refused(
        new().file("a", "").link(b'1', "b", "../a"),
        "leaves the root",
    );
}

#[test]
fn the_root_can_only_be_a_directory() {
    refused(new().file(".", ""), "root of a layer");
    refused(new().file("a", "").link(b'1', "./", "a"), "root of a layer");
}

#[test]
fn the_last_of_several_files_wins() {
    tree(
        new().file("a", "old").file("b", "x").file("a", "new"),
        &["d . 755", "f a new", "f b x"],
    );
}

#[test]
fn a_directory_over_a_directory_keeps_what_is_in_it() {
    let tar = new().file("d/a", "x").directory("d/");
    tree(tar, &["d . 755", "d d 711", "f d/a x"]);
}

#[test]
fn a_file_over_a_directory_removes_what_is_in_it() {
    tree(new().file("d/a", "x").file("d", "y"), &["d . 755", "f d y"]);
    let tar = new().file("d/a", "x").file("d", "y").directory("d");
    tree(tar, &["d . 755", "d d 711"]);
}

#[test]
fn hard_links_share_a_node() {
    let tar = new()
        .file("a", "x")
        .link(b'1', "b", "a")
        .link(b'1', "d/c", "./b");
    tree(
        tar,
        &["d . 755", "f a x", "h b = a", "d d 755", "h d/c = a"],
    );
}

#[test]
fn a_file_over_one_name_leaves_the_others() {
    let tar = new().file("a", "x").link(b'1', "b", "a").file("a", "y");
    tree(tar, &["d . 755", "f a y", "f b x"]);
    let tar = new().file("a", "x").link(b'1', "a", "a");
    tree(tar, &["d . 755", "f a x"]);
}

#[test]
fn a_hard_link_to_a_symbolic_link_is_another_name_of_it() {
    let tar = new().link(b'2', "a", "nowhere").link(b'1', "b", "a");
    tree(tar, &["d . 755", "l a -> nowhere", "h b = a"]);
}

#[test]
fn a_hard_link_needs_a_file_before_it() {
    refused(
        new().link(b'1', "b", "a").file("a", ""),
        "is not in this layer",
    );
    refused(new().directory("a").link(b'1', "b", "a"), "is a directory");
    refused(
        new().file("a", "").link(b'1', "b", "c/a"),
        "is not in this layer",
    );
}

#[test]
fn parents_that_are_symbolic_links_are_followed_inside_the_layer() {
    let tar = new()
        .directory("usr/lib")
        .link(b'2', "lib", "usr/lib")
        .file("lib/a", "x");
    tree(
        tar,
        &[
            "d . 755",
            "l lib -> usr/lib",
            "d usr 755",
            "d usr/lib 711",
            "f usr/lib/a x",
        ],
    );
    let tar = new()
        .link(b'2', "d/up", "../../../etc")
        .file("d/up/passwd", "x");
    tree(
        tar,
        &[
            "d . 755",
            "d d 755",
            "l d/up -> ../../../etc",
            "d etc 755",
            "f etc/passwd x",
        ],
    );
    let tar = new()
        .link(b'2', "abs", "/etc")
        .file("abs/../x", "1")
        .file("abs/y", "2");
    tree(
        tar,
        &[
            "d . 755",
            "l abs -> /etc",
            "d etc 755",
            "f etc/y 2",
            "f x 1",
        ],
    );
    refused(
        new()
            .link(b'2', "a", "b")
            .link(b'2', "b", "a")
            .file("a/x", ""),
        "symbolic links",
    );
}

#[test]
fn a_parent_that_is_a_file_is_refused() {
    refused(
        new().file("a", "").file("a/b", ""),
        "\"a\" is not a directory",
    );
}

#[test]
fn devices_and_pipes() {
    let mut tty = Head::new(Magic::Ustar, b'3', b"tty", 0);
    tty.octal(329, 8, 4).octal(337, 8, 64);
    let mut disk = Head::new(Magic::Gnu, b'4', b"disk", 0);
    disk.octal(329, 8, 0o7777).octal(337, 8, 0o3_777_777);
    let tar = new().raw(&tty, b"").raw(&disk, b"").kind(b'6', "pipe", "");
    tree(
        tar,
        &["d . 755", "b disk 4095:1048575", "p pipe", "c tty 4:64"],
    );
    let mut big = Head::new(Magic::Gnu, b'3', b"big", 0);
    refused(new().raw(big.octal(329, 8, 0o10000), b""), "device number");
}

#[test]
fn kinds_that_are_files_and_kinds_that_are_none() {
    tree(
        new().kind(b'7', "a", "x").kind(b'Z', "b", "y"),
        &["d . 755", "f a x", "f b y"],
    );
    tree(
        new().kind(b'V', "label", "").file("a", ""),
        &["d . 755", "f a "],
    );
    tree(
        new().kind(b'D', "d", "Ya\0").file("d/a", ""),
        &["d . 755", "d d 644", "f d/a "],
    );
    let old = Head::new(Magic::V7, 0, b"d/", 0);
    tree(new().raw(&old, b""), &["d . 755", "d d 644"]);
    refused(new().kind(b'M', "a", "x"), "another volume");
}

#[test]
fn links_have_no_contents_whatever_their_size() {
    let mut link = Head::new(Magic::Ustar, b'2', b"l", 512);
    tree(
        new().raw(link.bytes(157, b"a"), b""),
        &["d . 755", "l l -> a"],
    );
    refused(new().link(b'2', "l", ""), "link to nothing");
}

#[test]
fn whiteouts_hide_lower_files_wherever_they_stand() {
    tree(new().file(".wh.a", ""), &["d . 755", "c a 0:0"]);
    tree(
        new().file(".wh.a", "").file("a", "x"),
        &["d . 755", "f a x"],
    );
    tree(
        new().file("a", "x").file(".wh.a", ""),
        &["d . 755", "f a x"],
    );
    let opaque = &["d . 755", "d d 711 trusted.overlay.opaque=y", "f d/a x"];
    tree(
        new()
            .file("d/.wh..wh..opq", "")
            .directory("d")
            .file("d/a", "x"),
        opaque,
    );
    tree(
        new()
            .directory("d")
            .file("d/a", "x")
            .file("d/.wh..wh..opq", ""),
        opaque,
    );
    tree(
        new().file(".wh.d", "").directory("d").file("d/a", "x"),
        opaque,
    );
    tree(
        new().directory("d").file("d/a", "x").file(".wh.d", ""),
        opaque,
    );
    tree(
        new().file(".wh..wh..opq", ""),
        &["d . 755 trusted.overlay.opaque=y"],
    );
}

#[test]
fn whiteouts_of_no_name_are_refused() {
    for name in [".wh.", ".wh..", ".wh...", "a/.wh."] {
        refused(new().file(name, ""), "whiteout of no name");
    }
    refused(new().file(".wh.a/b", ""), "below a whiteout");
}

#[test]
fn whiteouts_in_a_directory_that_is_replaced_go_with_it() {
    let tar = new().file("d/.wh.a", "").file("d", "x");
    tree(tar, &["d . 755", "f d x"]);
}

#[test]
fn records_of_aufs_are_no_files_but_can_be_linked() {
    let tar = new()
        .kind(b'5', ".wh..wh.orph", "")
        .file(".wh..wh.aufs", "")
        .file(".wh..wh.plnk/12.3", "x")
        .link(b'1', "a", ".wh..wh.plnk/12.3")
        .link(b'1', "b", "/.wh..wh.plnk/12.3");
    tree(tar, &["d . 755", "f a x", "h b = a"]);
    refused(
        new().link(b'1', "a", ".wh..wh.plnk/12.3"),
        "is not in this layer",
    );
}

#[test]
fn attributes_that_steer_overlay_never_reach_a_tree() {
    let tar = new()
        .pax(b'g', &[("SCHILY.xattr.user.overlay.redirect", b"/etc")])
        .pax(
            b'x',
            &[
                ("SCHILY.xattr.trusted.overlay.redirect", b"/etc/shadow"),
                ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
                ("SCHILY.xattr.user.overlay.metacopy", b""),
                ("LIBARCHIVE.xattr.trusted.overlay.origin", b"AAAA"),
                ("LIBARCHIVE.xattr.trusted%2eoverlay%2eredirect", b"L2V0Yw"),
                ("SCHILY.xattr.user.overlay", b"kept"),
            ],
        )
        .directory("d");
    tree(tar, &["d . 755", "d d 711 user.overlay=kept"]);
}

#[test]
fn attributes_of_the_entry_win_over_global_ones() {
    let tar = new()
        .pax(
            b'g',
            &[("SCHILY.xattr.user.a", b"1"), ("SCHILY.xattr.user.b", b"1")],
        )
        .pax(
            b'x',
            &[
                ("SCHILY.xattr.user.b", b"2"),
                ("LIBARCHIVE.xattr.user.c%20d", b"aGk"),
            ],
        )
        .directory("d")
        .directory("e");
    let with = "user.a=1 user.b=2 user.c d=hi";
    tree(
        tar,
        &[
            "d . 755",
            &format!("d d 711 {with}"),
            "d e 711 user.a=1 user.b=1",
        ],
    );
}

#[test]
fn attributes_that_linux_does_not_know_are_dropped_and_huge_ones_refused() {
    let pax = |name: &str, length| {
        new()
            .pax(b'x', &[(name, &vec![b'v'; length])])
            .directory("d")
    };
    tree(
        pax("SCHILY.xattr.com.apple.provenance", 9),
        &["d . 755", "d d 711"],
    );
    refused(pax("SCHILY.xattr.user.a", 65537), "an attribute exceeds");
    let long = format!("SCHILY.xattr.user.{}", "n".repeat(251));
    refused(pax(&long, 1), "attribute's name exceeds");
}

#[test]
fn access_lists_are_attributes_if_their_ids_are_known() {
    let list = |text: &str| {
        new()
            .pax(b'x', &[("SCHILY.acl.access", text.as_bytes())])
            .directory("d")
    };
    let (tree, _) =
        shared::check(&list("user::rwx,user:7:r-x,group::r-x,mask::r-x,other::--x").end()).unwrap();
    let node = tree.node(tree.child(NodeId::ROOT, b"d").unwrap());
    assert!(
        node.metadata
            .xattrs
            .contains_key(&b"system.posix_acl_access"[..])
    );
    let unknown = list("user::rwx,user:sam:r-x,group::r-x,mask::r-x,other::--x");
    let (layer, _) = shared::split(&unknown.clone().end(), 512).unwrap();
    assert_eq!(layer.attributes_dropped, 1);
    self::tree(unknown, &["d . 755", "d d 711"]);
    self::tree(
        list("user::rwx,group::r-x,other::--x"),
        &["d . 755", "d d 751"],
    );
    let raw = new()
        .pax(b'x', &[("SCHILY.xattr.system.posix_acl_access", b"x")])
        .directory("d");
    refused(raw, "access control list is malformed");
}

#[test]
fn extended_headers_override_fields() {
    let records: [(&str, &[u8]); 6] = [
        ("path", b"p"),
        ("uid", b"4000000000"),
        ("gid", b"70000"),
        ("mtime", b"-1.25"),
        ("size", b"2"),
        ("comment", b"=\n="),
    ];
    let tar = new()
        .pax(b'x', &records)
        .raw(&Head::new(Magic::Ustar, b'0', b"a", 9), b"hi");
    let (tree, data) = shared::check(&tar.end()).unwrap();
    assert_eq!(describe(&tree, &data), ["d . 755", "f p hi"]);
    let metadata = &tree.node(tree.child(NodeId::ROOT, b"p").unwrap()).metadata;
    assert_eq!((metadata.uid, metadata.gid), (4_000_000_000, 70_000));
    assert_eq!(
        metadata.mtime,
        Timestamp {
            seconds: -2,
            nanoseconds: 750_000_000
        }
    );
}

#[test]
fn an_empty_value_takes_a_global_one_back() {
    let tar = new()
        .pax(b'g', &[("path", b"g")])
        .pax(b'x', &[("path", b"")])
        .file("a", "x")
        .file("b", "y");
    tree(tar, &["d . 755", "f a x", "f g y"]);
}

#[test]
fn gnu_long_names_and_links() {
    let name = "n/".repeat(100) + "f";
    let long = |kind, text: &str| {
        (
            Head::new(Magic::Gnu, kind, b"././@LongLink", text.len() as u64 + 1),
            format!("{text}\0"),
        )
    };
    let (head, text) = long(b'L', &name);
    let (link_head, link_text) = long(b'K', &name);
    let tar = new()
        .raw(&head, text.as_bytes())
        .raw(
            &Head::new(Magic::Gnu, b'0', &name.as_bytes()[..100], 1),
            b"x",
        )
        .raw(&link_head, link_text.as_bytes())
        .link(b'2', "l", "short");
    let (tree, data) = shared::check(&tar.end()).unwrap();
    let lines = describe(&tree, &data);
    assert_eq!(lines[1], format!("l l -> {name}"));
    assert_eq!(lines.last().unwrap(), &format!("f {name} x"));
}

#[test]
fn prefixes_of_names() {
    let mut posix = Head::new(Magic::Ustar, b'0', b"b", 0);
    posix.bytes(345, b"a");
    // Old Docker on Go before 1.8.
    let mut misplaced = Head::new(Magic::Gnu, b'0', b"d", 0);
    misplaced.bytes(345, b"usr/share/a-long-directory");
    let mut times = Head::new(Magic::Gnu, b'0', b"e", 0);
    times.octal(345, 12, 1).octal(357, 12, 1);
    let tar = new().raw(&posix, b"").raw(&misplaced, b"").raw(&times, b"");
    let (tree, data) = shared::check(&tar.end()).unwrap();
    let lines = describe(&tree, &data);
    assert!(
        lines.contains(&"f a/b ".into()) && lines.contains(&"f e ".into()),
        "{lines:?}"
    );
    assert!(
        lines.contains(&"f usr/share/a-long-directory/d ".into()),
        "{lines:?}"
    );
}

#[test]
fn numbers_in_base_256() {
    let mut head = Head::new(Magic::Gnu, b'0', b"a", 0);
    head.bytes(108, &[0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xfe]);
    head.bytes(116, &[0xff; 7]).bytes(123, &[0xfe]);
    head.bytes(136, &[0xff; 11]).bytes(147, &[0xfe]);
    let (tree, _) = shared::check(&new().raw(&head, b"").end()).unwrap();
    let metadata = &tree.node(tree.child(NodeId::ROOT, b"a").unwrap()).metadata;
    assert_eq!((metadata.uid, metadata.gid), (u32::MAX - 1, u32::MAX - 1));
    assert_eq!(
        metadata.mtime,
        Timestamp {
            seconds: -2,
            nanoseconds: 0
        }
    );
    head.bytes(108, &[0x80, 0, 0, 1, 0, 0, 0, 0]);
    refused(new().raw(&head, b""), "owner is beyond 32 bits");
    head.bytes(124, &[0xff; 12]);
    refused(new().raw(&head, b""), "size is no number");
}

#[test]
fn sizes_beyond_any_disk_are_refused_at_once() {
    let mut head = Head::new(Magic::Gnu, b'0', b"a", 0);
    head.bytes(
        124,
        &[
            0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        ],
    );
    refused(
        new().raw(&head, b""),
        "contents of the layer's files exceeds",
    );
}

#[test]
fn names_of_255_bytes_and_of_any_bytes() {
    let long = "n".repeat(255);
    let tar = new()
        .pax(b'x', &[("path", long.as_bytes())])
        .file("a", "")
        .pax(b'x', &[("path", b"\xff\xfe\n"), ("hdrcharset", b"BINARY")])
        .file("a", "");
    tree(tar, &["d . 755", &format!("f {long} "), "f \\xff\\xfe\\n "]);
    let longer = "n".repeat(256);
    refused(
        new()
            .pax(b'x', &[("path", longer.as_bytes())])
            .file("a", ""),
        "longer than 255",
    );
    refused(new().pax(b'x', &[("path", b"a\0b")]).file("a", ""), "NUL");
}

#[test]
fn many_entries_of_one_directory() {
    let mut tar = new();
    for number in 0..100_000 {
        tar = tar.file(&format!("d/{number:05}"), "");
    }
    let (layer, _) = shared::split(&tar.end(), 1 << 20).unwrap();
    let directory = layer.tree.child(NodeId::ROOT, b"d").unwrap();
    assert_eq!(layer.tree.children(directory).count(), 100_000);
    assert_eq!(layer.entries, 100_000);
}

#[test]
fn directories_implied_by_the_million_are_refused() {
    let mut tar = new();
    for number in 0..100 {
        let path = format!("{number}/{}x", "d/".repeat(2000));
        tar = tar.pax(b'x', &[("path", path.as_bytes())]).file("a", "");
    }
    refused(tar, "directories without an entry");
}

#[test]
fn paths_made_deep_by_links_are_refused() {
    let mut tar = new();
    let deep = "d/".repeat(1000);
    tar = tar
        .pax(b'x', &[("linkpath", deep.as_bytes())])
        .link(b'2', "l", "");
    tar = tar.pax(
        b'x',
        &[("path", format!("l/{}x", "e/".repeat(1500)).as_bytes())],
    );
    refused(tar.file("a", ""), "depth");
}

#[test]
fn a_cut_tar_names_the_entry() {
    let whole = new().file("a", "x").file("b", &"y".repeat(2000)).end();
    let cut = |length| match shared::check(&whole[..length]) {
        Ok(_) => "whole".into(),
        Err(Error::Truncated { entry, offset }) if offset == length as u64 => entry,
        Err(other) => panic!("{other}"),
    };
    assert_eq!(cut(100), "the header after the start");
    assert_eq!(cut(512), "\"a\"");
    assert_eq!(cut(1100), "the header after \"a\"");
    assert_eq!(cut(1536), "\"b\"");
    assert_eq!(cut(3535), "\"b\"");
    assert_eq!(cut(3700), "the header after \"b\"");
    // Between entries and in padding, as Go and GNU tar accept it.
    for length in [0, 513, 1024, 3536, 3584, 4096] {
        assert_eq!(cut(length), "whole", "{length}");
    }
    let named = new().pax(b'x', &[("path", b"a")]).0;
    let error = shared::check(&named[..600]).unwrap_err().to_string();
    assert_eq!(
        error,
        "tar ends at byte 600, inside the extended header after the start"
    );
}

#[test]
fn anything_may_follow_the_end() {
    let mut tar = new().file("a", "x").end();
    tar.extend_from_slice(b"garbage that is not even a block");
    let (tree, data) = shared::check(&tar).unwrap();
    assert_eq!(describe(&tree, &data), ["d . 755", "f a x"]);
    // But one block of zeros is no end.
    let mut tar = new().file("a", "x").0;
    tar.resize(tar.len() + 512, 0);
    let tar = [tar, new().file("b", "y").end()].concat();
    assert!(matches!(shared::check(&tar), Err(Error::Checksum { .. })));
}

#[test]
fn what_is_no_tar_is_refused() {
    assert!(matches!(
        shared::check(&[1; 512]),
        Err(Error::Checksum { offset: 0, .. })
    ));
    let mut tar = new().file("a", "x").end();
    tar[0] = b'b';
    assert!(matches!(
        shared::check(&tar),
        Err(Error::Checksum { offset: 0, .. })
    ));
}

#[test]
fn extended_headers_that_are_wrong_or_huge_are_refused() {
    let bad = |payload: &[u8]| {
        new().raw(
            &Head::new(Magic::Ustar, b'x', b"pax", payload.len() as u64),
            payload,
        )
    };
    refused(bad(b"8 path=a\n"), "extended header is malformed");
    refused(bad(b"7 uid=x\n"), "extended header is malformed");
    refused(bad(b"8 uid=x\n"), "owner is no number");
    refused(bad(b"9 size=-\n"), "size is no number");
    let huge = Head::new(Magic::Ustar, b'x', b"pax", (1 << 20) + 1);
    refused(new().raw(&huge, b""), "extended header exceeds");
    let global = vec![b'v'; 600 << 10];
    let tar = new()
        .pax(b'g', &[("comment", &global)])
        .pax(b'g', &[("comment", &global)]);
    refused(tar, "extended header exceeds");
}

#[test]
fn an_empty_file_has_no_place() {
    let (tree, data) = shared::check(&new().file("a", "").end()).unwrap();
    assert!(data.is_empty());
    let node = tree.node(tree.child(NodeId::ROOT, b"a").unwrap());
    assert!(matches!(node.content, Content::File { size: 0, .. }));
}

/// A sparse file of PAX 0.1 with these runs, `x` in each byte of them.
fn sparse(name: &str, size: u64, runs: &[(u64, u64)]) -> Tar {
    let numbers: Vec<_> = runs
        .iter()
        .map(|(at, length)| format!("{at},{length}"))
        .collect();
    let stored: u64 = runs.iter().map(|(_, length)| length).sum();
    new()
        .pax(
            b'x',
            &[
                ("GNU.sparse.size", size.to_string().as_bytes()),
                ("GNU.sparse.map", numbers.join(",").as_bytes()),
                ("GNU.sparse.numblocks", runs.len().to_string().as_bytes()),
            ],
        )
        .file(name, &"x".repeat(usize::try_from(stored).unwrap()))
}

/// The chunk size and runs of a sparse file that is alone in its layer, and how long `data` is.
#[track_caller]
fn layout(tar: Tar, chunk_bits: u8, expected: &[(u64, u64, u64)], data_len: usize) {
    let (tree, data) = shared::check(&tar.end()).unwrap();
    let node = tree.node(tree.child(NodeId::ROOT, b"f").unwrap());
    let Content::File {
        data: FileData::Sparse {
            chunk_bits: bits,
            extents,
        },
        ..
    } = &node.content
    else {
        panic!("not sparse: {node:?}");
    };
    let runs: Vec<_> = extents
        .iter()
        .map(|extent| (extent.file_offset, extent.data_offset, extent.length))
        .collect();
    assert_eq!(
        (*bits, runs.as_slice(), data.len()),
        (chunk_bits, expected, data_len)
    );
}

#[test]
fn sparse_files_take_the_cheapest_chunks() {
    layout(sparse("f", 1 << 20, &[(0, 10)]), 12, &[(0, 0, 4096)], 4096);
    layout(
        sparse("f", 1 << 20, &[(5000, 4000)]),
        12,
        &[(4096, 0, 8192)],
        8192,
    );
    let apart = sparse("f", 1 << 20, &[(0, 1), (1 << 19, 1), ((1 << 20) - 1, 1)]);
    let end = (1 << 20) - 4096;
    layout(
        apart,
        12,
        &[(0, 0, 4096), (1 << 19, 4096, 4096), (end, 8192, 4096)],
        3 * 4096,
    );
    // One byte in 16 GiB: 256 KiB of zeros and 512 KiB of index are the least.
    layout(
        sparse("f", 1 << 34, &[(0, 1)]),
        18,
        &[(0, 0, 1 << 18)],
        1 << 18,
    );
    // A hole is no chunk; the largest chunks leave the smallest index.
    layout(sparse("f", 1 << 50, &[]), 43, &[], 0);
    // The last run ends with the file.
    layout(
        sparse("f", 5000, &[(4096, 904)]),
        12,
        &[(4096, 0, 904)],
        4096,
    );
}

#[test]
fn sparse_files_without_holes_are_plain_ones() {
    let (tree, data) = shared::check(&sparse("f", 5000, &[(0, 100), (4500, 500)]).end()).unwrap();
    let node = tree.node(tree.child(NodeId::ROOT, b"f").unwrap());
    let plain = FileData::Contiguous { data_offset: 0 };
    assert_eq!(
        node.content,
        Content::File {
            size: 5000,
            data: plain
        }
    );
    assert_eq!(
        (data[99], data[100], data[4499], data[4500]),
        (b'x', 0, 0, b'x')
    );
}

#[test]
fn sparse_maps_that_claim_too_much_are_refused() {
    let size = i64::MAX.cast_unsigned();
    refused(
        sparse("f", size, &[(0, 1), (size - 1, 1)]),
        "exceeds the limit",
    );
    let far: Vec<_> = (0..1000).map(|run| (run << 30, 1)).collect();
    refused(sparse("f", 1 << 50, &far), "exceeds the limit");
    refused(sparse("f", size + 1, &[]), "does not fit its size");
    refused(sparse("f", 10, &[(5, 6)]), "does not fit its size");
    refused(sparse("f", 10, &[(5, 2), (4, 1)]), "does not fit its size");
    refused(sparse("f", 10, &[(u64::MAX, 2)]), "does not fit its size");
}

#[test]
fn numbers_of_a_tar_do_not_overflow_a_file() {
    // What the map says must be there.
    let mut tar = sparse("f", 100, &[(0, 10)]);
    tar.0.truncate(1024);
    let tar = tar.file("f", "too little");
    assert!(shared::check(&tar.clone().file("g", "").end()).is_ok());
    let mut tar = sparse("f", 100, &[(0, 10)]);
    tar.0.truncate(1024);
    refused(tar.file("f", "short"), "does not fit its size");
}
