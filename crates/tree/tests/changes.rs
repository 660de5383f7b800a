//! Layers made of changes: over what was changed, they give what it became.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod shared;

use std::collections::BTreeSet;

use lapstrake_tree::{
    changes::{ChangeKind, Error, FileKind, Writable, changes, write_layer, write_root},
    model::{Content, Device, Metadata, NodeId, Timestamp, Tree},
};
use proptest::{collection::vec, prelude::*, sample::select};
use shared::files::{Files, OPAQUE, Shown, apply, comparable, parent, plain, show, show_files};

/// The layer that makes `b` of `a`.
fn layer(a: &Files, b: &Files) -> Result<Vec<u8>, Error> {
    let found = changes(&Writable::Whole(b), a).unwrap();
    write_layer(&found, b, a, Vec::new())
}

/// What `docker diff` would say.
fn listed(a: &Files, b: &Files) -> Vec<String> {
    let found = changes(&Writable::Whole(b), a).unwrap();
    let all = found.list.iter().map(|change| {
        let letter = match change.kind {
            ChangeKind::Modified => 'C',
            ChangeKind::Added => 'A',
            ChangeKind::Deleted => 'D',
        };
        format!("{letter} /{}", change.path.escape_ascii())
    });
    all.collect()
}

fn split(tar: &[u8], layer: usize) -> (Tree, Shown) {
    let (tree, data) = shared::check(tar).unwrap();
    let shown = show(&tree, &data, layer);
    (tree, shown)
}

/// Whether a path of a layer is an opaque directory.
fn is_opaque(tree: &Tree, path: &[u8]) -> bool {
    let parts = path
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty());
    let node = parts.fold(NodeId::ROOT, |at, part| tree.child(at, part).unwrap());
    let xattrs = &tree.node(node).metadata.xattrs;
    xattrs.contains_key(OPAQUE)
}

/// Checks that the layer from `a` to `b`, put over `a`, is `b`.
fn check(a: &Files, b: &Files) {
    let (_, lower) = split(&layer(&Files::new(), a).unwrap(), 0);
    assert_eq!(comparable(&lower), comparable(&show_files(a)));
    let (tree, upper) = split(&layer(a, b).unwrap(), 1);
    let nothing = changes(&Writable::Whole(b), a).unwrap().entries.is_empty();
    let merged = if nothing {
        lower
    } else {
        apply(&lower, &upper, &|path| is_opaque(&tree, path))
    };
    assert_eq!(comparable(&merged), comparable(&show_files(b)));
    check_flat(b);
}

/// Checks that the flat tar of files is those files, and which sockets it left out.
fn check_flat(files: &Files) {
    let written = write_root(&Writable::Whole(files), &Files::new(), Vec::new()).unwrap();
    let (_, flat) = split(&written.out, 0);
    assert_eq!(comparable(&flat), comparable(&show_files(files)));
    let is_socket = |(_, id): &(&Vec<u8>, &u64)| files.inodes[*id].kind == FileKind::Socket;
    let want = files.names.iter().filter(is_socket);
    let want: BTreeSet<_> = want.map(|(path, _)| path.clone()).collect();
    let skipped: BTreeSet<_> = written.skipped.iter().map(|path| path.to_vec()).collect();
    assert_eq!(skipped, want);
}

/// A path, shown as text.
#[derive(Clone, PartialEq, Eq)]
struct Path(Vec<u8>);

impl std::fmt::Debug for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl std::ops::Deref for Path {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

/// A step of changing files.
#[derive(Debug, Clone)]
enum Step {
    Create(Path, FileKind, Metadata, Vec<u8>),
    Link(Path, Path),
    Rename(Path, Path),
    Remove(Path),
    Write(Path, Vec<u8>),
    Attributes(Path, Metadata),
    /// Another inode with the same attributes and contents.
    Replace(Path),
}

fn path() -> impl Strategy<Value = Path> {
    let long = "n".repeat(253);
    let deep = "m".repeat(90);
    let part = prop_oneof![
        20 => select(vec!["a", "b", "c", "d"]).prop_map(str::to_owned),
        1 => Just(long),
        2 => Just(deep),
        1 => Just("ü".to_owned()),
    ];
    vec(part, 1..4).prop_map(|parts| Path(parts.join("/").into_bytes()))
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => vec(any::<u8>(), 0..8),
        1 => (0_usize..3, 1_usize..40_000).prop_map(|(ones, length)| {
            // Long holes between short runs.
            let mut bytes = vec![0; 100_000 + length];
            bytes[..ones * 3].fill(1);
            bytes[70_000..70_000 + ones].fill(2);
            bytes
        }),
    ]
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let id = select(vec![0, 1, 2_097_151, 2_097_152, 4_294_967_294]);
    let seconds = select(vec![
        0,
        1,
        -1,
        -2,
        8_589_934_591,
        8_589_934_592,
        1_700_000_000,
    ]);
    let nanoseconds = select(vec![0, 1, 500_000_000, 999_999_999]);
    let xattr = (
        select(vec!["user.a", "user.a=b%", "security.x", "trusted.y"]),
        vec(any::<u8>(), 0..5),
    );
    (
        0_u16..0o10000,
        id.clone(),
        id,
        seconds,
        nanoseconds,
        vec(xattr, 0..3),
    )
        .prop_map(|(mode, uid, gid, seconds, nanoseconds, xattrs)| Metadata {
            mode,
            uid,
            gid,
            mtime: Timestamp {
                seconds,
                nanoseconds,
            },
            xattrs: xattrs
                .into_iter()
                .map(|(name, value)| (name.as_bytes().into(), value.into()))
                .collect(),
        })
}

