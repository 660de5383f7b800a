//! Blobs from a registry that breaks off, lies and sends elsewhere.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod shared;

use lapstrake_oci::Descriptor;
use lapstrake_registry_client::{Class, Client, Error, Fetching, Options};
use lapstrake_testkit::registry::{Access, Fault, Registry};
use proptest::prelude::*;

const LENGTH: usize = 300_000;

struct Blob {
    registry: Registry,
    bytes: Vec<u8>,
    blob: Descriptor,
}

impl Blob {
    /// A registry whose answers meet these faults, one after the other.
    fn with(faults: &[Fault]) -> Self {
        let registry = Registry::start(Access::Open);
        let bytes = shared::noise(LENGTH);
        let digest = registry.add_blob(bytes.as_slice());
        for fault in faults {
            registry.fault(&digest, fault.clone());
        }
        let blob = Descriptor::new("", digest, LENGTH as u64);
        Self {
            registry,
            bytes,
            blob,
        }
    }

    async fn read(&self) -> (Vec<u8>, Option<Error>) {
        let repo = self.registry.repo("a");
        shared::read(&shared::anonymous(), &repo, &self.blob).await
    }

    async fn small(&self) -> Result<Vec<u8>, Error> {
        let repo = self.registry.repo("a");
        shared::anonymous()
            .small_blob(&repo, &self.blob, LENGTH as u64)
            .await
    }

    fn ranges(&self) -> Vec<Option<String>> {
        let requests = self.registry.requests().into_iter();
        requests.map(|request| request.range).collect()
    }
}

/// All comes, with these ranges asked for.
async fn arrives(faults: &[Fault], ranges: &[Option<&str>]) {
    let blob = Blob::with(faults);
    let (bytes, error) = blob.read().await;
    assert!(error.is_none(), "{faults:?}: {error:?}");
    assert!(bytes == blob.bytes, "{faults:?}: other bytes");
    let asked = blob.ranges();
    let asked: Vec<_> = asked.iter().map(Option::as_deref).collect();
    assert_eq!(asked, ranges, "{faults:?}");
}

/// It ends with an error of this class after so many requests, and all bytes before it were right.
async fn fails(faults: &[Fault], class: Class, requests: usize) -> Error {
    let blob = Blob::with(faults);
    let (bytes, error) = blob.read().await;
    let error = error.unwrap_or_else(|| panic!("{faults:?}: no error"));
    assert_eq!(error.class(), class, "{faults:?}: {error}");
    assert!(blob.bytes.starts_with(&bytes), "{faults:?}: other bytes");
    assert_eq!(blob.registry.requests().len(), requests, "{faults:?}");
    error
}

#[tokio::test]
async fn whole() {
    arrives(&[], &[None]).await;
}

#[tokio::test]
async fn a_broken_connection_is_resumed_where_it_broke() {
    let cuts = [Fault::CutAfter(1_000), Fault::CutAfter(100_000)];
    let ranges = [None, Some("bytes=1000-"), Some("bytes=101000-")];
    arrives(&cuts, &ranges).await;
}

#[tokio::test]
async fn a_break_before_the_first_byte_is_tried_again() {
    arrives(&[Fault::CutAfter(0)], &[None, None]).await;
}

#[tokio::test]
async fn a_server_that_is_out_of_order_for_a_while_is_asked_again() {
    let faults = [Fault::Status(503), Fault::CutAfter(5), Fault::Status(429)];
    let ranges = [None, None, Some("bytes=5-"), Some("bytes=5-")];
    arrives(&faults, &ranges).await;
}

#[tokio::test]
async fn a_server_that_is_busy_is_asked_again_when_it_says() {
    let start = std::time::Instant::now();
    let busy = Fault::RetryAfter(429, "1".to_owned());
    arrives(&[busy], &[None, None]).await;
    assert!(start.elapsed().as_secs() >= 1);
    let busy = Fault::RetryAfter(429, "3600".to_owned());
    let error = fails(&[busy], Class::Unavailable, 1).await;
    assert!(error.to_string().contains("in 3600 s"), "{error}");
}

