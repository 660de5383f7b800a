//! Power cuts after every step of storing a blob that an image's name leads to.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure is the test's"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lapstrake_oci::{Algorithm, Digest};
use lapstrake_store::{
    Commit, Disk, Durability, Error, HostId, ImageRecord, Lineage, Object, Place, RealDisk, Store,
};
use lapstrake_testkit::disk::{CrashDisk, scratch, survey};

const BLOB: &[u8] = b"a manifest";

fn open(disk: Arc<dyn Disk>, base: &Path, boot_id: &str) -> Store {
    let place = Place {
        root: &base.join("store"),
        host: &HostId::from_hostname("h"),
        boot_id,
    };
    Store::open_on(disk, place, None).unwrap()
}

fn digest() -> Digest {
    Algorithm::Sha256.digest(BLOB)
}

/// Stores the blob and names it. All is on disk when this returns.
fn store_and_name(store: &Store, durability: Durability) {
    let expires = SystemTime::now() + Duration::from_secs(60);
    let _lease = store.lease(&[Object::Blob(digest())], expires).unwrap();
    let content = &store.content;
    content.put_blob(BLOB, &digest(), durability).unwrap();
    if durability == Durability::HasSource {
        content.prove_blob(&digest()).unwrap();
    }
    let image = ImageRecord {
        reference: "docker.io/library/x:latest".to_owned(),
        manifest: digest(),
        config: digest(),
    };
    let lineage = Lineage {
        index: None,
        layers: &[],
    };
    let named = store
        .state()
        .set_image(&image, &lineage, SystemTime::now(), Commit::Synced);
    named.unwrap();
}

fn is_there(store: &Store) -> bool {
    match store.content.read_blob(&digest(), 1 << 20) {
        Ok(read) => read == BLOB,
        Err(Error::Missing(_) | Error::Damaged(_)) => false,
        Err(error) => panic!("{error}"),
    }
}

/// Takes steps in a new store. After every cut with every loss the blob is there if it was
/// acknowledged, and is there if it is stored again.
fn check(steps: impl FnOnce(&Store)) {
    let base = scratch();
    let disk = Arc::new(CrashDisk::over(base.path()));
    let store = open(Arc::clone(&disk) as _, base.path(), "one");
    steps(&store);
    let acknowledged = disk.steps();
    drop(store);
    survey(&disk.cuts(), |step, left| {
        let store = open(Arc::new(RealDisk), left, "two");
        assert!(is_there(&store) || step < acknowledged, "a blob is lost");
        store_and_name(&store, Durability::HasSource);
        assert!(is_there(&store), "a blob is not repaired");
    });
}

#[test]
fn a_blob_that_can_come_again() {
    check(|store| store_and_name(store, Durability::HasSource));
}

#[test]
fn a_blob_that_only_we_have() {
    check(|store| store_and_name(store, Durability::OnlyHere));
}

#[test]
fn a_blob_that_had_a_source_when_it_was_stored_first() {
    check(|store| {
        let stored = store
            .content
            .put_blob(BLOB, &digest(), Durability::HasSource);
        stored.unwrap();
        store_and_name(store, Durability::OnlyHere);
    });
}
