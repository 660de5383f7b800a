//! When each layer was last read by a check.

use std::time::{Duration, SystemTime};

use rusqlite::{OptionalExtension as _, params};

use lapstrake_oci::DiffId;

use super::State;
use super::row::parsed;
use crate::disk::Commit;
use crate::error::{Error, Result};

/// Schema 2. Times are seconds since 1970.
pub(super) const TABLES_2: &str = "
CREATE TABLE checked (
    diff_id TEXT PRIMARY KEY,
    at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

fn seconds(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

impl State {
    /// Records that a check has read a layer, whatever it found.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn set_checked(&mut self, id: &DiffId, at: SystemTime) -> Result<()> {
        self.commit("record a check", Commit::Lazy, |db, _boot| {
            db.execute(
                "INSERT OR REPLACE INTO checked VALUES (?1, ?2)",
                params![id.to_string(), seconds(at)],
            )
            .map(drop)
        })
    }

    /// When a check last read a layer.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn checked(&self, id: &DiffId) -> Result<Option<SystemTime>> {
        let read = || {
            self.db
                .query_row(
                    "SELECT at FROM checked WHERE diff_id = ?1",
                    params![id.to_string()],
                    |row| row.get::<_, i64>(0),
                )
                .optional()
        };
        let at = read().map_err(|source| Error::Database {
            action: "look up a check",
            source,
        })?;
        Ok(at.map(|at| SystemTime::UNIX_EPOCH + Duration::from_secs(at.max(0).unsigned_abs())))
    }

    /// The recorded layer that was not checked for the longest time, if that was before `due`. Layers
    /// that were never checked come first.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn next_to_check(&self, due: SystemTime) -> Result<Option<DiffId>> {
        let read = || {
            self.db
                .query_row(
                    "SELECT layer.diff_id FROM layer LEFT JOIN checked USING (diff_id)
                     WHERE coalesce(at, -1) < ?1 ORDER BY coalesce(at, -1), layer.diff_id LIMIT 1",
                    params![seconds(due)],
                    |row| parsed(row, 0).map(DiffId),
                )
                .optional()
        };
        read().map_err(|source| Error::Database {
            action: "look for a layer to check",
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use lapstrake_oci::Algorithm;

    use super::*;
    use crate::index::IndexStamp;
    use crate::state::{LayerRecord, LayerState};

    #[test]
    fn the_longest_unchecked_layer_is_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let mut state = State::open_alone(&path, "boot").unwrap();
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let ids = [b"one", b"two"].map(|text| DiffId(Algorithm::Sha256.digest(text)));
        assert_eq!(state.next_to_check(at(100)).unwrap(), None);
        for id in &ids {
            let layer = LayerRecord {
                diff_id: id.clone(),
                tar_len: 0,
                data_len: 0,
                index: IndexStamp {
                    len: 0,
                    blake3: String::new(),
                },
                state: LayerState::Present,
            };
            state.add_layer(&layer, None).unwrap();
        }
        state.set_checked(&ids[0], at(50)).unwrap();
        assert_eq!(
            state.next_to_check(at(100)).unwrap().as_ref(),
            Some(&ids[1])
        );
        state.set_checked(&ids[1], at(60)).unwrap();
        assert_eq!(
            state.next_to_check(at(100)).unwrap().as_ref(),
            Some(&ids[0])
        );
        state.set_checked(&ids[0], at(70)).unwrap();
        assert_eq!(
            state.next_to_check(at(100)).unwrap().as_ref(),
            Some(&ids[1])
        );
        assert_eq!(state.next_to_check(at(60)).unwrap(), None);
        assert_eq!(state.checked(&ids[0]).unwrap(), Some(at(70)));
    }
}
