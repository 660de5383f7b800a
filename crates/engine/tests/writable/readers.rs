//! What others make of a committed layer: GNU tar, and podman, whose reader is Docker's and containerd's.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use lapstrake_engine::{Access, Committed};
use lapstrake_oci::{Config, DiffId, Parsed};
use lapstrake_testkit::tar::Tar;
use lapstrake_tree::view::TarView;
use rustix::fs::XattrFlags;

use crate::scene::{Scene, erofs};
use crate::tree::seen;

const LONG: &str = "a-name-of-a-hundred-bytes-and-more-which-no-header-of-the-old-kind-can-hold-so-that-\
                    an-extended-one-has-to";

/// Changes of every kind that a tar has a way to say.
pub(crate) fn change(root: &Path) {
    fs::create_dir_all(root.join(LONG).join(LONG)).unwrap();
    fs::write(root.join(LONG).join(LONG).join("f"), "deep").unwrap();
    symlink(LONG.repeat(2), root.join("long-link")).unwrap();
    fs::hard_link(root.join(LONG).join(LONG).join("f"), root.join("hard")).unwrap();
    let sparse = File::create(root.join("sparse")).unwrap();
    sparse.write_all_at(&[1; 5000], 3 << 20).unwrap();
    sparse.set_len(8 << 20).unwrap();
    let flags = XattrFlags::empty();
    rustix::fs::setxattr(root.join("sparse"), "user.binary", b"\0\n=\xff", flags).unwrap();
    rustix::fs::setxattr(root.join("hard"), "user.text", b"text", flags).unwrap();
    let (uid, gid) = (3_000_000, 4_000_000);
    std::os::unix::fs::chown(root.join("hard"), Some(uid), Some(gid)).unwrap();
    // cap_net_raw=ep, in the second version of the format.
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    rustix::fs::setxattr(root.join("hard"), "security.capability", capability, flags).unwrap();
    fs::remove_file(root.join("a/f")).unwrap();
    fs::remove_dir_all(root.join("c/c")).unwrap();
    fs::create_dir(root.join("c/c")).unwrap();
    fs::write(root.join("c/c/new"), "new").unwrap();
    fs::rename(root.join("b"), root.join("moved")).unwrap();
}

/// Writes a layer's tar to a file.
fn layer(scene: &Scene, id: &DiffId, to: &Path) {
    let (hex, layers) = (id.0.hex(), scene.dir.path().join("root/content/layers"));
    let dir = layers.join("sha256").join(&hex[..2]).join(hex);
    let open = |name| File::open(dir.join(name)).unwrap();
    let mut view = TarView::new(open("skeleton"), open("data")).unwrap();
    std::io::copy(&mut view, &mut File::create(to).unwrap()).unwrap();
}

fn committed(test: &str) -> Option<(Scene, BTreeMap<String, String>, Committed)> {
    let scene = Scene::new(test, erofs)?;
    let root = scene.change(&scene.image, "one");
    change(&root);
    scene.engine.unmount(&root).unwrap();
    let (image, committed) = scene.commit("one", "made:1");
    let fresh = scene.mount(&image, &Access::ReadOnly);
    let seen = seen(&fresh);
    scene.engine.unmount(&fresh).unwrap();
    Some((scene, seen, committed))
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn privileged_gnu_tar_unpacks_a_committed_layer() {
    let Some((scene, expected, made)) = committed("gnu tar") else {
        return;
    };
    let tar = scene.dir.path().join("layer.tar");
    layer(&scene, &made.layer.unwrap().diff_id, &tar);
    let to = scene.dir.path().join("unpacked");
    fs::create_dir(&to).unwrap();
    let unpack = ["--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf"];
    run(Command::new("tar")
        .args(unpack)
        .arg(&tar)
        .arg("-C")
        .arg(&to));
    let unpacked = seen(&to);
    let deep = format!("{LONG}/{LONG}/f");
    for path in [
        "sparse",
        "hard",
        "long-link",
        &deep,
        LONG,
        "moved/f",
        "c/c/new",
        "",
    ] {
        assert_eq!(unpacked.get(path), expected.get(path), "{path}");
    }
    let disk = Command::new("du").arg("-k").arg(to.join("sparse")).output();
    let disk = String::from_utf8(disk.unwrap().stdout).unwrap();
    let kilobytes: u64 = disk.split_whitespace().next().unwrap().parse().unwrap();
    assert!(kilobytes < 100, "{disk}");
}

/// The image as `docker save` would write it.
fn archive(scene: &Scene, made: &Committed) -> PathBuf {
    let hex = made.image.config.hex();
    let blobs = scene.dir.path().join("root/content/blobs/sha256");
    let config = fs::read(blobs.join(&hex[..2]).join(hex)).unwrap();
    let parsed = Parsed::<Config>::config(config.clone()).unwrap();
    let mut archive = Tar::default();
    archive.file("config.json", 0o644, &config);
    let mut names = Vec::new();
    for (number, id) in parsed.value().rootfs.diff_ids.iter().enumerate() {
        let path = scene.dir.path().join("layer.tar");
        layer(scene, id, &path);
        let name = format!("{number}.tar");
        archive.file(&name, 0o644, &fs::read(&path).unwrap());
        names.push(format!("{name:?}"));
    }
    let manifest = format!(
        "[{{\"Config\":\"config.json\",\"RepoTags\":[\"made:1\"],\"Layers\":[{}]}}]",
        names.join(",")
    );
    archive.file("manifest.json", 0o644, manifest.as_bytes());
    let path = scene.dir.path().join("archive.tar");
    let mut file = File::create(&path).unwrap();
    file.write_all(&archive.finish()).unwrap();
    path
}

#[test]
fn privileged_podman_loads_a_committed_image() {
    if Command::new("podman").arg("--version").output().is_err() {
        eprintln!("SKIPPED podman: it is not installed");
        return;
    }
    let Some((scene, expected, made)) = committed("podman") else {
        return;
    };
    let archive = archive(&scene, &made);
    let at = |name: &str| scene.dir.path().join(name);
    let podman = || {
        let mut podman = Command::new("podman");
        podman
            .args(["--storage-driver", "vfs", "--root"])
            .arg(at("p"));
        podman.arg("--runroot").arg(at("r"));
        podman
    };
    run(podman().args(["load", "-i"]).arg(&archive));
    let root = run(podman().args(["image", "mount", "localhost/made:1"]));
    let loaded = seen(Path::new(root.trim()));
    run(podman().args(["image", "unmount", "--all"]));
    // Podman keeps some attributes only, and makes the root anew.
    let plain = |all: &BTreeMap<String, String>| -> BTreeMap<String, String> {
        let without = |text: &String| {
            let (before, after) = text.split_once('{').unwrap_or((text, ""));
            let after = after.split_once('}').map_or("", |(_, after)| after);
            format!("{before}{after}")
        };
        let below = all.iter().filter(|(path, _)| !path.is_empty());
        below
            .map(|(path, text)| (path.clone(), without(text)))
            .collect()
    };
    assert_eq!(plain(&loaded), plain(&expected));
    assert!(
        loaded["sparse"].contains("user.binary"),
        "{}",
        loaded["sparse"]
    );
}
