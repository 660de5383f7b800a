//! Notes about the store as a whole.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::State;
use crate::disk::Commit;
use crate::error::{Error, Result};

/// Schema 2.
pub(super) const TABLES_2: &str = "
CREATE TABLE note (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
";

const STRAYS: &str = "strays";

/// Makes sure that a commit has something to write: SQLite syncs nothing for one that changes
/// nothing, and the commits before it would stay where they are.
pub(super) fn count_sync(db: &Connection) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO note VALUES ('syncs', '1')
         ON CONFLICT (key) DO UPDATE SET value = value + 1",
    )?
    .execute([])
    .map(drop)
}

impl State {
    /// Whether content without a record is kept: so it is when this database was made anew beside
    /// content that was there already, for that content may be all that is left of a store.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn keeps_strays(&self) -> Result<bool> {
        let note = self
            .db
            .query_row(
                "SELECT value FROM note WHERE key = ?1",
                params![STRAYS],
                |row| row.get::<_, String>(0),
            )
            .optional();
        let note = note.map_err(|source| Error::Database {
            action: "read a note",
            source,
        })?;
        Ok(note.as_deref() == Some("keep"))
    }

    /// Says whether content without a record is kept.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn keep_strays(&mut self, keep: bool) -> Result<()> {
        self.commit("write a note", Commit::Synced, |db, _boot| {
            keep_strays(db, keep)
        })
    }
}

/// Writes whether content without a record is kept.
pub(super) fn keep_strays(db: &Connection, keep: bool) -> rusqlite::Result<()> {
    db.execute(
        "INSERT OR REPLACE INTO note VALUES (?1, ?2)",
        params![STRAYS, if keep { "keep" } else { "sweep" }],
    )
    .map(drop)
}
