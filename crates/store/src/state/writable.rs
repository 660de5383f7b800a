//! Writable layers: which image each lies on.
//!
//! A record is on disk before anybody learns that its layer is there, and gone before what the layer
//! held is freed. Its edges, which keep the image, come and go with it in one commit.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{OptionalExtension as _, Row, params};

use lapstrake_oci::{DiffId, Digest};

use super::State;
use super::edge;
use super::image::ImageRecord;
use super::row::{length, parsed, sql};
use super::used;
use crate::disk::Commit;
use crate::error::{Error, Result};

/// Schema 2.
pub(super) const TABLES_2: &str = "
CREATE TABLE writable (
    name      TEXT PRIMARY KEY,
    reference TEXT NOT NULL,
    manifest  TEXT NOT NULL,
    config    TEXT NOT NULL,
    driver    TEXT NOT NULL,
    created   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// A writable layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WritableRecord {
    /// Its name.
    pub name: String,
    /// The image that it lies on, under the name that the image had then.
    pub image: ImageRecord,
    /// The driver that made it.
    pub driver: String,
    /// When, in seconds since 1970.
    pub created: u64,
}

impl State {
    /// Records a writable layer over an image of these layers, which then stay; waits until that is on
    /// disk. Whether the name was free.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn add_writable(&mut self, layer: &WritableRecord, stack: &[DiffId]) -> Result<bool> {
        self.commit("record a writable layer", Commit::Synced, |db, _boot| {
            let added = db.execute(
                "INSERT OR IGNORE INTO writable VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    layer.name,
                    layer.image.reference,
                    layer.image.manifest.to_string(),
                    layer.image.config.to_string(),
                    layer.driver,
                    sql(layer.created)
                ],
            )?;
            if added == 0 {
                return Ok(false);
            }
            edge::hold(db, &layer.name, &layer.image, stack)?;
            let made = UNIX_EPOCH + Duration::from_secs(layer.created);
            used::touch(db, &layer.image.manifest, made)?;
            Ok(true)
        })
    }

    /// Forgets a writable layer, and lets go of its image, which was used as long as the layer: until `used`, if
    /// that is known. A crash may bring the record back, but not what it speaks of.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn remove_writable(&mut self, name: &str, used: Option<SystemTime>) -> Result<()> {
        let record = self.writable(name)?;
        self.commit("forget a writable layer", Commit::Lazy, |db, _boot| {
            if let (Some(record), Some(used)) = (&record, used) {
                used::touch(db, &record.image.manifest, used)?;
            }
            edge::release(db, name)?;
            db.execute("DELETE FROM writable WHERE name = ?1", params![name])
                .map(drop)
        })
    }

    /// A writable layer by its name.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn writable(&self, name: &str) -> Result<Option<WritableRecord>> {
        let query = "SELECT name, reference, manifest, config, driver, created
                     FROM writable WHERE name = ?1";
        self.db
            .query_row(query, params![name], record)
            .optional()
            .map_err(|source| Error::Database {
                action: "look up a writable layer",
                source,
            })
    }

    /// The writable layers that lie on an image of this config, by whichever manifest.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn holders(&self, config: &Digest) -> Result<Vec<String>> {
        let read = || {
            self.db
                .prepare_cached("SELECT name FROM writable WHERE config = ?1 ORDER BY name")?
                .query_map(params![config.to_string()], |row| row.get(0))?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|source| Error::Database {
            action: "look up writable layers",
            source,
        })
    }

    /// All writable layers, by name.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn writables(&self) -> Result<Vec<WritableRecord>> {
        let read = || {
            self.db
                .prepare_cached(
                    "SELECT name, reference, manifest, config, driver, created
                     FROM writable ORDER BY name",
                )?
                .query_map([], record)?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|source| Error::Database {
            action: "list the writable layers",
            source,
        })
    }
}

fn record(row: &Row<'_>) -> rusqlite::Result<WritableRecord> {
    Ok(WritableRecord {
        name: row.get(0)?,
        image: ImageRecord {
            reference: row.get(1)?,
            manifest: parsed(row, 2)?,
            config: parsed(row, 3)?,
        },
        driver: row.get(4)?,
        created: length(row, 5)?,
    })
}

#[cfg(test)]
mod tests {
    use lapstrake_oci::Algorithm;

    use super::*;

    #[test]
    fn a_writable_layer_has_one_record_and_holds_its_image() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let mut state = State::open_alone(&path, "boot").unwrap();
        let digest = |text: &str| Algorithm::Sha256.digest(text.as_bytes());
        let layer = |name: &str, image: &str| WritableRecord {
            name: name.to_owned(),
            image: ImageRecord {
                reference: image.to_owned(),
                manifest: digest(image),
                config: digest(&format!("config of {image}")),
            },
            driver: "erofs".to_owned(),
            created: 1_700_000_000,
        };
        let stack = [DiffId(digest("layer"))];
        assert!(state.add_writable(&layer("b", "one"), &stack).unwrap());
        assert!(state.add_writable(&layer("a", "one"), &stack).unwrap());
        // The name stays with the image that it was given first.
        assert!(!state.add_writable(&layer("a", "two"), &stack).unwrap());
        assert_eq!(
            state.writables().unwrap(),
            [layer("a", "one"), layer("b", "one")]
        );
        assert_eq!(state.holders(&digest("config of one")).unwrap(), ["a", "b"]);
        assert_eq!(state.holders(&digest("config of two")).unwrap(), [""; 0]);
        state.remove_writable("a", None).unwrap();
        assert_eq!(state.writable("a").unwrap(), None);
        assert_eq!(state.writable("b").unwrap(), Some(layer("b", "one")));
        assert_eq!(state.holders(&digest("config of one")).unwrap(), ["b"]);
    }
}
