//! `state.db`: tags, what is known of each layer, and the engine's records, in SQLite.
//!
//! Records refer only to what is published. Two kinds of commit: *present* records may be lost in a
//! crash together with the content that they speak of (WAL without a sync); *proved* ones are
//! synced, after their content was.

mod checked;
mod container;
mod edge;
mod image;
mod layer;
mod note;
mod reserve;
mod row;
mod schema;
mod used;
mod volume;
mod writable;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::disk::{Commit, Disk, ReadOnlyDisk};
use crate::error::{Error, Result, io_error};
use crate::seal;

pub use container::{ContainerRecord, Put};
pub use edge::{Lineage, Parent};
pub use image::ImageRecord;
pub use layer::{LayerRecord, LayerState, Source};
pub use volume::VolumeRecord;
pub use writable::WritableRecord;

/// The open database.
#[derive(Debug)]
pub struct State {
    db: Connection,
    disk: Arc<dyn Disk>,
    path: PathBuf,
    boot_id: String,
}

impl State {
    /// Opens the database, making it if there is none. One that is made beside content keeps that,
    /// though it knows nothing of it ([`State::keeps_strays`]); `has_content` tells.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        path: &Path,
        boot_id: &str,
        has_content: &dyn Fn() -> Result<bool>,
    ) -> Result<Self> {
        let fail = |action| move |source| Error::Database { action, source };
        reserve::make_shared_memory(path)?;
        let mut db = Connection::open(path).map_err(fail("open"))?;
        db.busy_timeout(Duration::from_secs(30))
            .map_err(fail("set a timeout"))?;
        db.pragma_update(None, "journal_mode", "WAL")
            .map_err(fail("turn on WAL"))?;
        reserve::keep_log_in_place(&db, path)?;
        schema::migrate(&mut db, path, has_content)?;
        disk.committed(path, Commit::Synced)
            .map_err(io_error("commit to", path))?;
        Ok(Self {
            db,
            disk,
            path: path.to_owned(),
            boot_id: boot_id.to_owned(),
        })
    }

    /// A database beside no content.
    #[cfg(test)]
    fn open_alone(path: &Path, boot_id: &str) -> Result<Self> {
        let disk = Arc::new(crate::disk::RealDisk);
        Self::open(disk, path, boot_id, &|| Ok(false))
    }

    /// Opens the database to read it, beside an owner.
    pub(crate) fn open_read_only(path: &Path, boot_id: &str) -> Result<Self> {
        let fail = |action| move |source| Error::Database { action, source };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(path, flags).map_err(fail("open"))?;
        db.busy_timeout(Duration::from_secs(30))
            .map_err(fail("set a timeout"))?;
        schema::check(&db, path)?;
        Ok(Self {
            db,
            disk: Arc::new(ReadOnlyDisk),
            path: path.to_owned(),
            boot_id: boot_id.to_owned(),
        })
    }

    /// The boot id of the running kernel.
    pub fn boot_id(&self) -> &str {
        &self.boot_id
    }

    /// Brings all commits from the log into the database and seals it, unless somebody reads it. What
    /// fails leaves it without a seal, which is no harm.
    pub(crate) fn seal(&mut self) {
        let checkpoint = || -> rusqlite::Result<bool> {
            self.db.busy_timeout(Duration::ZERO)?;
            self.db
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
                    Ok(row.get::<_, i64>(0)? == 0)
                })
        };
        if checkpoint().unwrap_or(false) {
            drop(seal::seal(&*self.disk, &self.path));
        }
    }

    /// Has the connection to itself, for whoever makes the whole database.
    pub(crate) fn take_over<T>(
        &mut self,
        change: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T> {
        change(&self.db).map_err(|source| Error::Database {
            action: "take over another one",
            source,
        })
    }

    fn commit<T>(
        &mut self,
        action: &'static str,
        mode: Commit,
        change: impl FnOnce(&Connection, &str) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let synchronous = match mode {
            Commit::Lazy => "NORMAL",
            Commit::Synced => "FULL",
        };
        let boot_id = self.boot_id.clone();
        let run = || {
            self.db.pragma_update(None, "synchronous", synchronous)?;
            let transaction = self
                .db
                .transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = change(&transaction, &boot_id)?;
            if mode == Commit::Synced {
                note::count_sync(&transaction)?;
            }
            transaction.commit()?;
            Ok(value)
        };
        let value = run().map_err(|source| Error::Database { action, source })?;
        self.disk
            .committed(&self.path, mode)
            .map_err(io_error("commit to", &self.path))?;
        Ok(value)
    }
}
