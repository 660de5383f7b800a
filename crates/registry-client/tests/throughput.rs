//! How fast a blob comes from loopback, and in which pieces. Run it in release.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod shared;

use std::time::{Duration, Instant};

use lapstrake_oci::Descriptor;
use lapstrake_registry_client::{Client, Fetching, Options};
use lapstrake_testkit::registry::{Access, Registry};

#[tokio::test]
#[ignore = "a measurement, not a check"]
async fn a_gigabyte_from_loopback() {
    const LENGTH: usize = 1 << 30;
    let registry = Registry::start(Access::Open);
    let blob = Descriptor::new("", registry.add_blob(shared::noise(LENGTH)), LENGTH as u64);
    let client = shared::anonymous();
    for _ in 0..3 {
        let start = Instant::now();
        let mut stream = client.blob(&registry.repo("a"), &blob).await.unwrap();
        let (mut total, mut sizes) = (0, Vec::new());
        while let Some(chunk) = stream.next_chunk().await.unwrap() {
            total += chunk.len();
            sizes.push(chunk.len());
        }
        let seconds = start.elapsed().as_secs_f64();
        assert_eq!(total, LENGTH);
        sizes.sort_unstable();
        println!(
            "1 GiB in {seconds:.3} s, {} pieces, median {} bytes, largest {}",
            sizes.len(),
            sizes[sizes.len() / 2],
            sizes[sizes.len() - 1],
        );
    }
}

/// Seconds to fetch a blob from a registry as slow as this.
async fn seconds(fetching: Fetching, length: usize, slow: Option<(Duration, u64)>) -> f64 {
    let registry = Registry::start(Access::Open);
    let blob = Descriptor::new("", registry.add_blob(shared::noise(length)), length as u64);
    if let Some((delay, pace)) = slow {
        registry.slow_down(delay, pace);
    }
    let mut options = Options::of("lapstrake-test");
    options.fetching = fetching;
    let client = Client::new(options).unwrap();
    let start = Instant::now();
    let mut stream = client.blob(&registry.repo("a"), &blob).await.unwrap();
    let mut total = 0;
    while let Some(chunk) = stream.next_chunk().await.unwrap() {
        total += chunk.len();
    }
    assert_eq!(total, length);
    start.elapsed().as_secs_f64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, not a check"]
async fn whole_and_in_parts() {
    let parts = |parts| Fetching::Parts {
        parts,
        part_bytes: 4 << 20,
    };
    let far = Some((Duration::from_millis(40), 20_000_000));
    for (name, length, slow) in [
        ("512 MiB from loopback", 512 << 20, None),
        ("100 MB, 40 ms away, 20 MB/s a connection", 100_000_000, far),
    ] {
        for fetching in [Fetching::Whole, parts(2), parts(4), parts(8)] {
            let seconds = seconds(fetching, length, slow).await;
            println!("{name}: {fetching:?} {seconds:.2} s");
        }
    }
}
