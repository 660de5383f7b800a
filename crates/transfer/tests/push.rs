//! Pushes between registries in the test's process: what arrives, how, and what is said when it can't.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure is the test's"
)]

mod shared;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use lapstrake_oci::{
    Algorithm, Compression, Config, Descriptor, Digest, Image, Manifest, Parsed, Platform,
    Reference, bounds, media_type,
};
use lapstrake_registry_client::{Client, Credential, Credentials, Options};
use lapstrake_store::{HostId, ImageRecord, LayerState, Store};
use lapstrake_testkit::registry::{Access, Fault, Layer, Registry, UploadFault};
use lapstrake_testkit::tar::Tar;
use lapstrake_transfer::encode::{Encoder, Encoding, Ends};
use lapstrake_transfer::{
    Digests, Error, LayerWay, Limits, PullOptions, PushEvent, PushOptions, PushedImage, ToPush,
    add_image, add_tar, pull, push,
};

use shared::Scene;

/// An image that was pulled as gzip from one registry, and another registry.
struct Two {
    scene: Scene,
    other: Registry,
    events: Arc<Mutex<Vec<PushEvent>>>,
}

const KEEP: PushOptions = PushOptions {
    digests: Digests::Keep,
    encoding: Encoding::DOCKER,
    parallel: 2,
};
const INSIST: PushOptions = PushOptions {
    digests: Digests::Insist,
    ..KEEP
};

fn gzip(tar: Vec<u8>) -> Layer {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&tar).unwrap();
    Layer {
        blob: encoder.finish().unwrap(),
        media_type: media_type::OCI_LAYER_GZIP.to_owned(),
        ..Layer::plain(tar)
    }
}

impl Two {
    fn new() -> Self {
        Self {
            scene: Scene::pulled_as(gzip),
            other: Registry::start(Access::Open),
            events: Arc::default(),
        }
    }

    fn store(&self) -> Arc<Store> {
        Arc::new(self.scene.store())
    }

    fn image(&self, store: &Store) -> ToPush {
        let record = store.state().image(&self.scene.image.reference.to_string());
        to_push(store, &record.unwrap().unwrap())
    }

    fn to(&self, name: &str) -> Reference {
        format!("{}/{name}", self.other.host()).parse().unwrap()
    }

    fn push(&self, to: &Reference, options: &PushOptions) -> Result<PushedImage, Error> {
        let store = self.store();
        let image = self.image(&store);
        self.push_image(&store, &image, to, options)
    }

    fn push_image(
        &self,
        store: &Arc<Store>,
        image: &ToPush,
        to: &Reference,
        options: &PushOptions,
    ) -> Result<PushedImage, Error> {
        let client = self.scene.client();
        let events = Arc::clone(&self.events);
        let tell = move |event| events.lock().unwrap().push(event);
        let pushed = push(store, &client, image, to, options, tell);
        self.scene.runtime.block_on(pushed)
    }

    /// What the tar of a layer is in the other registry.
    fn tar_there(&self, pushed: &PushedImage, layer: usize) -> Vec<u8> {
        let blob = &pushed.layers[layer].blob;
        let bytes = self.other.blob(&blob.digest).unwrap();
        assert_eq!(bytes.len() as u64, blob.size);
        let mut tar = Vec::new();
        match Compression::detect(&bytes) {
            Compression::None => tar.extend_from_slice(&bytes),
            Compression::Gzip => {
                let mut decoder = flate2::read::MultiGzDecoder::new(&bytes[..]);
                decoder.read_to_end(&mut tar).unwrap();
            }
            Compression::Zstd => tar = zstd::decode_all(&bytes[..]).unwrap(),
        }
        tar
    }

    /// All layers are there, and are what their diff ids say.
    fn content_is_right(&self, pushed: &PushedImage) {
        for (at, layer) in pushed.layers.iter().enumerate() {
            let tar = self.tar_there(pushed, at);
            assert_eq!(Algorithm::Sha256.digest(&tar), layer.diff_id.0, "{at}");
        }
    }

    fn uploads(&self) -> usize {
        let requests = self.other.requests();
        let posts = requests.iter().filter(|request| request.method == "POST");
        posts.count()
    }
}