fn kind() -> impl Strategy<Value = FileKind> {
    let device = Device {
        major: 4000,
        minor: 1_000_000,
    };
    prop_oneof![
        4 => Just(FileKind::Directory),
        4 => Just(FileKind::File { size: 0 }),
        1 => Just(FileKind::Symlink(b"a/b".as_slice().into())),
        1 => Just(FileKind::Symlink(vec![b't'; 300].into())),
        1 => Just(FileKind::Fifo),
        1 => Just(FileKind::CharDevice(device)),
        1 => Just(FileKind::BlockDevice(device)),
        1 => Just(FileKind::Socket),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (path(), kind(), metadata(), bytes())
            .prop_map(|(path, kind, metadata, bytes)| Step::Create(path, kind, metadata, bytes)),
        2 => (path(), path()).prop_map(|(from, to)| Step::Link(from, to)),
        2 => (path(), path()).prop_map(|(from, to)| Step::Rename(from, to)),
        2 => path().prop_map(Step::Remove),
        2 => (path(), bytes()).prop_map(|(path, bytes)| Step::Write(path, bytes)),
        1 => (path(), metadata()).prop_map(|(path, metadata)| Step::Attributes(path, metadata)),
        1 => path().prop_map(Step::Replace),
    ]
}

/// Takes a step where it makes sense.
fn take(files: &mut Files, step: &Step) {
    match step {
        Step::Create(path, kind, metadata, bytes) if files.is_free(path) => {
            let (kind, bytes) = match kind {
                FileKind::File { .. } => (
                    FileKind::File {
                        size: bytes.len() as u64,
                    },
                    bytes.clone(),
                ),
                other => (other.clone(), Vec::new()),
            };
            files.create(path, kind, metadata.clone(), bytes);
        }
        Step::Link(from, to)
            if files.names.contains_key(&from.0)
                && !files.is_directory(from)
                && files.is_free(to) =>
        {
            files.names.insert(to.0.clone(), files.names[&from.0]);
        }
        Step::Rename(from, to)
            if files.names.contains_key(&from.0)
                && files.is_free(to)
                && !files.below(from).contains(&parent(to).to_vec()) =>
        {
            files.rename(from, to);
        }
        Step::Remove(path) => files.remove(path),
        Step::Write(path, bytes) => {
            if let Some(inode) = files.inode(path)
                && matches!(inode.kind, FileKind::File { .. })
            {
                inode.bytes.clone_from(bytes);
                inode.kind = FileKind::File {
                    size: bytes.len() as u64,
                };
            }
        }
        Step::Attributes(path, metadata) => {
            if let Some(inode) = files.inode(path) {
                inode.metadata = metadata.clone();
            }
        }
        Step::Replace(path) if !files.is_directory(path) => {
            if let Some(inode) = files.inode(path).cloned() {
                files.create(path, inode.kind, inode.metadata, inode.bytes);
            }
        }
        _ => {}
    }
}

