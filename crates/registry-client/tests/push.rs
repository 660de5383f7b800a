//! Pushes to a registry that breaks off, forgets and refuses.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod shared;

use std::io::{self, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use lapstrake_oci::{Algorithm, Descriptor, Digest, Reference, media_type};
use lapstrake_registry_client::{
    Class, Client, Copied, Credentials, Error, FromRead, Options, Pushed, Pushing, Way,
};
use lapstrake_testkit::registry::{Access, Registry, UploadFault};
use proptest::prelude::*;

const LENGTH: usize = 700_000;

/// How a push is made.
#[derive(Debug, Clone, Copy)]
enum Mode {
    /// Name and length are known.
    Known,
    /// Neither is, as of what is compressed on the way.
    Unknown,
    /// The name is known, and pieces are sent.
    Pieces(u64),
}

fn client(mode: Mode, credentials: Credentials) -> Client {
    let mut options = Options::of("lapstrake-test");
    options.credentials = credentials;
    if let Mode::Pieces(bytes) = mode {
        options.pushing = Pushing::Pieces(bytes);
    }
    Client::new(options).unwrap()
}

/// Reads from memory, as if it did not know how much there is.
fn unknown(bytes: &[u8]) -> FromRead<impl FnMut(u64) -> io::Result<Cursor<Vec<u8>>> + use<>> {
    let bytes = bytes.to_vec();
    FromRead::new(None, move |from| {
        let mut cursor = Cursor::new(bytes.clone());
        cursor.set_position(from);
        Ok(cursor)
    })
}

async fn push(registry: &Registry, mode: Mode, bytes: &[u8]) -> Result<Pushed, Error> {
    let client = client(mode, Credentials::none());
    let repo = registry.repo("team/app");
    let digest = Algorithm::Sha256.digest(bytes);
    match mode {
        Mode::Known | Mode::Pieces(_) => {
            let mut source = Bytes::copy_from_slice(bytes);
            client
                .push_blob(&repo, Some(&digest), &[], &mut source)
                .await
        }
        Mode::Unknown => {
            client
                .push_blob(&repo, None, &[], &mut unknown(bytes))
                .await
        }
    }
}

/// What was asked, without `HEAD`: whether that is asked again depends on how much the sockets hold.
fn methods(registry: &Registry) -> String {
    let requests = registry.requests().into_iter();
    let methods = requests.map(|request| request.method);
    let methods: Vec<_> = methods.filter(|method| method != "HEAD").collect();
    methods.join(" ")
}

/// The blob arrives whatever the faults, with these requests.
async fn arrives(mode: Mode, faults: &[UploadFault], requests: &str) -> Registry {
    let registry = Registry::start(Access::Open);
    for fault in faults {
        registry.upload_fault(fault.clone());
    }
    let bytes = shared::noise(LENGTH);
    let digest = Algorithm::Sha256.digest(&bytes);
    let pushed = push(&registry, mode, &bytes).await;
    let pushed = pushed.unwrap_or_else(|error| panic!("{mode:?} {faults:?}: {error}"));
    assert_eq!(pushed.digest, digest, "{mode:?} {faults:?}");
    assert!(
        registry.blob(&digest).as_deref() == Some(&bytes[..]),
        "{mode:?} {faults:?}"
    );
    assert_eq!(methods(&registry), requests, "{mode:?} {faults:?}");
    registry
}

/// How much was sent in the end.
fn sent(registry: &Registry) -> usize {
    registry
        .requests()
        .iter()
        .map(|request| request.body_bytes)
        .sum()
}

#[tokio::test]
async fn without_faults() {
    arrives(Mode::Known, &[], "POST PUT").await;
    arrives(Mode::Unknown, &[], "POST PATCH PUT").await;
    arrives(Mode::Pieces(300_000), &[], "POST PATCH PATCH PATCH PUT").await;
    arrives(Mode::Pieces(350_000), &[], "POST PATCH PATCH PUT").await;
    arrives(Mode::Pieces(1 << 30), &[], "POST PATCH PUT").await;
}

#[tokio::test]
async fn a_registry_that_knows_only_how_docker_pushes() {
    for (mode, requests) in [
        (Mode::Known, "POST PUT GET POST PATCH PUT"),
        (Mode::Unknown, "POST PATCH PUT"),
        (Mode::Pieces(300_000), "POST PATCH PATCH PATCH PUT"),
    ] {
        let registry = Registry::start(Access::Open);
        registry.know_little_of_uploads();
        let bytes = shared::noise(LENGTH);
        let pushed = push(&registry, mode, &bytes).await.unwrap();
        assert!(registry.blob(&pushed.digest).as_deref() == Some(&bytes[..]));
        assert_eq!(methods(&registry), requests, "{mode:?}");
    }
}

#[tokio::test]
async fn a_broken_connection_is_resumed_where_it_broke() {
    let cut = [UploadFault::CutAfter(200_000)];
    let registry = arrives(Mode::Known, &cut, "POST PUT GET PATCH PUT").await;
    assert_eq!(sent(&registry), LENGTH);
    let registry = arrives(Mode::Unknown, &cut, "POST PATCH GET PATCH PUT").await;
    assert_eq!(sent(&registry), LENGTH);
    let pieces = "POST PATCH GET PATCH PATCH PUT";
    let registry = arrives(Mode::Pieces(300_000), &cut, pieces).await;
    assert_eq!(sent(&registry), LENGTH);
}

#[tokio::test]
async fn breaks_one_after_the_other() {
    let cuts = [1_000, 2, 99_999, 0, 300_000].map(UploadFault::CutAfter);
    let again = " GET PATCH".repeat(5);
    let registry = arrives(Mode::Unknown, &cuts, &format!("POST PATCH{again} PUT")).await;
    assert_eq!(sent(&registry), LENGTH);
}

#[tokio::test]
async fn an_upload_that_is_lost_is_begun_again() {
    let lost = [UploadFault::LoseAfter(200_000)];
    arrives(Mode::Known, &lost, "POST PUT GET POST PUT").await;
    arrives(Mode::Unknown, &lost, "POST PATCH GET POST PATCH PUT").await;
    let later = [UploadFault::None, UploadFault::LoseAfter(100_000)];
    let again = "POST PATCH PATCH GET POST PATCH PATCH PATCH PUT";
    arrives(Mode::Pieces(300_000), &later, again).await;
    // One byte or none: the registry can't say which, so it is begun again too.
    let one = [UploadFault::CutAfter(1)];
    arrives(Mode::Unknown, &one, "POST PATCH GET POST PATCH PUT").await;
}

/// Any fault that does not take long.
fn fault() -> impl Strategy<Value = UploadFault> {
    let at = 0_usize..LENGTH;
    prop_oneof![
        Just(UploadFault::None),
        at.clone().prop_map(UploadFault::CutAfter),
        at.prop_map(UploadFault::LoseAfter),
        Just(UploadFault::NoAnswer),
        Just(UploadFault::WrongByte),
        Just(UploadFault::Status(500, None)),
        Just(UploadFault::Status(413, None)),
        Just(UploadFault::Status(429, Some("0".to_owned()))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn a_push_that_succeeds_has_pushed(
        faults in prop::collection::vec(fault(), 0..5),
        mode in prop_oneof![
            Just(Mode::Known),
            Just(Mode::Unknown),
            (100_000_u64..900_000).prop_map(Mode::Pieces),
        ],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let registry = Registry::start(Access::Open);
            for fault in &faults {
                registry.upload_fault(fault.clone());
            }
            let bytes = shared::noise(LENGTH);
            let digest = Algorithm::Sha256.digest(&bytes);
            match push(&registry, mode, &bytes).await {
                Ok(pushed) => {
                    assert_eq!(pushed.digest, digest);
                    assert!(registry.blob(&digest).as_deref() == Some(&bytes[..]));
                }
                // Faults that end a push are told; after others it goes on.
                Err(error) => assert!(
                    error.class() == Class::Unavailable || faults.contains(&UploadFault::WrongByte)
                        || faults.contains(&UploadFault::Status(413, None)),
                    "{mode:?} {faults:?}: {error}"
                ),
            }
        });
    }
}

#[tokio::test]
async fn a_registry_that_does_not_say_where_it_stands_gets_all_again() {
    let registry = Registry::start(Access::Open);
    registry.keep_uploads_secret();
    registry.upload_fault(UploadFault::CutAfter(200_000));
    let bytes = shared::noise(LENGTH);
    push(&registry, Mode::Unknown, &bytes).await.unwrap();
    assert_eq!(methods(&registry), "POST PATCH GET POST PATCH PUT");
    assert_eq!(sent(&registry), LENGTH + 200_000);
}

#[tokio::test]
async fn an_answer_that_is_lost_is_found_out() {
    // All came, and the registry finished: it has the blob.
    arrives(Mode::Known, &[UploadFault::NoAnswer], "POST PUT GET").await;
    // All came, but it was not named yet.
    let lost = "POST PATCH GET PUT";
    arrives(Mode::Unknown, &[UploadFault::NoAnswer], lost).await;
    let last = [UploadFault::None, UploadFault::NoAnswer];
    arrives(Mode::Unknown, &last, "POST PATCH PUT GET").await;
}

#[tokio::test]
async fn a_registry_that_is_busy_is_asked_again_when_it_says() {
    let busy = [
        UploadFault::Status(503, None),
        UploadFault::Status(429, Some("1".to_owned())),
    ];
    let start = std::time::Instant::now();
    let requests = "POST PATCH GET POST PATCH GET POST PATCH PUT";
    arrives(Mode::Unknown, &busy, requests).await;
    assert!(start.elapsed().as_secs() >= 1);
}

#[tokio::test]
async fn a_registry_that_takes_no_large_body_gets_pieces() {
    let large = [UploadFault::Status(413, None)];
    arrives(Mode::Known, &large, "POST PUT POST PATCH PUT").await;
}

#[tokio::test]
async fn pieces_are_as_long_as_the_registry_wants_them() {
    let registry = Registry::start(Access::Open);
    registry.least_piece(400_000);
    push(&registry, Mode::Pieces(10), &shared::noise(LENGTH))
        .await
        .unwrap();
    assert_eq!(methods(&registry), "POST PATCH PATCH PUT");
}

#[tokio::test]
async fn it_gives_up_after_failures_in_a_row() {
    let registry = Registry::start(Access::Open);
    for _ in 0..9 {
        registry.upload_fault(UploadFault::CutAfter(0));
    }
    let error = push(&registry, Mode::Unknown, &shared::noise(LENGTH))
        .await
        .unwrap_err();
    assert_eq!(error.class(), Class::Unavailable, "{error}");
    assert!(error.to_string().contains(&registry.host()), "{error}");
}

#[tokio::test]
async fn bytes_that_change_on_the_way_are_not_taken() {
    let registry = Registry::start(Access::Open);
    registry.upload_fault(UploadFault::WrongByte);
    let bytes = shared::noise(LENGTH);
    let error = push(&registry, Mode::Known, &bytes).await.unwrap_err();
    assert_eq!(error.class(), Class::Invalid, "{error}");
    assert!(error.to_string().contains("DIGEST_INVALID"), "{error}");
    assert!(registry.blob(&Algorithm::Sha256.digest(&bytes)).is_none());
}

#[tokio::test]
async fn what_is_there_is_not_sent() {
    let registry = Registry::start(Access::Open);
    let bytes = shared::noise(LENGTH);
    let digest = registry.add_blob(bytes.as_slice());
    let pushed = push(&registry, Mode::Known, &bytes).await.unwrap();
    assert_eq!(pushed.way, Way::Existing);
    assert_eq!(methods(&registry), "");
    let client = shared::anonymous();
    let repo = registry.repo("a");
    let size = client.blob_exists(&repo, &digest).await.unwrap();
    assert_eq!(size, Some(LENGTH as u64));
    let other = Algorithm::Sha256.digest(b"other");
    assert_eq!(client.blob_exists(&repo, &other).await.unwrap(), None);
}

#[tokio::test]
async fn an_empty_blob() {
    for mode in [Mode::Known, Mode::Unknown, Mode::Pieces(5)] {
        let registry = Registry::start(Access::Open);
        let pushed = push(&registry, mode, b"").await.unwrap();
        assert!(registry.blob(&pushed.digest).is_some(), "{mode:?}");
    }
}

#[tokio::test]
async fn a_blob_is_mounted_where_that_is_allowed() {
    let registry = Registry::start(Access::Token);
    let digest = registry.add_blob(*b"abc");
    let client = shared::anonymous();
    let (repo, from) = (registry.repo("a"), registry.repo("b"));
    assert!(!client.mount_blob(&repo, &digest, &from).await.unwrap());
    let last = registry.requests().pop().unwrap();
    assert_eq!(
        last.method, "DELETE",
        "the upload that was begun instead is ended"
    );
    registry.allow_mounts_from("b");
    assert!(client.mount_blob(&repo, &digest, &from).await.unwrap());
    let elsewhere = "other.example/b".parse().unwrap();
    assert!(!client.mount_blob(&repo, &digest, &elsewhere).await.unwrap());
}

#[tokio::test]
async fn a_token_for_a_mount_allows_both() {
    let registry = Registry::start(Access::Token);
    registry.allow_mounts_from("b");
    let digest = registry.add_blob(*b"abc");
    let (repo, from) = (registry.repo("a"), registry.repo("b"));
    shared::anonymous()
        .mount_blob(&repo, &digest, &from)
        .await
        .unwrap();
    let asked = registry.requests();
    let token = asked
        .iter()
        .find(|request| request.target.starts_with("/token"))
        .unwrap();
    assert!(
        token.target.contains("scope=repository%3Aa%3Apull%2Cpush"),
        "{}",
        token.target
    );
    assert!(
        token.target.contains("scope=repository%3Ab%3Apull"),
        "{}",
        token.target
    );
}

/// Reads from memory; all tokens run out once, when it comes to a byte.
struct Expiring {
    bytes: Cursor<Vec<u8>>,
    at: u64,
    registry: Arc<Registry>,
    is_done: Arc<AtomicBool>,
}

impl Read for Expiring {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.bytes.position() >= self.at && !self.is_done.swap(true, Ordering::SeqCst) {
            self.registry.expire_tokens();
        }
        self.bytes.read(buffer)
    }
}

