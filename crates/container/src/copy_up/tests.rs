//! What comes along, and what is copied again.
#![expect(clippy::disallowed_methods, reason = "files of a test need not last")]

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};

use rustix::fs::CWD;

use super::*;

fn open(path: &Path) -> OwnedFd {
    open_dir(CWD.as_fd(), path.as_os_str().as_encoded_bytes()).unwrap()
}

#[test]
fn everything_comes_along() {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let (root, volume) = (dir.path().join("root"), dir.path().join("volume"));
    fs::create_dir_all(root.join("data/sub")).unwrap();
    fs::create_dir(&volume).unwrap();
    let data = root.join("data");
    fs::write(data.join("sub/file"), "content").unwrap();
    fs::set_permissions(data.join("sub/file"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::hard_link(data.join("sub/file"), data.join("same")).unwrap();
    symlink("sub/file", data.join("link")).unwrap();
    let sparse = File::create(data.join("sparse")).unwrap();
    sparse.set_len(16 << 20).unwrap();
    rustix::fs::mknodat(CWD, data.join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(data.join("socket")).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    let has_xattrs = rustix::fs::setxattr(data.join("sub"), "user.a", b"b", flags).is_ok();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o1770)).unwrap();
    symlink("data", root.join("by-link")).unwrap();

    let content = content_at(&root, Path::new("/by-link")).unwrap().unwrap();
    assert!(is_empty(open(&volume).as_fd()).unwrap());
    copy(content.as_fd(), open(&volume).as_fd()).unwrap();
    assert!(!is_empty(open(&volume).as_fd()).unwrap());

    let stat = |path: &str| fs::symlink_metadata(volume.join(path)).unwrap();
    assert_eq!(
        fs::read_to_string(volume.join("sub/file")).unwrap(),
        "content"
    );
    assert_eq!(stat("sub/file").mode() & 0o7777, 0o4751);
    assert_eq!(stat("sub/file").ino(), stat("same").ino());
    assert_eq!(
        fs::read_link(volume.join("link")).unwrap(),
        Path::new("sub/file")
    );
    assert_eq!(stat("sparse").len(), 16 << 20);
    assert!(stat("sparse").blocks() * 512 < 1 << 20);
    assert!(stat("pipe").file_type().is_fifo());
    assert!(!volume.join("socket").exists());
    assert_eq!(stat("").mode() & 0o7777, 0o1770);
    let times = |path: &Path| fs::symlink_metadata(path).unwrap().modified().unwrap();
    for path in ["", "sub", "sub/file", "link", "pipe"] {
        assert_eq!(times(&volume.join(path)), times(&data.join(path)), "{path}");
    }
    if has_xattrs {
        let value = lapstrake_sys::xattr::get(&volume.join("sub"), b"user.a").unwrap();
        assert_eq!(value.as_deref(), Some(&b"b"[..]));
    }
    clear(open(&volume).as_fd()).unwrap();
    assert!(is_empty(open(&volume).as_fd()).unwrap());
    assert!(data.join("sub/file").exists());
}

#[test]
fn privileged_owners_devices_and_capabilities_come_along() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED privileged_owners_devices_and_capabilities_come_along: needs root");
        return;
    }
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let (data, volume) = (dir.path().join("data"), dir.path().join("volume"));
    fs::create_dir(&data).unwrap();
    fs::create_dir(&volume).unwrap();
    fs::write(data.join("ping"), "x").unwrap();
    // CAP_NET_RAW, permitted and effective: revision 2 of the attribute.
    let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let flags = rustix::fs::XattrFlags::empty();
    std::os::unix::fs::chown(data.join("ping"), Some(7), Some(8)).unwrap();
    rustix::fs::setxattr(data.join("ping"), "security.capability", &capability, flags).unwrap();
    let null = rustix::fs::makedev(1, 3);
    let kind = FileType::CharacterDevice;
    rustix::fs::mknodat(CWD, data.join("null"), kind, Mode::RUSR, null).unwrap();
    std::os::unix::fs::chown(&data, Some(70), Some(80)).unwrap();
    copy(open(&data).as_fd(), open(&volume).as_fd()).unwrap();
    let owner = |path: &str| {
        let stat = fs::symlink_metadata(volume.join(path)).unwrap();
        (stat.uid(), stat.gid())
    };
    assert_eq!((owner("ping"), owner("")), ((7, 8), (70, 80)));
    let value = lapstrake_sys::xattr::get(&volume.join("ping"), b"security.capability").unwrap();
    assert_eq!(value.as_deref(), Some(&capability[..]));
    assert_eq!(fs::metadata(volume.join("null")).unwrap().rdev(), null);
}

#[test]
fn what_is_no_directory_has_no_content() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "x").unwrap();
    for path in ["/file", "/gone", "/gone/below", "/file/below"] {
        assert!(
            content_at(dir.path(), Path::new(path)).unwrap().is_none(),
            "{path}"
        );
    }
    assert!(content_at(dir.path(), Path::new("/..")).unwrap().is_some());
}
