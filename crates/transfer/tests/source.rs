//! A registry's blob is a source as any other.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure is the test's"
)]

use lapstrake_fill::source::{Source as _, SourceError, contract};
use lapstrake_oci::{Algorithm, Descriptor};
use lapstrake_registry_client::{Client, Options};
use lapstrake_testkit::registry::{Access, Registry};
use lapstrake_transfer::RegistrySource;

#[test]
fn a_registry_honours_the_contract() {
    let registry = Registry::start(Access::Open);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = Client::new(Options::of("test")).unwrap();
    let source = |digest, size| {
        RegistrySource::new(
            client.clone(),
            runtime.handle().clone(),
            registry.repo("app"),
            Descriptor::new("application/octet-stream", digest, size),
        )
    };
    contract::run(|blob| source(registry.add_blob(blob), blob.len() as u64));
    let missing = source(Algorithm::Sha256.digest(b"nowhere"), 10).read_at(0, &mut [0; 4]);
    assert!(matches!(missing, Err(SourceError::Missing)), "{missing:?}");
}