#[tokio::test]
async fn a_token_that_runs_out_in_the_middle_of_a_push_is_replaced() {
    for (status, at) in [(401, 0), (401, 500_000), (403, 0), (403, 500_000)] {
        let registry = Arc::new(Registry::start(Access::TokenFor(shared::BASIC.to_owned())));
        if status == 403 {
            registry.refuse_old_tokens_with(403);
        }
        let bytes = shared::noise(LENGTH);
        let known = Credentials::none().with(&registry.host(), shared::me("hush"));
        let client = client(Mode::Pieces(200_000), known);
        let is_done = Arc::new(AtomicBool::new(false));
        let mut source = FromRead::new(None, |from| {
            let mut cursor = Cursor::new(bytes.clone());
            cursor.set_position(from);
            Ok(Expiring {
                bytes: cursor,
                at,
                registry: Arc::clone(&registry),
                is_done: Arc::clone(&is_done),
            })
        });
        let repo = registry.repo("a");
        let pushed = client.push_blob(&repo, None, &[], &mut source).await;
        let pushed = pushed.unwrap_or_else(|error| panic!("{status} {at}: {error}"));
        assert!(registry.blob(&pushed.digest).as_deref() == Some(&bytes[..]));
        assert!(is_done.load(Ordering::SeqCst));
    }
}

