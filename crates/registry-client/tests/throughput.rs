//! How fast a blob comes from loopback, and in which pieces. Run it in release.

mod shared;

use std::time::Instant;

use lapstrake_oci::Descriptor;
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
