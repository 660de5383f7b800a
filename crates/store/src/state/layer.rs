//! What is known of each layer: its sizes, its index, how far it can be trusted, its sources.

use std::collections::BTreeSet;

use rusqlite::{OptionalExtension as _, Row, params};

use lapstrake_oci::{DiffId, Digest};

use super::row::{length, parsed, sql};
use super::{State, edge, used};
use crate::disk::Commit;
use crate::error::{Error, Result};
use crate::index::IndexStamp;
use crate::object::Object;

/// Schema 1.
pub(super) const TABLES_1: &str = "
CREATE TABLE layer (
    diff_id      TEXT PRIMARY KEY,
    tar_len      INTEGER NOT NULL,
    data_len     INTEGER NOT NULL,
    index_len    INTEGER NOT NULL,
    index_blake3 TEXT NOT NULL,
    proved       INTEGER NOT NULL,
    boot_id      TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE source (
    diff_id    TEXT NOT NULL,
    repository TEXT NOT NULL,
    blob       TEXT NOT NULL,
    blob_len   INTEGER NOT NULL,
    media_type TEXT NOT NULL,
    PRIMARY KEY (diff_id, repository, blob)
) STRICT, WITHOUT ROWID;
";

/// How far a layer can be trusted without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerState {
    /// On disk, synced.
    Proved,
    /// Written under the running kernel; readable, but a crash may take it back.
    Present,
    /// Written under a kernel that no longer runs and never synced: check before use.
    Doubtful,
}

/// Schema 2.
pub(super) const TABLES_2: &str = "
CREATE INDEX layer_unproved ON layer (boot_id) WHERE proved = 0;
";

/// What is known of a published layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerRecord {
    /// Its name.
    pub diff_id: DiffId,
    /// Length of its tar in bytes.
    pub tar_len: u64,
    /// Length of its `data` in bytes.
    pub data_len: u64,
    /// What its index must be.
    pub index: IndexStamp,
    /// How far to trust it.
    pub state: LayerState,
}

/// A blob from which a layer can be made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Registry and repository, as in a normalised reference.
    pub repository: String,
    /// The compressed blob.
    pub blob: Digest,
    /// Its length in bytes.
    pub blob_len: u64,
    /// Its media type.
    pub media_type: String,
}