#[tokio::test]
async fn a_source_that_cannot_be_read_is_told() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    struct Panics;
    impl Read for Panics {
        fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
            panic!("a defect in a compressor");
        }
    }
    let registry = Registry::start(Access::Open);
    let repo = registry.repo("a");
    let client = shared::anonymous();
    let mut source = FromRead::new(None, |_from| Ok(Broken));
    let error = client
        .push_blob(&repo, None, &[], &mut source)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("the disk is gone"), "{error}");
    let mut source = FromRead::new(None, |_from| Ok(Panics));
    let error = client
        .push_blob(&repo, None, &[], &mut source)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("panicked"), "{error}");
    let mut source = FromRead::new(None, |_from| -> io::Result<Broken> {
        Err(io::ErrorKind::NotFound.into())
    });
    let error = client
        .push_blob(&repo, None, &[], &mut source)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Source { .. }), "{error}");
}

#[tokio::test]
async fn a_blob_passes_through_from_one_registry_to_another() {
    let (from, to) = (
        Registry::start(Access::Token),
        Registry::start(Access::Open),
    );
    let bytes = shared::noise(LENGTH);
    let digest = from.add_blob(bytes.as_slice());
    to.upload_fault(UploadFault::CutAfter(100_000));
    let client = shared::anonymous();
    let mut source = Copied {
        client: client.clone(),
        repo: from.repo("a"),
        blob: Descriptor::new("", digest.clone(), LENGTH as u64),
    };
    let pushed = client
        .push_blob(&to.repo("b"), Some(&digest), &[], &mut source)
        .await;
    assert!(matches!(pushed.unwrap().way, Way::Sent(_)));
    assert!(to.blob(&digest).as_deref() == Some(&bytes[..]));
}