fn to_push(store: &Store, record: &ImageRecord) -> ToPush {
    let manifest = store.read_blob(&record.manifest, bounds::MAX_MANIFEST_BYTES as u64);
    let config = store.read_blob(&record.config, bounds::MAX_CONFIG_BYTES as u64);
    let manifest = Parsed::<Manifest>::manifest(manifest.unwrap()).unwrap();
    let config = Parsed::<Config>::config(config.unwrap()).unwrap();
    ToPush {
        image: Image::new(manifest, config).unwrap(),
        manifest: record.manifest.clone(),
    }
}

/// A store with an image that was made here, of one layer that no registry ever had, named so often in
/// a manifest and said to be of this type.
fn made_here(dir: &Path, media_type: &str, times: usize) -> (Arc<Store>, ToPush) {
    let host = HostId::from_hostname("h");
    let store = Arc::new(Store::open(dir, &host, "boot").unwrap());
    let tar = Tar::default().file("made", 0o644, &[7; 2_000_000]).finish();
    let layer = add_tar(&store, &tar[..], Limits::DEFAULT).unwrap();
    let id = layer.record.diff_id.clone();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": vec![id.to_string(); times] },
    });
    let config = config.to_string().into_bytes();
    let config_digest = Algorithm::Sha256.digest(&config);
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media_type::OCI_MANIFEST.to_owned()),
        artifact_type: None,
        config: Descriptor::new(
            media_type::OCI_CONFIG,
            config_digest.clone(),
            config.len() as u64,
        ),
        layers: vec![Descriptor::new(media_type, id.0.clone(), tar.len() as u64); times],
        subject: None,
        annotations: BTreeMap::new(),
    };
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let record = ImageRecord {
        reference: "localhost/made:1".to_owned(),
        manifest: Algorithm::Sha256.digest(&manifest),
        config: config_digest.clone(),
    };
    let documents = [
        (&record.manifest, &manifest[..]),
        (&config_digest, &config[..]),
    ];
    add_image(&store, &record, &[id], &documents, Some(layer)).unwrap();
    let image = to_push(&store, &record);
    (store, image)
}

fn ways(pushed: &PushedImage) -> Vec<&LayerWay> {
    pushed.layers.iter().map(|layer| &layer.way).collect()
}

#[test]
fn a_pulled_image_arrives_with_its_digests_and_a_second_push_sends_nothing() {
    let two = Two::new();
    let to = two.to("app:1");
    let pushed = two.push(&to, &KEEP).unwrap();
    assert_eq!(pushed.manifest, two.scene.image.manifest.digest);
    assert!(pushed.same_manifest);
    let copied = LayerWay::Copied(two.scene.image.reference.repo().clone());
    assert_eq!(ways(&pushed), [&copied, &copied, &copied]);
    let (media_type, raw) = two.other.manifest("app", "1").unwrap();
    let (was_type, was) = two.scene.registry.manifest("app", "1").unwrap();
    assert_eq!((media_type, raw), (was_type, was));
    two.content_is_right(&pushed);

    let uploads = two.uploads();
    let again = two.push(&to, &INSIST).unwrap();
    assert_eq!(again.sent_bytes(), 0);
    assert_eq!(ways(&again), [&LayerWay::Existing; 3]);
    assert_eq!(two.uploads(), uploads);
    // What was pushed is a source from now on.
    let sources = two.store().state().sources(&two.scene.id(0)).unwrap();
    let repo = to.repo().to_string();
    assert!(
        sources.iter().any(|source| source.repository == repo),
        "{sources:?}"
    );
}