impl State {
    /// Records a layer as present. A layer that is proved stays so.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn add_layer(&mut self, layer: &LayerRecord, source: Option<&Source>) -> Result<()> {
        let id = layer.diff_id.to_string();
        self.commit("record a layer", Commit::Lazy, |db, boot_id| {
            db.execute(
                "INSERT INTO layer VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6)
                 ON CONFLICT (diff_id) DO UPDATE SET index_len = ?4, index_blake3 = ?5",
                params![
                    id,
                    sql(layer.tar_len),
                    sql(layer.data_len),
                    sql(layer.index.len),
                    layer.index.blake3,
                    boot_id
                ],
            )?;
            if let Some(source) = source {
                db.execute(
                    "INSERT OR REPLACE INTO source VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![
                        id,
                        source.repository,
                        source.blob.to_string(),
                        sql(source.blob_len),
                        source.media_type
                    ],
                )?;
            }
            Ok(())
        })
    }

    /// Records that layers are on disk; waits until the record is too.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn set_proved<'a>(&mut self, layers: impl IntoIterator<Item = &'a DiffId>) -> Result<()> {
        self.commit("record layers as proved", Commit::Synced, |db, boot_id| {
            let mut update =
                db.prepare("UPDATE layer SET proved = 1, boot_id = ?2 WHERE diff_id = ?1")?;
            for id in layers {
                update.execute(params![id.to_string(), boot_id])?;
            }
            Ok(())
        })
    }

    /// Records that a layer must be read back before it is used, for a sync of it failed.
    pub(crate) fn set_doubtful(&mut self, layer: &DiffId) -> Result<()> {
        self.commit("record a layer as doubtful", Commit::Lazy, |db, _boot| {
            db.execute(
                "UPDATE layer SET proved = 0, boot_id = '' WHERE diff_id = ?1",
                params![layer.to_string()],
            )
            .map(drop)
        })
    }

    /// Layers that were written under the running kernel and may not be on disk.
    pub(crate) fn present_layers(&self) -> Result<Vec<DiffId>> {
        let read = || {
            self.db
                .prepare_cached("SELECT diff_id FROM layer WHERE proved = 0 AND boot_id = ?1")?
                .query_map(params![self.boot_id], |row| Ok(DiffId(parsed(row, 0)?)))?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|source| Error::Database {
            action: "list the layers to be proved",
            source,
        })
    }

    /// Forgets a layer whose content is gone.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn forget_layer(&mut self, id: &DiffId) -> Result<()> {
        self.commit("forget a layer", Commit::Synced, |db, _boot| {
            // Its sources stay: it may be made again from them.
            for table in ["layer", "checked"] {
                db.prepare_cached(&format!("DELETE FROM {table} WHERE diff_id = ?1"))?
                    .execute(params![id.to_string()])?;
            }
            Ok(())
        })
    }

    /// Forgets objects that are about to be removed, with all that was known of them; waits until
    /// that is on disk, so that no record outlives its content.
    ///
    /// # Errors
    /// If the database refuses.
    pub(crate) fn forget(&mut self, objects: &[Object]) -> Result<()> {
        self.commit("forget what is removed", Commit::Synced, |db, _boot| {
            for object in objects {
                match object {
                    Object::Blob(document) => {
                        edge::unlink(db, document)?;
                        used::forget(db, document)?;
                    }
                    Object::Layer(id) => {
                        for table in ["layer", "source", "checked"] {
                            db.prepare_cached(&format!("DELETE FROM {table} WHERE diff_id = ?1"))?
                                .execute(params![id.to_string()])?;
                        }
                    }
                }
            }
            Ok(())
        })
    }

    /// Every layer that has a record.
    pub(crate) fn layer_ids(&self) -> Result<Vec<DiffId>> {
        let read = || {
            self.db
                .prepare_cached("SELECT diff_id FROM layer")?
                .query_map([], |row| Ok(DiffId(parsed(row, 0)?)))?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|source| Error::Database {
            action: "list the layers",
            source,
        })
    }

    /// What is known of a layer.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn layer(&self, id: &DiffId) -> Result<Option<LayerRecord>> {
        let found = self.layers(std::slice::from_ref(id))?;
        Ok(found.into_iter().next().flatten())
    }

    /// What is known of several layers, in the order of `ids`.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn layers(&self, ids: &[DiffId]) -> Result<Vec<Option<LayerRecord>>> {
        let look_up = || -> rusqlite::Result<Vec<_>> {
            // One transaction: the file is locked once and not for each layer.
            let read = self.db.unchecked_transaction()?;
            let mut query = read.prepare_cached(
                "SELECT diff_id, tar_len, data_len, index_len, index_blake3, proved, boot_id
                 FROM layer WHERE diff_id = ?1",
            )?;
            let mut find = |id: &DiffId| {
                query
                    .query_row(params![id.to_string()], |row| {
                        layer_record(row, &self.boot_id)
                    })
                    .optional()
            };
            ids.iter().map(&mut find).collect()
        };
        look_up().map_err(|source| Error::Database {
            action: "look up layers",
            source,
        })
    }

    /// What is known of every layer, by name.
    ///
    /// # Errors
    /// If the database refuses, or a record is none.
    pub fn every_layer(&self) -> Result<Vec<LayerRecord>> {
        let read = || {
            self.db
                .prepare(
                    "SELECT diff_id, tar_len, data_len, index_len, index_blake3, proved, boot_id
                     FROM layer ORDER BY diff_id",
                )?
                .query_map([], |row| layer_record(row, &self.boot_id))?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|source| Error::Database {
            action: "list the layers",
            source,
        })
    }

    /// The layers that have a recorded source.
    ///
    /// # Errors
    /// If the database refuses, or a record is none.
    pub fn sourced_layers(&self) -> Result<BTreeSet<DiffId>> {
        let read = || {
            self.db
                .prepare("SELECT DISTINCT diff_id FROM source")?
                .query_map([], |row| parsed(row, 0).map(DiffId))?
                .collect::<rusqlite::Result<_>>()
        };
        read().map_err(|source| Error::Database {
            action: "list the sources",
            source,
        })
    }

    /// The layer that a blob of this length was found to be.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn layer_of_blob(&self, blob: &Digest, len: u64) -> Result<Option<DiffId>> {
        self.db
            .query_row(
                "SELECT diff_id FROM source WHERE blob = ?1 AND blob_len = ?2 LIMIT 1",
                params![blob.to_string(), sql(len)],
                |row| parsed(row, 0).map(DiffId),
            )
            .optional()
            .map_err(|source| Error::Database {
                action: "look up a blob",
                source,
            })
    }

    /// From where a layer can be made again.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn sources(&self, id: &DiffId) -> Result<Vec<Source>> {
        let read = || {
            self.db
                .prepare(
                    "SELECT repository, blob, blob_len, media_type FROM source WHERE diff_id = ?1",
                )?
                .query_map(params![id.to_string()], |row| {
                    Ok(Source {
                        repository: row.get(0)?,
                        blob: parsed(row, 1)?,
                        blob_len: length(row, 2)?,
                        media_type: row.get(3)?,
                    })
                })?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|source| Error::Database {
            action: "look up sources",
            source,
        })
    }
}

