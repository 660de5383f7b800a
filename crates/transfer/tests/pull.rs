//! Pulls from a registry in the test's process: what arrives, and what a bad registry leaves.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure is the test's"
)]

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use lapstrake_oci::{DiffId, Platform};
use lapstrake_registry_client::{Client, Mirror, Options};
use lapstrake_store::{HostId, LayerState, Store};
use lapstrake_testkit::registry::{Access, Added, Fault, Layer, Registry};
use lapstrake_testkit::tar;
use lapstrake_transfer::{Error, Limits, PullOptions, Pulled, check_layer, pull, settle_layer};

fn layers() -> Vec<Layer> {
    let big: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    vec![
        Layer::plain(tar::of_file("big", &big)),
        Layer::plain(tar::of_file("small", b"hello")),
    ]
}

fn store(dir: &Path, boot: &str) -> Arc<Store> {
    Arc::new(Store::open(dir, &HostId::from_hostname("h"), boot).unwrap())
}

async fn pull_into(store: &Arc<Store>, image: &Added) -> Result<Pulled, Error> {
    pull_with(Options::of("test"), store, image).await
}

async fn pull_with(client: Options, store: &Arc<Store>, image: &Added) -> Result<Pulled, Error> {
    let client = Client::new(client).unwrap();
    let options = PullOptions {
        platform: Platform::host(),
        parallel: 2,
        limits: Limits::DEFAULT,
    };
    pull(store, &client, &image.reference, &options, |_event| {}).await
}

fn ids(layers: &[Layer]) -> Vec<DiffId> {
    layers.iter().map(|layer| layer.diff_id.clone()).collect()
}

#[tokio::test]
async fn an_image_arrives_whole_and_is_proved() {
    let (registry, layers) = (Registry::start(Access::Open), layers());
    let image = registry.add_image("app", "1", &layers);
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), "boot");
    let pulled = pull_into(&store, &image).await.unwrap();
    assert_eq!(pulled.image.config, image.config.digest);
    for id in ids(&layers) {
        check_layer(&store, &id).unwrap();
        let record = store.state().layer(&id).unwrap().unwrap();
        assert_eq!(record.state, LayerState::Proved);
        assert!(store.indexes.is_intact(&id, &record.index).unwrap());
    }
}

#[tokio::test]
async fn a_layer_in_the_store_is_not_fetched_again() {
    let registry = Registry::start(Access::Open);
    let image = registry.add_image("app", "1", &layers());
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), "boot");
    pull_into(&store, &image).await.unwrap();
    assert_eq!(pull_into(&store, &image).await.unwrap().fetched_bytes, 0);
}

#[tokio::test]
async fn a_connection_that_breaks_is_resumed() {
    let (registry, layers) = (Registry::start(Access::Open), layers());
    let image = registry.add_image("app", "1", &layers);
    registry.fault(&image.layers[0].digest, Fault::CutAfter(1_000_000));
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), "boot");
    pull_into(&store, &image).await.unwrap();
    check_layer(&store, &layers[0].diff_id).unwrap();
}

#[tokio::test]
async fn a_wrong_byte_publishes_nothing_of_the_layer_and_keeps_the_others() {
    let (registry, layers) = (Registry::start(Access::Open), layers());
    let image = registry.add_image("app", "1", &layers);
    registry.fault(&image.layers[0].digest, Fault::WrongByte(2_000_000));
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), "boot");
    let error = pull_into(&store, &image).await.unwrap_err();
    assert!(matches!(error, Error::BlobMismatch { .. }), "{error}");
    assert!(!store.content.has_layer(&layers[0].diff_id));
    assert_eq!(store.state().images().unwrap(), []);
    // A thread that was given up sees that soon, and takes its stage with it.
    let tmp = dir.path().join("content/tmp/h");
    let left = || std::fs::read_dir(&tmp).unwrap().count();
    for _wait in 0..100 {
        if left() == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(left(), 0);
    // The fault is over: the same pull now succeeds.
    pull_into(&store, &image).await.unwrap();
}

