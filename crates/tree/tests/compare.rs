//! Tars as the field's programs write them, compared with the files they were made of.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]
#![expect(clippy::disallowed_methods, reason = "files of a test need not last")]

mod shared;

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use lapstrake_tree::model::{Content, NodeId, Tree};
use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, makedev},
    io::Errno,
};
use shared::describe::contents;

/// How much a format can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fixture {
    /// Names of 100 bytes, no devices: the oldest tars.
    Simple,
    /// Devices too.
    Devices,
    /// Anything of names, owners and times before 1970.
    Anything,
    /// Fractions of seconds before 1970, which libarchive writes its own way.
    Fractions,
}

/// How exact times are.
#[derive(Debug, Clone, Copy)]
enum Times {
    /// Whole seconds.
    Seconds,
    /// A float of seconds.
    Microseconds,
    Nanoseconds,
}

/// What is compared beside kinds, modes, owners, contents and links.
#[derive(Debug, Clone, Copy)]
struct Said {
    times: Times,
    xattrs: bool,
}

const OLD: Said = Said {
    times: Times::Seconds,
    xattrs: false,
};
const PYTHON: Said = Said {
    times: Times::Microseconds,
    xattrs: false,
};
const PAX: Said = Said {
    times: Times::Nanoseconds,
    xattrs: false,
};
const PAX_XATTRS: Said = Said {
    times: Times::Nanoseconds,
    xattrs: true,
};

fn make(root: &Path, fixture: Fixture) {
    fs::create_dir_all(root.join("d/e")).unwrap();
    fs::write(root.join("a"), "hello").unwrap();
    fs::write(root.join("empty"), "").unwrap();
    let big: Vec<u8> = (0..3_000_000_u32)
        .flat_map(|number| number.to_le_bytes())
        .collect();
    fs::write(root.join("d/big"), &big[..5_000_001]).unwrap();
    fs::hard_link(root.join("a"), root.join("d/e/hard")).unwrap();
    symlink("../a", root.join("d/link")).unwrap();
    fs::write(root.join("suid"), "x").unwrap();
    fs::set_permissions(root.join("suid"), fs::Permissions::from_mode(0o6755)).unwrap();
    fs::set_permissions(root.join("d"), fs::Permissions::from_mode(0o1777)).unwrap();
    make_sparse(
        &root.join("holes"),
        &[(0, 10), (300_000, 5000), (2_000_000, 1)],
        5_000_000,
    );
    make_sparse(&root.join("all-hole"), &[], 1 << 20);
    let many: Vec<_> = (0..60).map(|run| (run * 40_960 + 8192, 100)).collect();
    make_sparse(&root.join("many-holes"), &many, 60 * 40_960);
    if fixture >= Fixture::Devices {
        for (name, kind, device) in [
            ("pipe", FileType::Fifo, 0),
            ("null", FileType::CharacterDevice, makedev(1, 3)),
            ("disk", FileType::BlockDevice, makedev(259, 70_000)),
        ] {
            let mode = Mode::from_raw_mode(0o640);
            rustix::fs::mknodat(CWD, root.join(name), kind, mode, device).unwrap();
        }
    }
    if fixture >= Fixture::Anything {
        make_anything(root);
    }
    if fixture >= Fixture::Fractions {
        set_times(root, "ancient", -1_000_000, 500_000_000);
    }
    set_times(root, "a", 1_700_000_000, 123_456_789);
    set_times(root, "d/link", 1_600_000_000, 1);
    set_times(root, "d", 1_500_000_000, 999_999_000);
}

fn make_anything(root: &Path) {
    let long = "n".repeat(255);
    fs::write(root.join(&long), "long").unwrap();
    let deep = root.join(["d".repeat(120), "e".repeat(200)].join("/"));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("f"), "deep").unwrap();
    symlink("t".repeat(300), root.join("long-link")).unwrap();
    fs::hard_link(deep.join("f"), root.join("hard-to-deep")).unwrap();
    fs::write(
        root.join(OsStr::from_bytes(b"\xff\xfe latin \xe9")),
        "bytes",
    )
    .unwrap();
    fs::write(root.join("new\nline"), "").unwrap();
    std::os::unix::fs::chown(root.join("empty"), Some(3_000_000_000), Some(4_000_000_000)).unwrap();
    fs::write(root.join("ancient"), "").unwrap();
    set_times(root, "ancient", -1_000_000, 0);
    fs::write(root.join("far"), "").unwrap();
    set_times(root, "far", 12_000_000_000, 250_000_000);
}