#[test]
fn without_the_source_layers_are_compressed_and_that_is_said() {
    let mut two = Two::new();
    two.scene.registry = Registry::start(Access::Open);
    let to = two.to("app:1");
    let error = two.push(&to, &INSIST).unwrap_err();
    assert!(
        matches!(&error, Error::OtherDigests(layers) if layers.len() == 3),
        "{error}"
    );
    for word in [
        "does not have it",
        "nothing is kept from which",
        "cannot reach",
    ] {
        assert!(error.to_string().contains(word), "{word}: {error}");
    }
    assert_eq!(two.uploads(), 0);

    let pushed = two.push(&to, &KEEP).unwrap();
    assert!(!pushed.same_manifest);
    assert_eq!(ways(&pushed), [&LayerWay::Compressed(Encoding::DOCKER); 3]);
    assert!(
        pushed.layers.iter().all(|layer| !layer.why.is_empty()),
        "{pushed:?}"
    );
    two.content_is_right(&pushed);
    let (_, raw) = two.other.manifest("app", "1").unwrap();
    let manifest = Parsed::<Manifest>::manifest(raw).unwrap();
    assert_eq!(manifest.config.digest, two.scene.image.config.digest);
}

/// A layer as this program compresses it.
fn ours(tar: Vec<u8>, compression: Compression, level: u8, media_type: &str) -> Layer {
    let encoding = Encoding::new(compression, Some(level)).unwrap();
    let mut blob = Vec::new();
    let open = |_from| Ok(&tar[..]);
    let mut encoder = Encoder::open(encoding, 2, &Ends::default(), 0, open).unwrap();
    encoder.read_to_end(&mut blob).unwrap();
    Layer {
        blob,
        media_type: media_type.to_owned(),
        ..Layer::plain(tar)
    }
}

#[test]
fn blobs_that_this_program_made_are_made_again_though_nobody_has_them() {
    let made: [fn(Vec<u8>) -> Layer; 4] = [
        |tar| ours(tar, Compression::Gzip, 6, media_type::OCI_LAYER_GZIP),
        |tar| ours(tar, Compression::Gzip, 9, media_type::OCI_LAYER_GZIP),
        |tar| ours(tar, Compression::Zstd, 3, media_type::OCI_LAYER_ZSTD),
        |tar| ours(tar, Compression::Zstd, 7, media_type::OCI_LAYER_ZSTD),
    ];
    for blob in made {
        let mut two = Two {
            scene: Scene::pulled_as(blob),
            ..Two::new()
        };
        two.scene.registry = Registry::start(Access::Open);
        let pushed = two.push(&two.to("app:1"), &INSIST).unwrap();
        assert_eq!(ways(&pushed), [&LayerWay::Made; 3]);
        assert!(pushed.same_manifest);
        two.content_is_right(&pushed);
    }
}

#[test]
fn what_was_compressed_is_there_the_second_time() {
    let mut two = Two::new();
    two.scene.registry = Registry::start(Access::Open);
    let to = two.to("app:1");
    let pushed = two.push(&to, &KEEP).unwrap();
    let again = two.push(&to, &KEEP).unwrap();
    assert_eq!((again.sent_bytes(), again.manifest), (0, pushed.manifest));
}

#[test]
fn what_was_made_here_is_compressed_once_unless_its_digests_are_insisted_on() {
    let two = Two::new();
    let dir = tempfile::tempdir().unwrap();
    let (store, image) = made_here(dir.path(), media_type::OCI_LAYER, 1);
    let to = two.to("made:1");
    let pushed = two.push_image(&store, &image, &to, &KEEP).unwrap();
    assert_eq!(ways(&pushed), [&LayerWay::Compressed(Encoding::DOCKER)]);
    assert_eq!(pushed.layers[0].why, [""; 0]);
    two.content_is_right(&pushed);
    let again = two.push_image(&store, &image, &to, &KEEP).unwrap();
    assert_eq!(ways(&again), [&LayerWay::Existing]);
    assert_eq!((again.sent_bytes(), again.manifest), (0, pushed.manifest));

    let insisted = two
        .push_image(&store, &image, &two.to("tar:1"), &INSIST)
        .unwrap();
    assert_eq!(
        (ways(&insisted), insisted.same_manifest),
        (vec![&LayerWay::Made], true)
    );
    two.content_is_right(&insisted);
}