/// Modes of symbolic links mean nothing and are not kept.
fn settle(files: &mut Files) {
    for inode in files.inodes.values_mut() {
        if matches!(inode.kind, FileKind::Symlink(_)) {
            inode.metadata.mode = 0o777;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_layer_over_what_was_is_what_became(
        first in vec(step(), 0..40),
        then in vec(step(), 0..25),
    ) {
        let mut a = Files::new();
        first.iter().for_each(|step| take(&mut a, step));
        settle(&mut a);
        let mut b = a.clone();
        then.iter().for_each(|step| take(&mut b, step));
        settle(&mut b);
        check(&a, &b);
    }

    #[test]
    fn nothing_changed_is_no_entry(steps in vec(step(), 0..40)) {
        let mut a = Files::new();
        steps.iter().for_each(|step| take(&mut a, step));
        let sockets = |_: &Vec<u8>, id: &mut u64| a.inodes[id].kind != FileKind::Socket;
        let mut names = a.names.clone();
        names.retain(sockets);
        a.names = names;
        let found = changes(&Writable::Whole(&a), &a).unwrap();
        prop_assert_eq!(found.entries, []);
        prop_assert_eq!(found.list, []);
    }
}

/// Files from words: `d/` is a directory, `f=text` a file.
fn files(words: &str) -> Files {
    let mut files = Files::new();
    for word in words.split(' ').filter(|word| !word.is_empty()) {
        match word.split_once('=') {
            Some((path, text)) => {
                let size = text.len() as u64;
                let kind = FileKind::File { size };
                files.create(path.as_bytes(), kind, plain(0o644), text.into());
            }
            None => {
                let path = word.trim_end_matches('/').as_bytes();
                files.create(path, FileKind::Directory, plain(0o755), Vec::new());
            }
        }
    }
    files
}

fn check_list(a: &str, b: &str, expected: &[&str]) {
    let (a, b) = (files(a), files(b));
    assert_eq!(listed(&a, &b), expected);
    check(&a, &b);
}

#[test]
fn lists_are_those_of_docker() {
    check_list("f=1", "f=1", &[]);
    check_list("f=1", "f=2", &["C /f"]);
    check_list("", "d/ d/f=1", &["A /d", "A /d/f"]);
    check_list("d/ d/e/ d/e/f=1", "", &["D /d"]);
    check_list(
        "d/ d/e/ d/e/f=1 d/g=1",
        "d/ d/e/ d/g=1",
        &["C /d", "C /d/e", "D /d/e/f"],
    );
    check_list("x=1", "x/ x/y=1", &["C /x", "A /x/y"]);
    check_list("x/ x/y=1", "x=1", &["C /x"]);
}

#[test]
fn an_emptied_directory_is_opaque_and_a_thinned_one_has_whiteouts() {
    let names = |a: &str, b: &str| {
        let found = changes(&Writable::Whole(&files(b)), &files(a)).unwrap();
        let all = found.entries.iter();
        all.map(|entry| entry.path.escape_ascii().to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(names("d/ d/a=1 d/b=1 x=1", "d/ x=1"), ["", "d"]);
    assert_eq!(names("d/ d/a=1 d/b=1", "d/ d/b=1"), ["", "d", "d/a"]);
}

#[test]
fn what_no_layer_can_hold_is_refused_by_name() {
    let refused = |b: &Files| match layer(&Files::new(), b) {
        Err(Error::Unrepresentable { path, .. }) => path,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&files("d/ d/.wh.x=1")), "\"d/.wh.x\"");
    let mut whiteout = files("d/");
    let kind = FileKind::CharDevice(Device { major: 0, minor: 0 });
    whiteout.create(b"d/c", kind, plain(0o644), Vec::new());
    assert_eq!(refused(&whiteout), "\"d/c\"");
}

#[test]
fn a_file_that_became_shorter_makes_an_error_that_names_it() {
    let (a, mut b) = (Files::new(), files("d/ d/f=123"));
    b.inode(b"d/f").unwrap().kind = FileKind::File { size: 10 };
    let error = layer(&a, &b).unwrap_err();
    assert!(
        matches!(&error, Error::Unsteady { path } if path == "\"d/f\""),
        "{error}"
    );
}

#[test]
fn a_file_with_large_holes_is_small_in_the_tar() {
    let mut b = Files::new();
    let mut bytes = vec![0; 10 << 20];
    bytes[5 << 20] = 1;
    let kind = FileKind::File {
        size: bytes.len() as u64,
    };
    b.create(b"sparse", kind, plain(0o644), bytes);
    assert!(layer(&Files::new(), &b).unwrap().len() < 20_000);
    check(&Files::new(), &b);
}

#[test]
fn layers_are_the_same_every_time() {
    let b = files("d/ d/a=1 d/b=2 c=3");
    assert_eq!(
        layer(&Files::new(), &b).unwrap(),
        layer(&Files::new(), &b).unwrap()
    );
}

#[test]
fn a_file_without_a_description_is_none() {
    let tree = split(&layer(&files("f=1"), &files("f=1")).unwrap(), 0).0;
    assert!(
        matches!(&tree.node(NodeId::ROOT).content, Content::Directory(names) if names.is_empty())
    );
}