#[tokio::test]
async fn manifests_by_tag_and_by_digest() {
    let registry = Registry::start(Access::Token);
    let client = shared::anonymous();
    let raw = br#"{"schemaVersion":2}"#;
    let digest = Algorithm::Sha256.digest(raw);
    let tagged: Reference = format!("{}/a:v1", registry.host()).parse().unwrap();
    let pinned = Reference::pinned(registry.repo("a"), digest.clone());
    let push = async |reference: &Reference| {
        client
            .push_manifest(reference, media_type::OCI_MANIFEST, Bytes::from_static(raw))
            .await
    };
    assert_eq!(push(&pinned).await.unwrap(), digest);
    assert!(registry.manifest("a", "v1").is_none());
    assert_eq!(push(&tagged).await.unwrap(), digest);
    for name in ["v1", &digest.to_string()] {
        let (stored_type, stored) = registry.manifest("a", name).unwrap();
        assert_eq!(
            (stored_type.as_str(), &*stored),
            (media_type::OCI_MANIFEST, &raw[..])
        );
    }
    let other: Digest = Algorithm::Sha256.digest(b"other");
    let error = push(&Reference::pinned(registry.repo("a"), other))
        .await
        .unwrap_err();
    assert_eq!(error.class(), Class::DataLoss, "{error}");
}
