//! Which image a reference leads to: by platform, by digest, by a tag that moves.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure is the test's"
)]

use std::sync::Arc;

use lapstrake_oci::{Platform, Reference, media_type};
use lapstrake_registry_client::{Client, Options};
use lapstrake_store::{HostId, Store};
use lapstrake_testkit::registry::{Access, Added, Layer, Registry};
use lapstrake_testkit::tar;
use lapstrake_transfer::{Class, Error, Limits, PullOptions, Pulled, pull};

struct Scene {
    registry: Registry,
    store: Arc<Store>,
    _dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), &HostId::from_hostname("h"), "boot").unwrap();
        Self {
            registry: Registry::start(Access::Open),
            store: Arc::new(store),
            _dir: dir,
        }
    }

    fn add(&self, tag: &str, text: &str) -> Added {
        let layer = Layer::plain(tar::of_file("file", text.as_bytes()));
        self.registry.add_image("app", tag, &[layer])
    }

    async fn pull(&self, rest: &str, platform: &str) -> Result<Pulled, Error> {
        let client = Client::new(Options::of("test")).unwrap();
        let options = PullOptions {
            platform: platform.parse().unwrap(),
            parallel: 2,
            limits: Limits::DEFAULT,
        };
        let name = format!("{}/app{rest}", self.registry.host());
        let reference: Reference = name.parse().unwrap();
        pull(&self.store, &client, &reference, &options, |_event| {}).await
    }

    fn names(&self) -> Vec<String> {
        let host = format!("{}/", self.registry.host());
        let images = self.store.state().images().unwrap();
        images
            .iter()
            .map(|image| image.reference.strip_prefix(&host).unwrap().to_owned())
            .collect()
    }
}

/// An index with an image for each of these.
fn index(scene: &Scene, platforms: &[&str]) -> Vec<Added> {
    let mut entries = Vec::new();
    let mut images = Vec::new();
    for text in platforms {
        let image = scene.add(&text.replace('/', "-"), text);
        let platform: Platform = text.parse().unwrap();
        entries.push(serde_json::json!({
            "mediaType": media_type::OCI_MANIFEST, "digest": image.manifest.digest,
            "size": image.manifest.size, "platform": platform,
        }));
        images.push(image);
    }
    let index = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": entries,
    });
    let raw = index.to_string().into_bytes();
    scene
        .registry
        .add_manifest("app", Some("all"), media_type::OCI_INDEX, raw);
    images
}

#[tokio::test]
async fn the_image_of_a_platform_or_what_there_is_instead() {
    let scene = Scene::new();
    let images = index(&scene, &["linux/amd64", "linux/arm64", "linux/arm/v7"]);
    for (platform, which) in [("linux/arm64", 1), ("linux/amd64", 0), ("linux/arm/v8", 2)] {
        let pulled = scene.pull(":all", platform).await.unwrap();
        assert_eq!(pulled.image.manifest, images[which].manifest.digest);
    }
    let error = scene.pull(":all", "linux/s390x").await.unwrap_err();
    assert_eq!(error.class(), Class::Invalid);
    let told = error.to_string();
    for part in ["linux/s390x", "linux/amd64", "linux/arm64", "linux/arm/v7"] {
        assert!(told.contains(part), "{told}");
    }
}

#[tokio::test]
async fn by_digest_with_a_tag_or_without() {
    let scene = Scene::new();
    let old = scene.add("1", "old").manifest.digest;
    let new = scene.add("1", "new").manifest.digest;
    for rest in [
        format!("@{old}"),
        format!(":1@{old}"),
        format!(":other@{old}"),
    ] {
        let pulled = scene.pull(&rest, "linux/amd64").await.unwrap();
        assert_eq!(pulled.image.manifest, old, "{rest}");
    }
    let pulled = scene.pull(":1", "linux/amd64").await.unwrap();
    assert_eq!(pulled.image.manifest, new);
    let missing = format!("@sha256:{}", "0".repeat(64));
    let error = scene.pull(&missing, "linux/amd64").await.unwrap_err();
    assert_eq!(error.class(), Class::NotFound);
}

#[tokio::test]
async fn a_tag_that_moved_leads_to_the_new_image_and_keeps_what_both_share() {
    let scene = Scene::new();
    let base = Layer::plain(tar::of_file("base", &[7; 100_000]));
    let other = |text: &str| Layer::plain(tar::of_file("file", text.as_bytes()));
    scene
        .registry
        .add_image("app", "1", &[base.clone(), other("old")]);
    let first = scene.pull(":1", "linux/amd64").await.unwrap();
    let new = scene
        .registry
        .add_image("app", "1", &[base.clone(), other("new")]);
    let second = scene.pull(":1", "linux/amd64").await.unwrap();
    assert_ne!(first.image.manifest, second.image.manifest);
    assert_eq!(second.image.manifest, new.manifest.digest);
    assert_eq!(second.fetched_bytes, new.layers[1].size);
    assert_eq!(
        scene.names().iter().filter(|name| *name == "app:1").count(),
        1
    );
    let again = scene.pull(":1", "linux/amd64").await.unwrap();
    assert_eq!(again.fetched_bytes, 0);
}