/// The blob in parts of this length, whatever the faults.
async fn arrives_in_parts(part_bytes: u64, from: u64, faults: &[Fault]) -> Vec<Option<String>> {
    let blob = Blob::with(faults);
    let mut options = Options::of("lapstrake-test");
    options.fetching = Fetching::Parts {
        parts: 3,
        part_bytes,
    };
    let client = Client::new(options).unwrap();
    let repo = blob.registry.repo("a");
    let mut stream = client.blob_after(&repo, &blob.blob, from).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next_chunk().await.unwrap() {
        bytes.extend_from_slice(&chunk);
    }
    let from = usize::try_from(from).unwrap();
    assert!(
        bytes == blob.bytes[from..],
        "{part_bytes} {faults:?}: other bytes"
    );
    let mut ranges = blob.ranges();
    ranges.sort();
    ranges
}

#[tokio::test]
async fn a_large_blob_in_parts() {
    let ranges = arrives_in_parts(100_000, 0, &[]).await;
    let expected = ["bytes=0-99999", "bytes=100000-199999", "bytes=200000-"];
    assert_eq!(ranges, expected.map(|range| Some(range.to_owned())));
    assert_eq!(arrives_in_parts(7_000, 12_345, &[]).await.len(), 42);
    assert_eq!(arrives_in_parts(LENGTH as u64, 0, &[]).await, [None]);
}

#[tokio::test]
async fn a_large_blob_in_parts_with_faults() {
    // Which part meets which fault is a matter of chance; all come right in the end.
    let faults = [
        Fault::CutAfter(1_000),
        Fault::Status(503),
        Fault::WrongRange(5),
        Fault::CutAfter(0),
    ];
    arrives_in_parts(50_000, 0, &faults).await;
    // A server that ignores ranges is asked once, and then for nothing more than what it sends.
    let ranges = arrives_in_parts(50_000, 0, &[Fault::IgnoreRange]).await;
    assert_eq!(ranges, [Some("bytes=0-49999".to_owned())]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn all_comes_right_or_ends_with_an_error_after_right_bytes(
        faults in prop::collection::vec(fault(), 0..6),
        parts in prop::option::of(20_000_u64..200_000),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let blob = Blob::with(&faults);
            let mut options = Options::of("lapstrake-test");
            if let Some(part_bytes) = parts {
                options.fetching = Fetching::Parts { parts: 3, part_bytes };
            }
            let client = Client::new(options).unwrap();
            let repo = blob.registry.repo("a");
            let (bytes, error) = shared::read(&client, &repo, &blob.blob).await;
            assert!(blob.bytes.starts_with(&bytes), "{faults:?}: other bytes");
            assert_eq!(error.is_none(), bytes.len() == LENGTH, "{faults:?}: {error:?}");
        });
    }
}

/// Any fault that does not take long and cannot be told only by the digest.
fn fault() -> impl Strategy<Value = Fault> {
    let at = 0_usize..LENGTH;
    prop_oneof![
        Just(Fault::None),
        at.clone().prop_map(Fault::CutAfter),
        at.clone().prop_map(Fault::ShortBody),
        Just(Fault::IgnoreRange),
        at.prop_map(Fault::IgnoreRangeAndCutAfter),
        (1_usize..1000).prop_map(Fault::WrongRange),
        Just(Fault::Status(503)),
        Just(Fault::Status(404)),
        Just(Fault::RetryAfter(429, "0".to_owned())),
    ]
}

#[tokio::test]
async fn a_server_that_ignores_ranges_sends_again_what_is_skipped() {
    let faults = [Fault::CutAfter(200_000), Fault::IgnoreRange];
    arrives(&faults, &[None, Some("bytes=200000-")]).await;
}

#[tokio::test]
async fn a_break_while_skipping_is_resumed_too() {
    let faults = [
        Fault::CutAfter(9),
        Fault::IgnoreRangeAndCutAfter(3),
        Fault::None,
    ];
    arrives(&faults, &[None, Some("bytes=9-"), Some("bytes=9-")]).await;
}

#[tokio::test]
async fn a_later_range_than_asked_for_is_not_taken() {
    let faults = [Fault::CutAfter(9), Fault::WrongRange(1)];
    arrives(&faults, &[None, Some("bytes=9-"), Some("bytes=9-")]).await;
}

