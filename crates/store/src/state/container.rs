//! Containers: a document each, under an id and a name that are theirs alone.
//!
//! What a document says is its writer's affair; here it is text.

use rusqlite::{OptionalExtension as _, Row, params};

use super::State;
use crate::disk::Commit;
use crate::error::{Error, Result};

/// Schema 3.
pub(super) const TABLES_3: &str = "
CREATE TABLE container (
    id   TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;
";

/// A container's document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerRecord {
    /// Its id, which never changes.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What is known of it.
    pub body: String,
}

/// What became of a record that was to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// It is there.
    Done,
    /// Nothing was written: the container of this id has the name.
    NameTaken(String),
}

impl State {
    /// Writes a container's record, new or in the place of that of the same id. `commit` says whether it is
    /// on disk when this returns.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn put_container(&mut self, record: &ContainerRecord, commit: Commit) -> Result<Put> {
        self.commit("record a container", commit, |db, _boot| {
            let owner: Option<String> = db
                .prepare_cached("SELECT id FROM container WHERE name = ?1 AND id <> ?2")?
                .query_row(params![record.name, record.id], |row| row.get(0))
                .optional()?;
            if let Some(owner) = owner {
                return Ok(Put::NameTaken(owner));
            }
            db.prepare_cached(
                "INSERT INTO container VALUES (?1, ?2, ?3)
                 ON CONFLICT (id) DO UPDATE SET name = excluded.name, body = excluded.body",
            )?
            .execute(params![record.id, record.name, record.body])?;
            Ok(Put::Done)
        })
    }

    /// Forgets a container; waits until that is on disk. Whether it was there.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn remove_container(&mut self, id: &str) -> Result<bool> {
        self.commit("forget a container", Commit::Synced, |db, _boot| {
            let gone = db.execute("DELETE FROM container WHERE id = ?1", params![id])?;
            Ok(gone > 0)
        })
    }

    /// A container by its id.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn container(&self, id: &str) -> Result<Option<ContainerRecord>> {
        self.db
            .query_row(
                "SELECT id, name, body FROM container WHERE id = ?1",
                params![id],
                record,
            )
            .optional()
            .map_err(|source| Error::Database {
                action: "look up a container",
                source,
            })
    }

    /// All containers, by id.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn containers(&self) -> Result<Vec<ContainerRecord>> {
        let read = || {
            self.db
                .prepare_cached("SELECT id, name, body FROM container ORDER BY id")?
                .query_map([], record)?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|source| Error::Database {
            action: "list the containers",
            source,
        })
    }
}

fn record(row: &Row<'_>) -> rusqlite::Result<ContainerRecord> {
    Ok(ContainerRecord {
        id: row.get(0)?,
        name: row.get(1)?,
        body: row.get(2)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(id: &str, name: &str, body: &str) -> ContainerRecord {
        ContainerRecord {
            id: id.to_owned(),
            name: name.to_owned(),
            body: body.to_owned(),
        }
    }

    #[test]
    fn a_container_has_one_record_and_a_name_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let mut state = State::open_alone(&path, "boot").unwrap();
        let mut put = |id: &str, name: &str, body: &str| {
            let record = container(id, name, body);
            state.put_container(&record, Commit::Synced).unwrap()
        };
        assert_eq!(put("1", "one", "{}"), Put::Done);
        assert_eq!(put("2", "two", "{}"), Put::Done);
        assert_eq!(put("2", "one", "{}"), Put::NameTaken("1".to_owned()));
        assert_eq!(put("1", "first", "{\"a\":1}"), Put::Done);
        assert_eq!(put("2", "one", "{}"), Put::Done);
        let first = container("1", "first", "{\"a\":1}");
        assert_eq!(
            state.containers().unwrap(),
            [first.clone(), container("2", "one", "{}")]
        );
        assert!(state.remove_container("2").unwrap());
        assert!(!state.remove_container("2").unwrap());
        drop(state);
        let state = State::open_alone(&path, "boot").unwrap();
        assert_eq!(state.container("1").unwrap(), Some(first));
        assert_eq!(state.container("2").unwrap(), None);
    }
}
