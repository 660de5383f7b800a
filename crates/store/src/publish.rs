//! Publishing a layer over what may lie under its name already.
//!
//! Invariant: what is under a layer's name when its publication ends was verified under the running
//! kernel, or proved. A directory of that name alone is no evidence: a crash may have kept the
//! name and lost the bytes, and the record with them. So it stays only if a record vouches for it;
//! else it gives way to the copy in hand, whose digest was just checked.
//!
//! The look and the exchange happen under the lock of the state database. Whoever adds a record, or
//! proves a layer and records that, therefore speaks of what is there and not of what was replaced.

use std::path::Path;

use lapstrake_oci::DiffId;
use lapstrake_sys::publish::Published;

use crate::Store;
use crate::content::Durability;
use crate::error::{Error, Result};
use crate::object::Object;
use crate::stage::StagedLayer;
use crate::state::LayerState;

impl Store {
    /// Gives a layer its name, if `got`, the digest of the tar that was written, is the `want`ed one. If
    /// the layer is in the store already, this copy of it is dropped; what is there and cannot be
    /// trusted goes to the trash. With [`Durability::OnlyHere`] the layer is on disk before it gets
    /// its name, and the name when this returns; else nothing is synced.
    ///
    /// # Errors
    /// If the digests differ, or the file system or the database refuses.
    pub fn publish_layer(
        &self,
        staged: StagedLayer,
        want: &DiffId,
        got: DiffId,
        durability: Durability,
    ) -> Result<()> {
        if *want != got {
            return Err(Error::LayerMismatch {
                want: want.clone(),
                got,
            });
        }
        if durability == Durability::OnlyHere {
            self.content.sync_staged(staged.path())?;
        }
        let published = self.replace_untrusted(staged.path(), want)?;
        // If there was a layer already, this removes ours: it may take longer than a lock should be held.
        drop(staged);
        match (durability, published) {
            (Durability::HasSource, _) => Ok(()),
            (Durability::OnlyHere, Published::New) => self.content.sync_layer_names(want),
            // What is there may have been published by somebody who did not wait.
            (Durability::OnlyHere, Published::Existed) => self.content.prove_layer(want),
        }
    }

    /// Waits until a layer that has no name yet is on disk, so that publishing it need not.
    ///
    /// # Errors
    /// If a sync fails.
    pub fn sync_staged(&self, staged: &StagedLayer) -> Result<()> {
        self.content.sync_staged(staged.path())
    }

    fn replace_untrusted(&self, staged: &Path, id: &DiffId) -> Result<Published> {
        let mut state = self.state();
        let record = state.layer(id)?;
        let is_known = record.is_some();
        let is_vouched_for = record.is_some_and(|record| record.state != LayerState::Doubtful);
        if is_vouched_for && self.content.is_complete(id) {
            return Ok(Published::Existed);
        }
        if is_known {
            // It spoke of other bytes: these may be lost in a crash even if those were proved.
            state.forget_layer(id)?;
        }
        let object = Object::Layer(id.clone());
        let taken = self.shared.trash.take(&self.content.path(&object))?;
        let published = self.content.publish_layer(staged, id)?;
        drop(state);
        if taken {
            self.janitor.empty_trash()?;
        }
        Ok(published)
    }
}

#[cfg(test)]
mod tests {
    use lapstrake_oci::Algorithm;

    use super::*;
    use crate::HostId;
    use crate::index::IndexStamp;
    use crate::state::LayerRecord;

    fn id() -> DiffId {
        DiffId(Algorithm::Sha256.digest(b"the tar"))
    }

    fn open(dir: &tempfile::TempDir, boot_id: &str) -> Store {
        let store = Store::open(dir.path(), &HostId::from_hostname("h"), boot_id).unwrap();
        // As a lease does: what is published beside a sweep is taken for a dead process's.
        store.sweep().unwrap();
        store
    }

    fn publish(store: &Store, data: &[u8], got: &DiffId) -> Result<()> {
        let mut stage = store.content.stage_layer()?;
        stage.append(data).unwrap();
        let staged = stage.finish(b"skeleton", b"spans")?;
        store.publish_layer(staged, &id(), got.clone(), Durability::OnlyHere)
    }

    fn record(store: &Store) {
        let layer = LayerRecord {
            diff_id: id(),
            tar_len: 1,
            data_len: 1,
            index: IndexStamp {
                len: 1,
                blake3: String::new(),
            },
            state: LayerState::Present,
        };
        store.state().add_layer(&layer, None).unwrap();
    }

    fn data(store: &Store) -> Vec<u8> {
        std::fs::read(store.content.layer_files(&id()).data).unwrap()
    }

    fn left(dir: &tempfile::TempDir) -> usize {
        std::fs::read_dir(dir.path().join("content/tmp/h"))
            .unwrap()
            .count()
    }

    #[test]
    fn a_layer_appears_whole_and_the_second_copy_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir, "one");
        publish(&store, &[7; 5000], &id()).unwrap();
        record(&store);
        publish(&store, b"8", &id()).unwrap();
        assert!(data(&store) == [7; 5000]);
        assert_eq!(left(&dir), 0);
    }

    #[test]
    fn a_layer_with_another_tar_is_refused_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir, "one");
        let got = DiffId(Algorithm::Sha256.digest(b"got"));
        let error = publish(&store, b"7", &got).unwrap_err();
        assert!(matches!(error, Error::LayerMismatch { .. }));
        assert!(!store.content.has_layer(&id()) && !store.content.has_layer(&got));
        assert_eq!(left(&dir), 0);
    }

    #[test]
    fn what_nobody_vouches_for_gives_way() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir, "one");
        publish(&store, b"of a crash", &id()).unwrap();
        publish(&store, b"whole", &id()).unwrap();
        assert_eq!(data(&store), b"whole");
    }

    #[test]
    fn what_is_doubtful_gives_way_with_its_record() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir, "one");
        publish(&store, b"of a crash", &id()).unwrap();
        record(&store);
        drop(store);
        let store = open(&dir, "two");
        publish(&store, b"whole", &id()).unwrap();
        assert_eq!(data(&store), b"whole");
        assert_eq!(store.state().layer(&id()).unwrap(), None);
    }

    #[test]
    fn what_was_proved_and_lost_a_file_gives_way_with_its_record() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir, "one");
        publish(&store, b"1", &id()).unwrap();
        record(&store);
        store.state().set_proved([&id()]).unwrap();
        std::fs::remove_file(store.content.layer_files(&id()).skeleton).unwrap();
        publish(&store, b"2", &id()).unwrap();
        assert_eq!(data(&store), b"2");
        assert_eq!(store.state().layer(&id()).unwrap(), None);
    }
}