fn make_xattrs(root: &Path) {
    use rustix::fs::{XattrFlags, lsetxattr};
    let set = |name: &str, key: &str, value: &[u8]| {
        lsetxattr(root.join(name), key, value, XattrFlags::empty()).unwrap();
    };
    set("a", "user.text", b"plain");
    set("a", "user.binary", b"\0\n=\xff");
    set("a", "user.empty", b"");
    set("d", "trusted.secret", b"only root");
    set("d", "user.large", &[b'x'; 2000]);
    // user::rw- user:12345:r-- group::r-- mask::rw- other::---
    let list = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x04\0\x39\x30\0\0\x04\0\x04\0\
        \xff\xff\xff\xff\x10\0\x06\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff";
    set("a", "system.posix_acl_access", list);
    set("d/e", "system.posix_acl_default", list);
    set(
        "suid",
        "security.capability",
        b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    );
}

fn make_sparse(path: &Path, runs: &[(u64, usize)], size: u64) {
    use std::os::unix::fs::FileExt;
    let file = fs::File::create(path).unwrap();
    file.set_len(size).unwrap();
    for (offset, length) in runs {
        file.write_all_at(&vec![b'#'; *length], *offset).unwrap();
    }
}

fn set_times(root: &Path, name: &str, tv_sec: i64, tv_nsec: i64) {
    let time = Timespec { tv_sec, tv_nsec };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(CWD, root.join(name), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Runs a program on a tree of files, splits what it printed, and compares.
#[track_caller]
fn compare(fixture: Fixture, said: Said, program: &str, arguments: &[&str]) {
    if Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        eprintln!("SKIPPED: there is no {program}");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    make(&root, fixture);
    if said.xattrs {
        make_xattrs(&root);
    }
    let output = Command::new(program)
        .args(arguments)
        .current_dir(&root)
        .stderr(Stdio::inherit())
        .output();
    let output = output.unwrap();
    assert!(output.status.success(), "{program} failed");
    let (tree, data) = shared::check(&output.stdout).unwrap();
    compare_node(&tree, &data, NodeId::ROOT, &root, said);
}

fn compare_node(tree: &Tree, data: &[u8], id: NodeId, path: &Path, said: Said) {
    let (node, there) = (tree.node(id), fs::symlink_metadata(path).unwrap());
    let kind = there.file_type();
    let metadata = &node.metadata;
    if !kind.is_symlink() {
        assert_eq!(
            u32::from(metadata.mode),
            there.mode() & 0o7777,
            "mode of {path:?}"
        );
    }
    assert_eq!(
        (metadata.uid, metadata.gid),
        (there.uid(), there.gid()),
        "owner of {path:?}"
    );
    assert_eq!(metadata.mtime.seconds, there.mtime(), "time of {path:?}");
    let nanoseconds = i64::from(metadata.mtime.nanoseconds);
    let apart = match said.times {
        Times::Seconds => nanoseconds,
        Times::Microseconds => (there.mtime_nsec() - nanoseconds).abs() / 1000,
        Times::Nanoseconds => there.mtime_nsec() - nanoseconds,
    };
    assert_eq!(apart, 0, "time of {path:?}");
    if said.xattrs {
        let ours: BTreeMap<_, _> = metadata
            .xattrs
            .iter()
            .map(|(name, value)| (name.to_vec(), value.to_vec()))
            .collect();
        assert_eq!(ours, xattrs(path), "attributes of {path:?}");
    }
    match &node.content {
        Content::Directory(_) => {
            assert!(kind.is_dir(), "{path:?}");
            compare_directory(tree, data, id, path, said);
        }
        Content::File { .. } => {
            assert!(kind.is_file(), "{path:?}");
            assert!(
                contents(tree, data, id) == fs::read(path).unwrap(),
                "contents of {path:?}"
            );
        }
        Content::Symlink(target) => {
            assert_eq!(
                &**target,
                fs::read_link(path).unwrap().as_os_str().as_bytes()
            );
        }
        Content::CharDevice(device) | Content::BlockDevice(device) => {
            assert!(kind.is_char_device() || kind.is_block_device());
            assert_eq!(
                makedev(device.major, device.minor),
                there.rdev(),
                "{path:?}"
            );
        }
        Content::Fifo => assert!(kind.is_fifo(), "{path:?}"),
    }
}

fn compare_directory(tree: &Tree, data: &[u8], id: NodeId, path: &Path, said: Said) {
    let ours: Vec<OsString> = tree
        .children(id)
        .map(|(name, _)| OsStr::from_bytes(name).to_owned())
        .collect();
    let mut theirs: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    theirs.sort();
    assert_eq!(ours, theirs, "entries of {path:?}");
    for (name, child) in tree.children(id) {
        compare_node(tree, data, child, &path.join(OsStr::from_bytes(name)), said);
    }
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 1 << 16];
    let length = match rustix::fs::llistxattr(path, &mut names) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => 0,
        Err(error) => panic!("{error}"),
    };
    names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0; 1 << 16];
            let length = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value).unwrap();
            value.truncate(length);
            (name.to_vec(), value)
        })
        .collect()
}

