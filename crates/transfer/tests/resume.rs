//! Pulls that go on where another one ended: in the middle of a layer, through resets, after damage.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure is the test's"
)]

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lapstrake_oci::{DiffId, Platform, Reference, media_type};
use lapstrake_registry_client::{Client, Options};
use lapstrake_store::{HostId, Store};
use lapstrake_testkit::proxy::{Conditions, Proxy};
use lapstrake_testkit::registry::{Access, Added, Fault, Layer, Registry};
use lapstrake_testkit::tar::Tar;
use lapstrake_transfer::{Error, Event, Limits, PullOptions, Pulled, check_layer, pull, stopped};

const MIB: usize = 1 << 20;

/// A tar of this many MiB: large files with small ones between them. Half of it can be compressed.
fn tar(mebibytes: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state & 0x0f0f_0f0f).to_le_bytes()
    })
    .flatten();
    let mut tar = Tar::default();
    for number in 0..mebibytes / 3 {
        let large: Vec<u8> = words.by_ref().take(3 * MIB).collect();
        tar.file(&format!("large-{number}"), 0o644, &large);
        tar.file(&format!("small-{number}"), 0o600, &large[..1000]);
    }
    tar.finish()
}

fn compressed(tar: &[u8], media_type: &str, blob: Vec<u8>) -> Layer {
    Layer {
        blob,
        media_type: media_type.to_owned(),
        diff_id: Layer::plain(tar.to_vec()).diff_id,
    }
}

/// Members of these lengths, and of the rest.
fn gzip(tar: &[u8], members: &[usize]) -> Layer {
    let (mut blob, mut rest) = (Vec::new(), tar);
    for length in members.iter().copied().chain([usize::MAX]) {
        let (member, later) = rest.split_at(length.min(rest.len()));
        let level = flate2::Compression::new(6);
        let mut encoder = flate2::write::GzEncoder::new(&mut blob, level);
        encoder.write_all(member).unwrap();
        encoder.finish().unwrap();
        rest = later;
    }
    compressed(tar, media_type::OCI_LAYER_GZIP, blob)
}

fn zstd(tar: &[u8], frame: usize) -> Layer {
    let frames = tar.chunks(frame);
    let blob = frames.flat_map(|frame| zstd::bulk::compress(frame, 1).unwrap());
    compressed(tar, media_type::OCI_LAYER_ZSTD, blob.collect())
}

struct Scene {
    registry: Registry,
    image: Added,
    id: DiffId,
    size: u64,
    dir: tempfile::TempDir,
}

