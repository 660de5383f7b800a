//! What is said of a writable layer that the kernel wrote, beside what was done.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::path::Path;
use std::process::Command;

use lapstrake_snapshot::FileTree;
use lapstrake_tree::changes::{ChangeKind, Changes, Entry, Place, What, Writable, changes};

/// An overlay that is unmounted in the end.
struct Overlay(tempfile::TempDir);

fn sh(dir: &Path, script: &str) {
    let status = Command::new("sh")
        .args(["-euc", script])
        .current_dir(dir)
        .status();
    assert!(status.unwrap().success(), "{script}");
}

impl Overlay {
    fn mount(below: &str, options: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let overlay = Self(dir);
        let at = overlay.0.path();
        sh(at, "mkdir lower upper work merged");
        sh(&at.join("lower"), below);
        // As drivers do: what is not changed of the root looks like the stack's.
        sh(at, "touch -r lower upper");
        sh(
            at,
            &format!(
                "mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work,{options} merged"
            ),
        );
        overlay
    }

    fn changes(&self) -> Changes {
        let open = |name| FileTree::open(&self.0.path().join(name)).unwrap();
        changes(&Writable::Upper(&open("upper")), &open("lower")).unwrap()
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let merged = self.0.path().join("merged");
        drop(Command::new("umount").arg(merged).status());
    }
}

const FULL: &str = "xino=on,index=off,redirect_dir=nofollow,metacopy=off";
const BY_REFERENCE: &str = "xino=on,index=off,metacopy=on,redirect_dir=on";

fn list(changes: &Changes) -> Vec<String> {
    let all = changes.list.iter().map(|change| {
        let letter = match change.kind {
            ChangeKind::Modified => 'C',
            ChangeKind::Added => 'A',
            ChangeKind::Deleted => 'D',
        };
        format!("{letter} {}", change.path.escape_ascii())
    });
    all.collect()
}

/// Entries of the layer other than its root, each in a word.
fn layer(changes: &Changes) -> Vec<String> {
    let word = |entry: &Entry| {
        let path = entry.path.escape_ascii();
        match &entry.what {
            What::Whiteout => format!("-{path}"),
            What::Directory { opaque: true, .. } => format!("{path}/!"),
            What::Directory { .. } => format!("{path}/"),
            What::HardLink { target, .. } => format!("{path}={}", target.escape_ascii()),
            What::Other { .. } => format!("{path}*"),
            What::File { bytes, .. } => match bytes {
                Place::Upper(_) => path.to_string(),
                Place::Lower(from) => format!("{path}<{}", from.escape_ascii()),
            },
        }
    };
    let below_root = changes
        .entries
        .iter()
        .filter(|entry| !entry.path.is_empty());
    below_root.map(word).collect()
}

fn check(below: &str, done: &str, options: &str, listed: &str, in_layer: &str) {
    let overlay = Overlay::mount(below, options);
    sh(&overlay.0.path().join("merged"), done);
    let changes = overlay.changes();
    assert_eq!(list(&changes).join(", "), listed, "{done}");
    assert_eq!(layer(&changes).join(" "), in_layer, "{done}");
}

#[test]
fn privileged_what_overlay_wrote_is_what_was_done() {
    let tree = "mkdir -p d/e; echo 1 > d/e/f; echo 1 > d/g; echo 1 > h; ln h i; ln -s h l";
    for (done, listed, in_layer) in [
        ("true", "", ""),
        ("cat h", "", ""),
        ("echo 2 > d/g", "C d, C d/g", "d/ d/g"),
        ("rm d/g", "C d, D d/g", "d/ -d/g"),
        ("rm -r d", "D d", "-d"),
        ("rm -r d; mkdir d", "C d, D d/e, D d/g", "d/!"),
        (
            "rm -r d; mkdir d; echo 2 > d/g",
            "C d, D d/e, C d/g",
            "d/! d/g",
        ),
        ("rm -r d; echo 1 > d", "C d", "d"),
        ("rm h; mkdir h; echo > h/x", "C h, A h/x", "h/ h/x"),
        ("mv d/g g", "C d, D d/g, A g", "d/ -d/g g"),
        ("chmod 600 d", "C d", "d/"),
        ("touch d/x; rm d/x", "", "d/"),
        ("ln d/g k", "A k", "d/ d/g k=d/g"),
        ("echo 2 > h", "C h", "h"),
        ("rm i", "D i", "-i"),
        ("mkfifo p; mknod c c 1 3", "A c, A p", "c* p*"),
        ("setfattr -n user.x -v y d/g", "C d, C d/g", "d/ d/g"),
        ("rm l; ln -s i l", "C l", "l*"),
    ] {
        check(tree, done, FULL, listed, in_layer);
    }
}