#[test]
fn zstd_and_no_compression_are_what_they_are_called() {
    let two = Two::new();
    for (compression, name) in [
        (Compression::Zstd, media_type::OCI_LAYER_ZSTD),
        (Compression::None, media_type::OCI_LAYER),
        (Compression::Gzip, media_type::OCI_LAYER_GZIP),
    ] {
        let options = PushOptions {
            digests: Digests::Renew,
            encoding: Encoding::new(compression, None).unwrap(),
            parallel: 3,
        };
        let to = two.to(&format!("app:{}", compression.name()));
        let pushed = two.push(&to, &options).unwrap();
        assert!(
            pushed
                .layers
                .iter()
                .all(|layer| layer.blob.media_type == name),
            "{pushed:?}"
        );
        two.content_is_right(&pushed);
    }
}

#[test]
fn uploads_that_break_go_on() {
    for options in [
        KEEP,
        PushOptions {
            digests: Digests::Renew,
            ..KEEP
        },
    ] {
        let two = Two::new();
        for fault in [
            UploadFault::CutAfter(1_300_000),
            UploadFault::LoseAfter(5_000),
            UploadFault::NoAnswer,
            UploadFault::CutAfter(1_500_000),
        ] {
            two.other.upload_fault(fault);
        }
        let pushed = two.push(&two.to("app:1"), &options).unwrap();
        two.content_is_right(&pushed);
    }
}

#[test]
fn a_source_that_sends_other_bytes_is_not_believed() {
    let two = Two::new();
    let big = &two.scene.image.layers[0].digest;
    for _each in 0..4 {
        two.scene.registry.fault(big, Fault::WrongByte(1_000_000));
    }
    let error = two.push(&two.to("app:1"), &INSIST).unwrap_err();
    assert!(error.to_string().contains("copying it from"), "{error}");
    assert!(two.other.blob(big).is_none());
    assert!(two.other.manifest("app", "1").is_none());
    for _each in 0..4 {
        two.scene.registry.fault(big, Fault::WrongByte(1_000_000));
    }
    let pushed = two.push(&two.to("app:1"), &KEEP).unwrap();
    assert_eq!(pushed.layers[0].way, LayerWay::Compressed(Encoding::DOCKER));
    two.content_is_right(&pushed);
}

#[test]
fn a_damaged_layer_is_not_pushed() {
    let two = Two::new();
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(two.scene.files(0).data);
    file.unwrap().write_all_at(b"x", 12_345).unwrap();
    let options = PushOptions {
        digests: Digests::Renew,
        ..KEEP
    };
    let error = two.push(&two.to("app:1"), &options).unwrap_err();
    assert!(matches!(error, Error::NotSound { .. }), "{error}");
    assert!(two.other.manifest("app", "1").is_none());
}

#[test]
fn events_tell_each_layer_from_its_start_to_its_end() {
    let two = Two::new();
    let pushed = two.push(&two.to("app:1"), &KEEP).unwrap();
    let events = two.events.lock().unwrap().clone();
    for layer in &pushed.layers {
        let of_layer: Vec<_> = events
            .iter()
            .filter(|event| blob_of(event) == &layer.was)
            .collect();
        assert!(
            matches!(of_layer[0], PushEvent::Started { .. }),
            "{of_layer:?}"
        );
        let last = of_layer.last().unwrap();
        assert!(
            matches!(last, PushEvent::Done { bytes, .. } if *bytes == layer.blob.size),
            "{last:?}"
        );
    }
}

fn blob_of(event: &PushEvent) -> &Digest {
    match event {
        PushEvent::Skipped { blob }
        | PushEvent::Exists { blob }
        | PushEvent::Mounted { blob, .. }
        | PushEvent::Started { blob, .. }
        | PushEvent::Progress { blob, .. }
        | PushEvent::Compressing { blob, .. }
        | PushEvent::Failed { blob, .. }
        | PushEvent::Done { blob, .. } => blob,
    }
}