#[test]
fn privileged_gnu_tar_in_every_format() {
    for format in ["v7", "oldgnu", "gnu", "ustar", "pax"] {
        let (fixture, said) = match format {
            "v7" => (Fixture::Simple, OLD),
            "ustar" => (Fixture::Devices, OLD),
            "pax" => (Fixture::Fractions, PAX),
            _ => (Fixture::Anything, OLD),
        };
        compare(
            fixture,
            said,
            "tar",
            &["-c", &format!("--format={format}"), "."],
        );
    }
}

#[test]
fn privileged_gnu_tar_with_sparse_files() {
    for format in ["oldgnu", "gnu"] {
        compare(
            Fixture::Anything,
            OLD,
            "tar",
            &["-cS", &format!("--format={format}"), "."],
        );
    }
    for version in ["0.0", "0.1", "1.0"] {
        let version = format!("--sparse-version={version}");
        compare(
            Fixture::Anything,
            PAX,
            "tar",
            &["-cS", "--format=pax", &version, "."],
        );
    }
}

#[test]
fn privileged_gnu_tar_with_attributes() {
    let arguments = ["-c", "--format=pax", "--xattrs", "--xattrs-include=*", "."];
    compare(Fixture::Fractions, PAX_XATTRS, "tar", &arguments);
    let arguments = [
        "-c",
        "--format=pax",
        "--acls",
        "--xattrs",
        "--xattrs-include=*",
        ".",
    ];
    compare(Fixture::Fractions, PAX_XATTRS, "tar", &arguments);
}

#[test]
fn privileged_bsdtar() {
    for (format, fixture, said) in [
        ("v7", Fixture::Simple, OLD),
        ("ustar", Fixture::Devices, OLD),
        ("gnutar", Fixture::Devices, OLD),
        ("pax", Fixture::Anything, PAX_XATTRS),
    ] {
        let format = format!("--format={format}");
        compare(
            fixture,
            said,
            "bsdtar",
            &["-c", "--acls", "--xattrs", &format, "-f", "-", "."],
        );
    }
}

#[test]
fn privileged_python() {
    for (format, fixture, said) in [
        ("USTAR", Fixture::Devices, OLD),
        ("GNU", Fixture::Anything, OLD),
        ("PAX", Fixture::Anything, PYTHON),
    ] {
        let script = format!(
            "import sys, tarfile
tarfile.open(fileobj=sys.stdout.buffer, mode='w|', format=tarfile.{format}_FORMAT).add('.')"
        );
        compare(fixture, said, "python3", &["-c", &script]);
    }
}

/// Real trees, whatever is in them: GNU tar's own extraction is compared with ours.
#[test]
fn privileged_a_part_of_this_system() {
    let directory = tempfile::tempdir().unwrap();
    for source in ["/etc", "/var/lib/dpkg/alternatives"] {
        let output = Command::new("tar")
            .args(["-cC", source, "--format=pax", "."])
            .output();
        let output = output.unwrap();
        let extracted: PathBuf = directory.path().join(source.replace('/', "_"));
        fs::create_dir(&extracted).unwrap();
        let mut untar = Command::new("tar")
            .arg("-xpC")
            .arg(&extracted)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(untar.stdin.as_mut().unwrap(), &output.stdout).unwrap();
        assert!(untar.wait().unwrap().success());
        let (tree, data) = shared::check(&output.stdout).unwrap();
        compare_node(&tree, &data, NodeId::ROOT, &extracted, PAX);
    }
}
