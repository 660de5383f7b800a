//! A store with an image in it, and a registry from which it came.
#![allow(dead_code, reason = "each user needs a part of it")]
#![allow(unreachable_pub, reason = "a module of several test crates")]
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure is the test's"
)]

use std::path::PathBuf;
use std::sync::Arc;

use lapstrake_oci::{DiffId, Digest, Platform};
use lapstrake_registry_client::{Client, Options};
use lapstrake_store::{HostId, LayerFiles, Store};
use lapstrake_testkit::registry::{Access, Added, Layer, Registry};
use lapstrake_testkit::tar::Tar;
use lapstrake_transfer::{Limits, PullOptions, pull};

pub struct Scene {
    pub registry: Registry,
    pub image: Added,
    pub layers: Vec<Layer>,
    pub dir: tempfile::TempDir,
    pub runtime: tokio::runtime::Runtime,
}

/// Bytes that repeat nowhere near.
fn content(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()
    });
    words.flatten().take(length).collect()
}

impl Scene {
    /// Three layers: one of several spans, one small, one without contents.
    pub fn pulled() -> Self {
        Self::pulled_as(Layer::plain)
    }

    /// The same, with blobs made of the tars so.
    pub fn pulled_as(blob: fn(Vec<u8>) -> Layer) -> Self {
        let tars = [
            Tar::default()
                .file("big", 0o644, &content(1, 2_500_000))
                .directory("dir", 0o755)
                .file("dir/other", 0o644, &content(2, 9000))
                .file("small", 0o644, b"hello")
                .finish(),
            Tar::default()
                .file("above", 0o600, &content(3, 5000))
                .finish(),
            Tar::default().directory("empty", 0o755).finish(),
        ];
        let layers: Vec<_> = tars.into_iter().map(blob).collect();
        let registry = Registry::start(Access::Open);
        let image = registry.add_image("app", "1", &layers);
        let scene = Self {
            registry,
            image,
            layers,
            dir: tempfile::tempdir().unwrap(),
            runtime: tokio::runtime::Runtime::new().unwrap(),
        };
        scene.pull();
        scene
    }

    pub fn pull(&self) {
        let store = Arc::new(self.store());
        let options = PullOptions {
            platform: Platform::host(),
            parallel: 2,
            limits: Limits::DEFAULT,
        };
        let client = self.client();
        let pulled = pull(
            &store,
            &client,
            &self.image.reference,
            &options,
            |_event| {},
        );
        self.runtime.block_on(pulled).unwrap();
    }

    pub fn client(&self) -> Client {
        Client::new(Options::of("test")).unwrap()
    }

    pub fn store(&self) -> Store {
        Store::open(self.dir.path(), &HostId::from_hostname("h"), "boot").unwrap()
    }

    pub fn id(&self, layer: usize) -> DiffId {
        self.layers[layer].diff_id.clone()
    }

    pub fn files(&self, layer: usize) -> LayerFiles {
        self.store().content.layer_files(&self.id(layer))
    }

    pub fn index(&self, layer: usize) -> PathBuf {
        self.store().indexes.path(&self.id(layer))
    }

    pub fn blob(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        let blobs = self.dir.path().join("content/blobs/sha256");
        blobs.join(&hex[..2]).join(hex)
    }

    /// Where the contents of a file of the first layer begin in `data`.
    pub fn data_of(&self, path: &str) -> u64 {
        let big = 2_500_000_u64.next_multiple_of(4096);
        match path {
            "/big" => 0,
            "/dir/other" => big,
            "/small" => big + 9000_u64.next_multiple_of(4096),
            _ => panic!("no file {path}"),
        }
    }
}
