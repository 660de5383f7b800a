//! The tables, and how an older database gets them.
//!
//! Each concept's module has the text that its part of a version takes. A version that was
//! released never changes: what comes later is a further step.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::{checked, container, edge, image, layer, note, used, volume, writable};
use crate::error::{Error, Result};

/// `STEPS[n]` leads from version `n`, which SQLite keeps as `user_version`, to the next.
const STEPS: &[&[&str]] = &[
    &[image::TABLES_1, layer::TABLES_1],
    &[
        image::TABLES_2,
        layer::TABLES_2,
        edge::TABLES_2,
        note::TABLES_2,
        writable::TABLES_2,
        checked::TABLES_2,
    ],
    &[container::TABLES_3, volume::TABLES_3],
    &[used::TABLES_4],
];

/// Brings a database to the version that this program knows. What must be noted of a new one is in
/// the same commit, or a crash in between could cost a store's content.
pub(super) fn migrate(
    db: &mut Connection,
    path: &Path,
    has_content: &dyn Fn() -> Result<bool>,
) -> Result<()> {
    let fail = |source| Error::Database {
        action: "prepare the tables",
        source,
    };
    let transaction = db
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(fail)?;
    let version = version(&transaction)?;
    let steps = steps(version, path)?;
    for text in steps.iter().copied().flatten() {
        transaction.execute_batch(text).map_err(fail)?;
    }
    if !steps.is_empty() {
        transaction
            .execute_batch(&format!("PRAGMA user_version = {}", STEPS.len()))
            .map_err(fail)?;
    }
    if version == 0 && has_content()? {
        note::keep_strays(&transaction, true).map_err(fail)?;
    }
    transaction.commit().map_err(fail)
}

/// Sees to it that a database has the version that this program knows.
pub(super) fn check(db: &Connection, path: &Path) -> Result<()> {
    let version = version(db)?;
    if steps(version, path)?.is_empty() {
        return Ok(());
    }
    Err(Error::Format {
        path: path.to_owned(),
        why: format!(
            "it has schema version {version}; this lapstrake reads {}: a command that changes \
             something (lapstrake prune) brings it up to date",
            STEPS.len()
        ),
    })
}

fn version(db: &Connection) -> Result<i64> {
    db.query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(|source| Error::Database {
            action: "read the version of the tables",
            source,
        })
}

/// The steps that a database of this version lacks.
fn steps(version: i64, path: &Path) -> Result<&'static [&'static [&'static str]]> {
    usize::try_from(version)
        .ok()
        .and_then(|version| STEPS.get(version..))
        .ok_or_else(|| Error::Format {
            path: path.to_owned(),
            why: format!(
                "it has schema version {version}; this lapstrake knows {}: use a newer lapstrake",
                STEPS.len()
            ),
        })
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn a_newer_schema_is_refused_with_words() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        drop(State::open_alone(&path, "boot").unwrap());
        Connection::open(&path)
            .unwrap()
            .pragma_update(None, "user_version", 99)
            .unwrap();
        let error = State::open_alone(&path, "boot").unwrap_err().to_string();
        assert!(error.contains("schema version 99"), "{error}");
    }

    #[test]
    fn a_database_of_version_1_is_brought_up_to_date_and_keeps_what_it_knew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let digest = lapstrake_oci::Algorithm::Sha256.digest(b"x");
        let old = Connection::open(&path).unwrap();
        for text in STEPS[0] {
            old.execute_batch(text).unwrap();
        }
        old.execute_batch("PRAGMA user_version = 1").unwrap();
        old.execute(
            "INSERT INTO image VALUES ('docker.io/library/x:latest', ?1, ?1)",
            [digest.to_string()],
        )
        .unwrap();
        old.execute(
            "INSERT INTO layer VALUES (?1, 3, 2, 1, '00', 1, 'boot')",
            [digest.to_string()],
        )
        .unwrap();
        drop(old);
        let refused = State::open_read_only(&path, "boot")
            .unwrap_err()
            .to_string();
        assert!(refused.contains("schema version 1"), "{refused}");

        let mut state = State::open_alone(&path, "boot").unwrap();
        assert!(!state.keeps_strays().unwrap());
        let images = state.images().unwrap();
        assert_eq!(state.unlinked_images().unwrap(), images);
        let id = lapstrake_oci::DiffId(digest);
        state
            .link_image(&images[0], std::slice::from_ref(&id))
            .unwrap();
        assert_eq!(state.unlinked_images().unwrap(), []);
        assert_eq!(state.names().unwrap(), [(images[0].clone(), id.0.clone())]);
        assert_eq!(state.layer(&id).unwrap().unwrap().tar_len, 3);
        assert_eq!(state.containers().unwrap(), []);
        assert_eq!(state.volumes().unwrap(), []);
        // When it was used is not known: now, then.
        let used = state.used().unwrap();
        let hour = std::time::Duration::from_secs(3600);
        assert!(used[&id.0].elapsed().unwrap() < hour, "{used:?}");
        State::open_read_only(&path, "boot").unwrap();
    }
}