fn layer_record(row: &Row<'_>, boot_id: &str) -> rusqlite::Result<LayerRecord> {
    let proved: bool = row.get(5)?;
    let written_under: String = row.get(6)?;
    let state = match (proved, written_under == boot_id) {
        (true, _) => LayerState::Proved,
        (false, true) => LayerState::Present,
        (false, false) => LayerState::Doubtful,
    };
    Ok(LayerRecord {
        diff_id: DiffId(parsed(row, 0)?),
        tar_len: length(row, 1)?,
        data_len: length(row, 2)?,
        index: IndexStamp {
            len: length(row, 3)?,
            blake3: row.get(4)?,
        },
        state,
    })
}

#[cfg(test)]
mod tests {
    use lapstrake_oci::Algorithm;

    use super::*;

    fn layer(state: LayerState) -> LayerRecord {
        LayerRecord {
            diff_id: DiffId(Algorithm::Sha256.digest(b"layer")),
            tar_len: 3,
            data_len: 2,
            index: IndexStamp {
                len: 1,
                blake3: "00".to_owned(),
            },
            state,
        }
    }

    #[test]
    fn an_unproved_layer_is_doubtful_after_a_reboot_and_a_proved_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let open = |boot| State::open_alone(&path, boot).unwrap();
        let present = layer(LayerState::Present);
        let id = &present.diff_id;
        let source = Source {
            repository: "r".to_owned(),
            blob: id.0.clone(),
            blob_len: 9,
            media_type: "m".to_owned(),
        };
        open("one").add_layer(&present, Some(&source)).unwrap();
        assert_eq!(open("one").layer(id).unwrap().unwrap(), present);
        assert_eq!(
            open("two").layer(id).unwrap().unwrap(),
            layer(LayerState::Doubtful)
        );
        open("two").set_proved([id]).unwrap();
        assert_eq!(
            open("three").layer(id).unwrap().unwrap(),
            layer(LayerState::Proved)
        );
        assert_eq!(open("three").sources(id).unwrap(), [source]);
        open("three").forget_layer(id).unwrap();
        assert_eq!(open("three").layer(id).unwrap(), None);
    }
}
