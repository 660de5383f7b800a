//! Layers from tars that come alone.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{self, Read, Write as _};

use lapstrake_oci::{Algorithm, DiffId};
use lapstrake_store::{HostId, LayerState, Store};
use lapstrake_testkit::tar::Tar;
use lapstrake_transfer::{Class, Limits, add_tar, check_layer};

struct Scene {
    dir: tempfile::TempDir,
    store: Store,
}

fn scene() -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), &HostId::from_hostname("h"), "boot").unwrap();
    store.sweep().unwrap();
    Scene { dir, store }
}

impl Scene {
    /// Files that are being written, or were and are left.
    fn left(&self) -> usize {
        let tmp = self.dir.path().join("content/tmp/h");
        std::fs::read_dir(tmp).unwrap().count()
    }
}

fn tar() -> Vec<u8> {
    let words = (0..300_000_u32).map(|at| at.wrapping_mul(2_654_435_761));
    let big: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
    Tar::default()
        .directory("dir", 0o755)
        .file("dir/big", 0o644, &big)
        .file("small", 0o600, b"hello")
        .finish()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = std::process::Command::new("gzip")
        .arg("-c")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = out.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let feed = std::thread::spawn(move || stdin.write_all(&bytes).unwrap());
    let out = out.wait_with_output().unwrap();
    feed.join().unwrap();
    out.stdout
}

#[test]
fn a_tar_becomes_a_layer_that_is_on_disk_compressed_or_not() {
    let tar = tar();
    for input in [tar.clone(), gzip(&tar)] {
        let scene = scene();
        let layer = add_tar(&scene.store, &input[..], Limits::DEFAULT).unwrap();
        assert_eq!(layer.record.diff_id, DiffId(Algorithm::Sha256.digest(&tar)));
        assert_eq!(layer.record.tar_len, tar.len() as u64);
        assert_eq!(layer.record.state, LayerState::Proved);
        check_layer(&scene.store, &layer.record.diff_id).unwrap();
        assert_eq!(scene.left(), 0);
    }
}

/// Gives some bytes and then fails.
struct Broken(Vec<u8>);

impl Read for Broken {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Err(io::Error::other("the pipe broke"));
        }
        let step = out.len().min(self.0.len()).min(70_000);
        out[..step].copy_from_slice(&self.0[..step]);
        self.0.drain(..step);
        Ok(step)
    }
}

#[test]
fn what_is_no_whole_tar_leaves_nothing() {
    let tar = tar();
    let packed = gzip(&tar);
    let strict = Limits {
        tar_bytes: 100_000,
        ..Limits::DEFAULT
    };
    let cases: [(Box<dyn Read>, Limits, Class, &str); 5] = [
        (
            Box::new(io::Cursor::new(tar[..900_000].to_vec())),
            Limits::DEFAULT,
            Class::Invalid,
            "ends at byte",
        ),
        (
            Box::new(io::Cursor::new(packed[..900_000].to_vec())),
            Limits::DEFAULT,
            Class::Invalid,
            "too early",
        ),
        (
            Box::new(io::Cursor::new(b"no tar at all".repeat(100))),
            Limits::DEFAULT,
            Class::Invalid,
            "no valid tar header",
        ),
        (
            Box::new(Broken(tar[..900_000].to_vec())),
            Limits::DEFAULT,
            Class::Internal,
            "the pipe broke",
        ),
        (
            Box::new(io::Cursor::new(packed)),
            strict,
            Class::Invalid,
            "more than 100000 bytes",
        ),
    ];
    for (input, limits, class, words) in cases {
        let scene = scene();
        let error = add_tar(&scene.store, input, limits).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.class(), class, "{error}");
        assert_eq!(scene.left(), 0);
        let layers = scene.dir.path().join("content/layers");
        assert_eq!(std::fs::read_dir(layers).unwrap().count(), 0);
    }
}
