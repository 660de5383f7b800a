//! A layer made from a tar: everything that a pull leaves behind.
#![allow(dead_code, reason = "each user needs a part of it")]
#![allow(unreachable_pub, reason = "a module of several test crates")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]
#![allow(clippy::disallowed_methods, reason = "nothing here has to last")]

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use lapstrake_fill::decode::{Decoder, Limits, SpanPolicy};
use lapstrake_fill::refill::Layer;
use lapstrake_fill::source::Source;
use lapstrake_fill::spans::{Blob, SpanRecorder, SpanTable};
use lapstrake_oci::Compression;
use lapstrake_oci::{Algorithm, DiffId};
use lapstrake_tree::model::Tree;
use lapstrake_tree::split::Splitter;

pub struct Made {
    pub blob: Vec<u8>,
    pub tar: Vec<u8>,
    pub data: Vec<u8>,
    pub skeleton: Vec<u8>,
    pub spans: Vec<u8>,
    pub tree: Tree,
    pub diff_id: DiffId,
}

/// Bytes that compress about by half, other ones for each seed.
pub fn content(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let [one, two, three, ..] = state.to_le_bytes();
        bytes.extend([one & 0x1f | 0x40, two & 0x0f | 0x61, b'l', three | 1]);
    }
    bytes.truncate(length);
    bytes
}

/// The tar of a directory, as GNU tar makes it.
pub fn tar_of(directory: &Path) -> Vec<u8> {
    let output = Command::new("tar")
        .args(["--sort=name", "-cf", "-", "-C"])
        .arg(directory)
        .arg(".")
        .output()
        .unwrap();
    assert!(output.status.success());
    output.stdout
}

pub fn compress(compression: Compression, tar: &[u8]) -> Vec<u8> {
    match compression {
        Compression::None => tar.to_vec(),
        Compression::Gzip => {
            let level = flate2::Compression::new(6);
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(tar).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Zstd => zstd::bulk::compress(tar, 3).unwrap(),
    }
}

/// What a pull does with the blob.
pub fn pull(blob: Vec<u8>, span_bytes: u32) -> Made {
    let compression = Compression::detect(&blob);
    let policy = SpanPolicy {
        bytes: span_bytes.try_into().unwrap(),
    };
    let limits = Limits { tar_bytes: 1 << 40 };
    let mut decoder = Decoder::new(compression, policy, limits).unwrap();
    let mut recorder = SpanRecorder::new().unwrap();
    let mut splitter = Splitter::new(lapstrake_tree::limits::Limits::DEFAULT);
    let (mut tar, mut data, mut at) = (Vec::new(), Vec::new(), 0);
    let mut output = vec![0; 1 << 20];
    loop {
        let step = decoder.decode(&blob[at..], &mut output).unwrap();
        let produced = &output[..step.produced];
        at += step.consumed;
        tar.extend_from_slice(produced);
        recorder.update(produced);
        splitter.feed(produced, &mut data).unwrap();
        let more = step.boundary.is_some() || step.produced == output.len();
        if let Some(boundary) = step.boundary {
            recorder.cut(boundary).unwrap();
        }
        if !more && at == blob.len() {
            break;
        }
    }
    decoder.finish().unwrap();
    let layer = splitter.finish(&mut data).unwrap();
    let spans = recorder.finish(Blob {
        digest: Algorithm::Sha256.digest(&blob),
        compression,
        bytes: blob.len() as u64,
    });
    let diff_id = DiffId(Algorithm::Sha256.digest(&tar));
    let (skeleton, tree, spans) = (layer.skeleton, layer.tree, spans.to_bytes());
    Made {
        blob,
        tar,
        data,
        skeleton,
        spans,
        tree,
        diff_id,
    }
}

/// The layer with this `data`, and a source.
pub fn open(made: &Made, data: File, source: Box<dyn Source>) -> Layer {
    let table = SpanTable::from_bytes(&made.spans).unwrap();
    Layer::new(table, made.skeleton.clone(), data, source).unwrap()
}