impl Scene {
    fn of(layer: &Layer) -> Self {
        let registry = Registry::start(Access::Open);
        let image = registry.add_image("app", "1", std::slice::from_ref(layer));
        Self {
            registry,
            image,
            id: layer.diff_id.clone(),
            size: layer.blob.len() as u64,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn store(&self) -> Arc<Store> {
        let host = HostId::from_hostname("h");
        Arc::new(Store::open(self.dir.path(), &host, "boot").unwrap())
    }

    /// A pull that is given up when nothing comes any more, behind so many bytes of the blob.
    async fn give_up_after(&self, bytes: u64) {
        self.give_up(bytes, bytes).await;
    }

    /// The answer stalls after so many bytes, and the pull is given up when it is there.
    async fn give_up(&self, answered: u64, bytes: u64) {
        let stall = Fault::StallAfter(usize::try_from(answered).unwrap());
        self.registry.fault(&self.image.layers[0].digest, stall);
        let store = self.store();
        let reached = Arc::new(tokio::sync::Notify::new());
        let tell = {
            let reached = Arc::clone(&reached);
            move |event| {
                if matches!(event, Event::Progress { bytes: here, .. } if here >= bytes) {
                    reached.notify_one();
                }
            }
        };
        tokio::select! {
            pulled = pull_from(&store, &self.image.reference, tell) => panic!("{pulled:?}"),
            () = reached.notified() => {}
        }
        stopped(&store).await;
        assert_eq!(Arc::strong_count(&store), 1);
    }

    /// Where the part is that is there.
    fn partial(&self) -> Option<PathBuf> {
        let tmp = self.dir.path().join("content/tmp/h");
        let entries = std::fs::read_dir(tmp).unwrap();
        entries.map(|entry| entry.unwrap().path()).next()
    }

    /// A pull that must succeed and leave the layer as it should be: where it went on, how often it
    /// began, and how many bytes it fetched.
    async fn go_on(&self) -> (u64, usize, u64) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = {
            let told = Arc::clone(&told);
            move |event| {
                if let Event::Started { resumed_at, .. } = event {
                    told.lock().unwrap().push(resumed_at);
                }
            }
        };
        let store = self.store();
        let pulled = pull_from(&store, &self.image.reference, tell)
            .await
            .unwrap();
        check_layer(&store, &self.id).unwrap();
        assert_eq!(self.partial(), None);
        let told = told.lock().unwrap();
        (told[0], told.len(), pulled.fetched_bytes)
    }
}

async fn pull_from(
    store: &Arc<Store>,
    from: &Reference,
    tell: impl Fn(Event) + Send + Sync + 'static,
) -> Result<Pulled, Error> {
    let client = Client::new(Options::of("test")).unwrap();
    let options = PullOptions {
        platform: Platform::host(),
        parallel: 2,
        limits: Limits::DEFAULT,
    };
    pull(store, &client, from, &options, tell).await
}

/// Given up near the end, the layer goes on where it was noted last, and is the same as any.
async fn check_resume(layer: &Layer) {
    let scene = Scene::of(layer);
    let reached = scene.size / 10 * 9;
    scene.give_up_after(reached).await;
    let (resumed_at, begun, fetched) = scene.go_on().await;
    // Notes are 16 MiB of tar apart, and the tar has 24.
    assert!(
        resumed_at > scene.size / 2 && resumed_at <= reached,
        "{resumed_at}"
    );
    assert_eq!((begun, fetched), (1, scene.size - resumed_at));
    // Spans are as good as those of a pull in one go: each can be made again.
    let other = Scene::of(layer);
    other.go_on().await;
    let spans = |scene: &Scene| std::fs::read(scene.store().content.layer_files(&scene.id).spans);
    if layer.media_type != media_type::OCI_LAYER_GZIP {
        assert!(spans(&scene).unwrap() == spans(&other).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_layer_goes_on() {
    check_resume(&Layer::plain(tar(24))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gzip_layer_goes_on_within_its_member_and_in_a_later_one() {
    let tar = tar(24);
    check_resume(&gzip(&tar, &[])).await;
    check_resume(&gzip(&tar, &[MIB / 2, 10 * MIB])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zstd_layer_goes_on_at_a_frame_and_one_of_one_frame_begins_anew() {
    let tar = tar(24);
    check_resume(&zstd(&tar, 2 * MIB)).await;
    let scene = Scene::of(&zstd(&tar, usize::MAX));
    scene.give_up_after(scene.size / 2).await;
    assert_eq!(scene.partial(), None);
    assert_eq!(scene.go_on().await, (0, 1, scene.size));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_goes_on_more_than_once() {
    let scene = Scene::of(&gzip(&tar(42), &[]));
    let part = |percent| scene.size / 100 * percent;
    scene.give_up_after(part(45)).await;
    // It goes on at 38 %, behind 16 MiB.
    scene.give_up(part(50), part(85)).await;
    let (resumed_at, _, fetched) = scene.go_on().await;
    assert!(resumed_at > part(70), "{resumed_at} of {}", scene.size);
    assert_eq!(fetched, scene.size - resumed_at);
}

/// What is there is damaged, as a crash or a disk may do: the layer comes from the start, once.
async fn check_damage(damage: fn(&Path)) {
    let scene = Scene::of(&Layer::plain(tar(24)));
    scene.give_up_after(scene.size / 10 * 9).await;
    damage(&scene.partial().unwrap());
    assert_eq!(scene.go_on().await, (0, 1, scene.size));
}

fn overwrite(path: &Path, offset: u64, bytes: &[u8]) {
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(bytes, offset).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn data_with_a_wrong_page_are_not_gone_on_with() {
    check_damage(|dir| overwrite(&dir.join("data"), 5_000_000, &[0; 4096])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_became_a_hole_are_not_gone_on_with() {
    check_damage(|dir| {
        let data = File::options().write(true).open(dir.join("data")).unwrap();
        let length = data.metadata().unwrap().len();
        data.set_len(1_000_000).unwrap();
        data.set_len(length).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_are_gone_are_not_gone_on_with() {
    check_damage(|dir| File::create(dir.join("data")).map(drop).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_note_is_not_gone_on_with() {
    check_damage(|dir| overwrite(&dir.join("note"), 200, b"x")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rest_that_is_wrong_brings_the_whole_layer_once_more() {
    for layer in [Layer::plain(tar(24)), gzip(&tar(24), &[])] {
        let scene = Scene::of(&layer);
        scene.give_up_after(scene.size / 10 * 9).await;
        let digest = &scene.image.layers[0].digest;
        scene.registry.fault(digest, Fault::WrongByte(100_000));
        let (resumed_at, begun, _) = scene.go_on().await;
        assert!(resumed_at > 0);
        assert_eq!(begun, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_gives_up_leaves_a_part() {
    let scene = Scene::of(&Layer::plain(tar(24)));
    let digest = &scene.image.layers[0].digest;
    let most = usize::try_from(scene.size).unwrap() / 10 * 9;
    scene.registry.fault(digest, Fault::CutAfter(most));
    for _try in 0..5 {
        scene.registry.fault(digest, Fault::CutAfter(0));
    }
    let store = scene.store();
    let error = pull_from(&store, &scene.image.reference, |_event| {})
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Registry(_)), "{error}");
    stopped(&store).await;
    drop(store);
    let (resumed_at, ..) = scene.go_on().await;
    assert!(resumed_at > scene.size / 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn through_resets_little_is_fetched_twice() {
    let layers = [tar(9), tar(6), tar(3)].map(|tar| gzip(&tar, &[]));
    let registry = Registry::start(Access::Open);
    registry.add_image("app", "1", &layers);
    let bytes: u64 = layers.iter().map(|layer| layer.blob.len() as u64).sum();
    let bad = Conditions {
        // Slower than anybody reads: what a reset takes away is little then.
        bits_a_second: Some(80_000_000),
        reset: 0.05,
        segment_bytes: 64 << 10,
        seed: 7,
    };
    let proxy = Proxy::before(&registry.host(), bad);
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), &HostId::from_hostname("h"), "boot").unwrap();
    let store = Arc::new(store);
    let reference = format!("{}/app:1", proxy.host()).parse().unwrap();
    let pulled = pull_from(&store, &reference, |_event| {}).await.unwrap();
    assert_eq!(pulled.fetched_bytes, bytes);
    for layer in &layers {
        check_layer(&store, &layer.diff_id).unwrap();
    }
    let passed = proxy.passed();
    assert!(passed.resets >= 2, "{passed:?}");
    assert!(
        passed.to_client * 100 <= bytes * 105,
        "{passed:?} for {bytes}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_goes_on_with_can_be_pruned() {
    let scene = Scene::of(&Layer::plain(tar(24)));
    scene.give_up_after(scene.size / 10 * 9).await;
    let store = scene.store();
    let collection = store.collect();
    let unfinished = collection.unfinished().unwrap();
    let plan = lapstrake_store::Plan::default().and_unfinished(unfinished);
    assert!(plan.bytes > 16 << 20);
    let removed = collection
        .carry_out(&plan, std::time::SystemTime::now())
        .unwrap();
    assert_eq!(removed.bytes, plan.bytes);
    assert_eq!(scene.partial(), None);
    drop(store);
    tokio::time::sleep(Duration::ZERO).await;
    assert_eq!(scene.go_on().await, (0, 1, scene.size));
}
