//! Several pulls at once, and pulls that are given up.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure is the test's"
)]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lapstrake_oci::{Platform, Reference};
use lapstrake_registry_client::{Client, Options};
use lapstrake_store::{HostId, Store};
use lapstrake_testkit::registry::{Access, Fault, Layer, Registry};
use lapstrake_testkit::tar;
use lapstrake_transfer::{Error, Event, Limits, PullOptions, Pulled, check_layer, pull, stopped};

fn layer(name: &str) -> Layer {
    let bytes: Vec<u8> = (0..800_000_u32).flat_map(u32::to_le_bytes).collect();
    Layer::plain(tar::of_file(name, &bytes))
}

fn store(dir: &Path) -> Arc<Store> {
    Arc::new(Store::open(dir, &HostId::from_hostname("h"), "boot").unwrap())
}

type Told = Arc<Mutex<Vec<Event>>>;

async fn pull_telling(store: Arc<Store>, of: Reference, told: Told) -> Result<Pulled, Error> {
    let client = Client::new(Options::of("test")).unwrap();
    let options = PullOptions {
        platform: Platform::host(),
        parallel: 3,
        limits: Limits::DEFAULT,
    };
    let tell = move |event| told.lock().unwrap().push(event);
    pull(&store, &client, &of, &options, tell).await
}

async fn pull_quietly(store: Arc<Store>, of: Reference) -> Result<Pulled, Error> {
    pull_telling(store, of, Told::default()).await
}

/// How often a blob was asked for.
fn asked(registry: &Registry, layer: &Layer) -> usize {
    let digest = lapstrake_oci::Algorithm::Sha256.digest(&layer.blob);
    let end = format!("/blobs/{digest}");
    let requests = registry.requests();
    requests
        .iter()
        .filter(|one| one.target.ends_with(&end))
        .count()
}

fn staged(dir: &Path) -> usize {
    std::fs::read_dir(dir.join("content/tmp/h"))
        .unwrap()
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_several_pulls_want_is_fetched_once() {
    let registry = Registry::start(Access::Open);
    registry.slow_down(Duration::ZERO, 10_000_000);
    let (base, one, two) = (layer("base"), layer("one"), layer("two"));
    let first = registry.add_image("first", "1", &[base.clone(), one.clone()]);
    let second = registry.add_image("second", "1", &[base.clone(), two.clone()]);
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let references = [&first, &second, &first].map(|image| image.reference.clone());
    let pulls = references.map(|of| tokio::spawn(pull_quietly(Arc::clone(&store), of)));
    let mut fetched = 0;
    for pull in pulls {
        fetched += pull.await.unwrap().unwrap().fetched_bytes;
    }
    for layer in [&base, &one, &two] {
        assert_eq!(asked(&registry, layer), 1);
        check_layer(&store, &layer.diff_id).unwrap();
    }
    let bytes = [&base, &one, &two].map(|layer| layer.blob.len() as u64);
    assert_eq!(fetched, bytes.iter().sum::<u64>());
    assert_eq!(staged(dir.path()), 0);
}

/// A pull that fetches, and one that waits for it and has been told so.
async fn one_waits(
    registry: &Registry,
    dir: &Path,
) -> [tokio::task::JoinHandle<Result<Pulled, Error>>; 2] {
    let base = layer("base");
    let image = registry.add_image("app", "1", std::slice::from_ref(&base));
    let other = registry.add_image("other", "2", &[base]);
    let store = store(dir);
    let told = [Told::default(), Told::default()];
    let begin = |reference, told: &Told| {
        tokio::spawn(pull_telling(
            Arc::clone(&store),
            reference,
            Arc::clone(told),
        ))
    };
    let seen = |told: &Told, wanted: fn(&Event) -> bool| told.lock().unwrap().iter().any(wanted);
    let first = begin(image.reference, &told[0]);
    while !seen(&told[0], |event| matches!(event, Event::Progress { .. })) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let second = begin(other.reference, &told[1]);
    // Twice: for its turn, then for the other.
    while !seen(&told[1], |event| matches!(event, Event::Progress { .. })) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!seen(&told[1], |event| matches!(
        event,
        Event::Started { .. }
    )));
    [first, second]
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_takes_over_when_the_other_is_cancelled() {
    let registry = Registry::start(Access::Open);
    registry.slow_down(Duration::ZERO, 4_000_000);
    let dir = tempfile::tempdir().unwrap();
    let [first, second] = one_waits(&registry, dir.path()).await;
    first.abort();
    assert!(second.await.unwrap().unwrap().fetched_bytes > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_takes_over_when_the_other_fails() {
    let registry = Registry::start(Access::Open);
    registry.slow_down(Duration::ZERO, 4_000_000);
    let digest = lapstrake_oci::Algorithm::Sha256.digest(&layer("base").blob);
    registry.fault(&digest, Fault::WrongByte(1_000_000));
    let dir = tempfile::tempdir().unwrap();
    let [first, second] = one_waits(&registry, dir.path()).await;
    let error = first.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::BlobMismatch { .. }), "{error}");
    assert!(second.await.unwrap().unwrap().fetched_bytes > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_is_given_up_ends_soon_and_publishes_nothing_half() {
    let registry = Registry::start(Access::Open);
    registry.slow_down(Duration::ZERO, 2_000_000);
    let layers = [layer("one"), layer("two"), layer("three")];
    let image = registry.add_image("app", "1", &layers);
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let told = Told::default();
    let pull = pull_telling(
        Arc::clone(&store),
        image.reference.clone(),
        Arc::clone(&told),
    );
    // Not spawned: dropped where it stands.
    let given_up = tokio::time::timeout(Duration::from_millis(300), pull).await;
    given_up.unwrap_err();
    let ending = stopped(&store);
    tokio::time::timeout(Duration::from_secs(5), ending)
        .await
        .unwrap();
    assert_eq!(Arc::strong_count(&store), 1, "a thread is left");
    assert!(
        layers
            .iter()
            .all(|layer| !store.content.has_layer(&layer.diff_id))
    );
    assert_eq!(store.state().images().unwrap(), []);
    registry.slow_down(Duration::ZERO, u64::MAX);
    pull_quietly(Arc::clone(&store), image.reference)
        .await
        .unwrap();
    for layer in &layers {
        check_layer(&store, &layer.diff_id).unwrap();
    }
}