/// A store with an image, of which one layer is damaged as a crash before the proof can leave it.
async fn doubtful(dir: &Path, image: &Added, id: &DiffId, damage: fn(&Path)) -> Arc<Store> {
    pull_into(&store(dir, "one"), image).await.unwrap();
    // The record is back to present.
    let store = store(dir, "one");
    let record = store.state().layer(id).unwrap().unwrap();
    store.state().forget_layer(id).unwrap();
    store.state().add_layer(&record, None).unwrap();
    damage(&store.content.layer_files(id).data);
    drop(store);
    let store = self::store(dir, "three");
    assert_eq!(
        store.state().layer(id).unwrap().unwrap().state,
        LayerState::Doubtful
    );
    store
}

/// A layer that a crash damaged so is told to be when it is settled, and fetched again by a pull.
async fn check_crash(damage: fn(&Path), why: &str) {
    let (registry, layers) = (Registry::start(Access::Open), layers());
    let image = registry.add_image("app", "1", &layers);
    let dir = tempfile::tempdir().unwrap();
    let id = &layers[0].diff_id;
    let store = doubtful(dir.path(), &image, id, damage).await;
    pull_into(&store, &image).await.unwrap();
    check_layer(&store, id).unwrap();
    // The same once more, without a pull that mends it.
    damage(&store.content.layer_files(id).data);
    let error = settle_layer(&store, id).unwrap_err().to_string();
    assert!(error.contains(why), "{error}");
    assert_eq!(store.state().layer(id).unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn pulls_that_find_the_same_damage_at_once_all_end_well() {
    let registry = Registry::start(Access::Open);
    let bytes: Vec<u8> = (0..400_000_u32).flat_map(u32::to_le_bytes).collect();
    let layers = [Layer::plain(tar::of_file("file", &bytes))];
    let image = registry.add_image("app", "1", &layers);
    let id = &layers[0].diff_id;
    for _round in 0..10 {
        let dir = tempfile::tempdir().unwrap();
        let store = doubtful(dir.path(), &image, id, |data| {
            std::fs::File::options()
                .write(true)
                .open(data)
                .and_then(|mut file| file.write_all(&[0; 4096]))
                .unwrap();
        })
        .await;
        let pulls = [(); 3].map(|()| {
            let (store, image) = (Arc::clone(&store), image.clone());
            tokio::spawn(async move { pull_into(&store, &image).await.map(drop) })
        });
        for pull in pulls {
            pull.await.unwrap().unwrap();
        }
        check_layer(&store, id).unwrap();
        let record = store.state().layer(id).unwrap().unwrap();
        assert_eq!(record.state, LayerState::Proved);
    }
}

fn zeros(path: &Path) -> Vec<u8> {
    vec![0; usize::try_from(std::fs::metadata(path).unwrap().len()).unwrap()]
}

#[tokio::test]
async fn data_that_never_reached_the_disk_are_told_by_their_extents() {
    let sparse = |data: &Path| {
        let length = zeros(data).len() as u64;
        std::fs::File::create(data)
            .unwrap()
            .set_len(length)
            .unwrap();
    };
    check_crash(sparse, "its data has a hole at byte 0").await;
}

#[tokio::test]
async fn data_that_were_cut_are_told_by_their_size() {
    let cut = |data: &Path| {
        let file = std::fs::File::options().write(true).open(data).unwrap();
        file.set_len(4096).unwrap();
    };
    check_crash(cut, "its data has 4096 bytes").await;
}

#[tokio::test]
async fn data_that_became_zeros_are_told_by_their_digest() {
    let overwrite = |data: &Path| {
        let zeros = zeros(data);
        std::fs::File::create(data)
            .unwrap()
            .write_all(&zeros)
            .unwrap();
    };
    check_crash(overwrite, "is damaged").await;
}

#[tokio::test]
async fn a_layer_that_a_mirror_damaged_comes_from_the_registry() {
    let (registry, mirror, layers) = (
        Registry::start(Access::Open),
        Registry::start(Access::Open),
        layers(),
    );
    let image = registry.add_image("app", "1", &layers);
    let there = mirror.add_image("app", "1", &layers);
    mirror.fault(&there.layers[0].digest, Fault::WrongByte(2_000));
    let mut options = Options::of("test");
    let at_mirror = Mirror {
        host: mirror.host(),
        prefix: String::new(),
    };
    options.mirrors.insert(registry.host(), vec![at_mirror]);
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), "boot");
    pull_with(options, &store, &image).await.unwrap();
    for id in ids(&layers) {
        check_layer(&store, &id).unwrap();
    }
    let asked = registry.requests();
    assert_eq!(asked.len(), 1, "the damaged layer only: {asked:?}");
}