#[test]
fn a_layer_that_comes_twice_is_sent_once_and_a_foreign_one_never() {
    let two = Two::new();
    let dir = tempfile::tempdir().unwrap();
    let (store, image) = made_here(dir.path(), media_type::OCI_LAYER, 2);
    let pushed = two
        .push_image(&store, &image, &two.to("twice:1"), &KEEP)
        .unwrap();
    assert_eq!(ways(&pushed), [&LayerWay::Compressed(Encoding::DOCKER); 2]);
    assert_eq!(pushed.sent_bytes(), pushed.layers[0].blob.size);
    // The layer and the config.
    assert_eq!(two.uploads(), 2);

    let dir = tempfile::tempdir().unwrap();
    let foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar";
    let (store, image) = made_here(dir.path(), foreign, 1);
    for options in [KEEP, INSIST] {
        let pushed = two
            .push_image(&store, &image, &two.to("foreign:1"), &options)
            .unwrap();
        assert_eq!(
            (ways(&pushed), pushed.same_manifest),
            (vec![&LayerWay::Foreign], true)
        );
        assert!(two.other.blob(&pushed.layers[0].blob.digest).is_none());
    }
}

/// A layer that a crash may have damaged is read before it is pushed.
#[test]
fn a_doubtful_layer_is_settled_first() {
    for is_damaged in [false, true] {
        let two = Two::new();
        let id = two.scene.id(0);
        let store = two.store();
        let record = store.state().layer(&id).unwrap().unwrap();
        store.state().forget_layer(&id).unwrap();
        store.state().add_layer(&record, None).unwrap();
        let image = two.image(&store);
        drop(store);
        if is_damaged {
            let data = std::fs::OpenOptions::new()
                .write(true)
                .open(two.scene.files(0).data);
            data.unwrap().write_all_at(&[0; 4096], 8192).unwrap();
        }
        let host = HostId::from_hostname("h");
        let store = Arc::new(Store::open(two.scene.dir.path(), &host, "later").unwrap());
        assert_eq!(
            store.state().layer(&id).unwrap().unwrap().state,
            LayerState::Doubtful
        );
        let options = PushOptions {
            digests: Digests::Renew,
            ..KEEP
        };
        match two.push_image(&store, &image, &two.to("app:1"), &options) {
            Ok(pushed) if !is_damaged => two.content_is_right(&pushed),
            Err(Error::Damaged { .. }) if is_damaged => {}
            other => panic!("{is_damaged}: {other:?}"),
        }
    }
}

#[test]
fn each_registry_gets_its_own_credentials() {
    let basic = |word: &str| format!("Basic {word}");
    // user:from and user:to
    let source = Registry::start(Access::Basic(basic("dXNlcjpmcm9t")));
    let other = Registry::start(Access::TokenFor(basic("dXNlcjp0bw==")));
    let named = |password: &str| Credential::Password {
        username: "user".to_owned(),
        password: password.to_owned(),
    };
    let mut options = Options::of("test");
    options.credentials = Credentials::none()
        .with(&source.host(), named("from"))
        .with(&other.host(), named("to"));
    let client = Client::new(options).unwrap();
    let image = source.add_image(
        "app",
        "1",
        &[gzip(Tar::default().file("f", 0o644, b"x").finish())],
    );
    let dir = tempfile::tempdir().unwrap();
    let host = HostId::from_hostname("h");
    let store = Arc::new(Store::open(dir.path(), &host, "boot").unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let pulling = PullOptions {
            platform: Platform::host(),
            parallel: 1,
            limits: Limits::DEFAULT,
        };
        let reference = &image.reference;
        pull(&store, &client, reference, &pulling, |_event| {})
            .await
            .unwrap();
        let record = store
            .state()
            .image(&reference.to_string())
            .unwrap()
            .unwrap();
        let what = to_push(&store, &record);
        let to = format!("{}/app:1", other.host()).parse().unwrap();
        other.expire_tokens();
        let pushed = push(&store, &client, &what, &to, &INSIST, |_event| {})
            .await
            .unwrap();
        assert_eq!(pushed.manifest, image.manifest.digest);
        // Without credentials for the source, that is the reason which is told.
        let mut options = Options::of("test");
        options.credentials = Credentials::none().with(&other.host(), named("to"));
        let client = Client::new(options).unwrap();
        let elsewhere = Registry::start(Access::Open);
        let to = format!("{}/app:1", elsewhere.host()).parse().unwrap();
        drop(other);
        let error = push(&store, &client, &what, &to, &INSIST, |_event| {})
            .await
            .unwrap_err();
        assert!(error.to_string().contains("refuses access"), "{error}");
    });
}