#[test]
fn privileged_a_file_opened_to_be_written_but_not_changed_is_left_out() {
    let below = "mkdir d; echo 1 > d/f; echo 1 > g; ln g h";
    check(below, ": >> d/f", FULL, "", "");
    // Once copied, it is no longer the file that its other name is.
    check(below, ": >> g", FULL, "", "g");
}

#[test]
fn privileged_what_overlay_wrote_by_reference_is_found_below() {
    let tree = "mkdir -p d/e; echo 1 > d/e/f; echo 1 > d/g; echo 1 > h";
    for (done, listed, in_layer) in [
        ("chmod 600 h", "C h", "h<h"),
        ("mv h k", "D h, A k", "-h k<h"),
        (
            "chmod 600 d/g; mv d/g d/k",
            "C d, D d/g, A d/k",
            "d/ -d/g d/k<d/g",
        ),
        (
            "mv d k",
            "D d, A k, A k/e, A k/e/f, A k/g",
            "-d k/ k/e/ k/e/f<d/e/f k/g<d/g",
        ),
        (
            "mv d k; rm k/g; chmod 600 k/e/f",
            "D d, A k, A k/e, A k/e/f",
            "-d k/ k/e/ k/e/f<d/e/f",
        ),
        (
            "mkdir new; mv d/e new; mv new/e new/deep; chmod 600 new/deep/f",
            "C d, D d/e, A new, A new/deep, A new/deep/f",
            "d/ -d/e new/ new/deep/ new/deep/f<d/e/f",
        ),
        (
            "mv d k; mkdir d; echo 1 > d/g",
            "C d, D d/e, C d/g, A k, A k/e, A k/e/f, A k/g",
            "d/! d/g k/ k/e/ k/e/f<d/e/f k/g<d/g",
        ),
        ("chmod 600 h; chmod 644 h", "", ""),
        ("chmod 600 h; echo 2 > h", "C h", "h"),
    ] {
        check(tree, done, BY_REFERENCE, listed, in_layer);
    }
}

#[test]
fn privileged_links_from_a_moved_directory_to_its_outside_stay_links() {
    let below = "mkdir d other; echo 1 > d/f; ln d/f other/f; echo 2 > z";
    let listed = "D d, A k, A k/f";
    check(
        below,
        "mv d k",
        BY_REFERENCE,
        listed,
        "-d k/ k/f<d/f other/ other/f=k/f",
    );
}

#[test]
fn privileged_sockets_are_skipped_and_hide_what_they_replaced() {
    let make = "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"s\")'";
    let overlay = Overlay::mount("echo 1 > s", FULL);
    sh(&overlay.0.path().join("merged"), &format!("rm s; {make}"));
    let changes = overlay.changes();
    assert_eq!(layer(&changes), ["-s"]);
    assert_eq!(changes.skipped, [Box::from(&b"s"[..])]);
}

#[test]
fn a_file_tree_is_not_left_through_links() {
    use lapstrake_tree::changes::View as _;
    let dir = tempfile::tempdir().unwrap();
    sh(
        dir.path(),
        "mkdir in; echo secret > secret; ln -s .. in/up; ln -s ../secret in/s",
    );
    let tree = FileTree::open(&dir.path().join("in")).unwrap();
    assert_eq!(tree.look(b"up/secret").unwrap(), None);
    assert!(tree.open(b"up/secret").is_err());
    assert!(tree.open(b"s").is_err());
    assert!(tree.list(b"up").unwrap().is_empty());
    assert!(tree.look(b"../secret").is_err());
}