#[tokio::test]
async fn a_short_answer_is_completed() {
    arrives(&[Fault::ShortBody(10)], &[None, Some("bytes=10-")]).await;
}

#[tokio::test]
async fn too_many_bytes_are_an_error_and_not_yielded() {
    let error = fails(&[Fault::LongBody(1)], Class::DataLoss, 1).await;
    let message = error.to_string();
    assert!(
        message.contains("300001") && message.contains("300000"),
        "{message}"
    );
}

#[tokio::test]
async fn it_gives_up_after_failures_in_a_row() {
    let faults = vec![Fault::CutAfter(0); 9];
    let error = fails(&faults, Class::Unavailable, 5).await;
    assert!(error.to_string().contains("127.0.0.1"), "{error}");
}

#[tokio::test]
async fn what_will_not_change_is_not_asked_again() {
    fails(&[Fault::Status(404)], Class::NotFound, 1).await;
    fails(&[Fault::Status(403)], Class::PermissionDenied, 1).await;
    fails(&[Fault::Status(400)], Class::Invalid, 1).await;
}

#[tokio::test]
#[ignore = "takes 30 s, until a stall is called one"]
async fn a_stalled_answer_is_given_up_and_resumed() {
    arrives(&[Fault::StallAfter(7)], &[None, Some("bytes=7-")]).await;
}

#[tokio::test]
async fn a_redirect_is_followed_also_when_resuming() {
    let storage = Blob::with(&[Fault::CutAfter(50)]);
    let host = storage.registry.host();
    let to_storage = Fault::RedirectTo(host);
    let blob = Blob::with(&[to_storage.clone(), to_storage]);
    let (bytes, error) = blob.read().await;
    assert!(error.is_none(), "{error:?}");
    assert!(bytes == blob.bytes);
    let expected = [None, Some("bytes=50-".to_owned())];
    assert_eq!(blob.ranges(), expected);
    assert_eq!(storage.ranges(), expected);
}

#[tokio::test]
async fn a_circle_of_redirects_ends() {
    let blob = Blob::with(&[]);
    for _ in 0..60 {
        let again = Fault::RedirectTo(blob.registry.host());
        blob.registry.fault(&blob.blob.digest, again);
    }
    let (bytes, error) = blob.read().await;
    assert!(bytes.is_empty());
    let error = error.expect("a circle has no end");
    assert!(error.to_string().ends_with("in a circle"), "{error}");
    assert_eq!(error.class(), Class::Invalid);
    // Ten hops, once: a circle is not gone around again.
    assert_eq!(blob.ranges().len(), 11);
}

#[tokio::test]
async fn plain_http_to_another_machine_is_refused() {
    let to_elsewhere = Fault::RedirectTo("192.0.2.1:81".to_owned());
    let error = fails(&[to_elsewhere], Class::Invalid, 1).await;
    let message = error.to_string();
    assert!(
        message.contains("to 192.0.2.1:81 over plain HTTP"),
        "{message}"
    );
}

#[tokio::test]
async fn small_blobs_survive_a_hiccup() {
    for fault in [Fault::Status(503), Fault::CutAfter(9)] {
        let blob = Blob::with(&[fault.clone(), fault.clone()]);
        let got = blob.small().await.unwrap();
        assert!(got == blob.bytes, "{fault:?}: other bytes");
        assert_eq!(blob.ranges().len(), 3, "{fault:?}");
    }
}

#[tokio::test]
async fn a_small_blob_that_is_not_there_is_asked_for_once() {
    let blob = Blob::with(&[Fault::Status(404)]);
    let error = blob.small().await.unwrap_err();
    assert_eq!(error.class(), Class::NotFound);
    assert_eq!(blob.ranges().len(), 1);
}

#[tokio::test]
async fn a_manifest_survives_a_hiccup() {
    let registry = Registry::start(Access::Open);
    let image = registry.add_image("a", "latest", &[]);
    registry.fault(&image.manifest.digest, Fault::Status(500));
    registry.fault(&image.manifest.digest, Fault::CutAfter(20));
    let resolved = shared::anonymous()
        .manifest(&registry.repo("a"), &image.manifest.digest)
        .await
        .unwrap();
    assert_eq!(resolved.digest, image.manifest.digest);
}
