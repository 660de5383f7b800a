//! Volumes: a document each, under a name.
//!
//! What a document says is its writer's affair; here it is text.

use rusqlite::{OptionalExtension as _, Row, params};

use super::State;
use crate::disk::Commit;
use crate::error::{Error, Result};

/// Schema 3.
pub(super) const TABLES_3: &str = "
CREATE TABLE volume (
    name TEXT PRIMARY KEY,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;
";

/// A volume's document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeRecord {
    /// Its name.
    pub name: String,
    /// What is known of it.
    pub body: String,
}

impl State {
    /// Writes a volume's record, new or in the place of that of the same name. `commit` says whether it is
    /// on disk when this returns.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn put_volume(&mut self, record: &VolumeRecord, commit: Commit) -> Result<()> {
        self.commit("record a volume", commit, |db, _boot| {
            db.prepare_cached("INSERT OR REPLACE INTO volume VALUES (?1, ?2)")?
                .execute(params![record.name, record.body])
                .map(drop)
        })
    }

    /// Forgets a volume; waits until that is on disk. Whether it was there.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn remove_volume(&mut self, name: &str) -> Result<bool> {
        self.commit("forget a volume", Commit::Synced, |db, _boot| {
            let gone = db.execute("DELETE FROM volume WHERE name = ?1", params![name])?;
            Ok(gone > 0)
        })
    }

    /// A volume by its name.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn volume(&self, name: &str) -> Result<Option<VolumeRecord>> {
        self.db
            .query_row(
                "SELECT name, body FROM volume WHERE name = ?1",
                params![name],
                record,
            )
            .optional()
            .map_err(|source| Error::Database {
                action: "look up a volume",
                source,
            })
    }

    /// All volumes, by name.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn volumes(&self) -> Result<Vec<VolumeRecord>> {
        let read = || {
            self.db
                .prepare_cached("SELECT name, body FROM volume ORDER BY name")?
                .query_map([], record)?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|source| Error::Database {
            action: "list the volumes",
            source,
        })
    }
}

fn record(row: &Row<'_>) -> rusqlite::Result<VolumeRecord> {
    Ok(VolumeRecord {
        name: row.get(0)?,
        body: row.get(1)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_has_one_record() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let mut state = State::open_alone(&path, "boot").unwrap();
        let volume = |name: &str, body: &str| VolumeRecord {
            name: name.to_owned(),
            body: body.to_owned(),
        };
        for (name, body) in [("b", "{}"), ("a", "{}"), ("b", "{\"x\":1}")] {
            let record = volume(name, body);
            state.put_volume(&record, Commit::Synced).unwrap();
        }
        let b = volume("b", "{\"x\":1}");
        assert_eq!(state.volumes().unwrap(), [volume("a", "{}"), b.clone()]);
        assert!(state.remove_volume("a").unwrap());
        assert!(!state.remove_volume("a").unwrap());
        drop(state);
        let state = State::open_alone(&path, "boot").unwrap();
        assert_eq!(state.volume("a").unwrap(), None);
        assert_eq!(state.volume("b").unwrap(), Some(b));
    }
}
