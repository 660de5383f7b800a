//! Rows of a damaged database: which of them can be read, and a new database with those.

use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, params_from_iter};

use lapstrake_oci::{Digest, Reference};

use crate::object::Object;

/// How many rows were read, and whether that was all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rows {
    pub(super) good: usize,
    pub(super) bad: usize,
}

/// Opens a database to read it.
pub(super) fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(std::time::Duration::from_secs(30))?;
    Ok(db)
}

/// Opens a database that nobody writes to, and leaves nothing beside it.
pub(super) fn open_still(path: &Path) -> rusqlite::Result<Connection> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(byte);
    let bytes = path.as_os_str().as_encoded_bytes().iter();
    let escaped = bytes.map(|byte| match is_plain(byte) {
        true => char::from(*byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    let escaped: String = escaped.collect();
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags)
}

/// How many commits of a database have waited for the disk. It never goes back.
pub(super) fn syncs(db: &Connection) -> rusqlite::Result<u64> {
    let text = "SELECT coalesce(max(CAST(value AS INTEGER)), 0) FROM note WHERE key = 'syncs'";
    let syncs: i64 = db.query_row(text, [], |row| row.get(0))?;
    Ok(syncs.max(0).unsigned_abs())
}

/// Reads every row of a database, and tells which can't be what was written.
pub(super) fn look(db: &Connection) -> rusqlite::Result<Rows> {
    let mut rows = Rows { good: 0, bad: 0 };
    for table in tables(db)? {
        let read = read(db, &table, &columns(db, &table)?, &mut rows, |_row| Ok(()));
        rows.bad += usize::from(read.is_err());
    }
    Ok(rows)
}

/// Copies what can be read of `old` into `new`, which has the tables.
pub(super) fn copy(old: &Connection, new: &Connection) -> rusqlite::Result<Rows> {
    let mut rows = Rows { good: 0, bad: 0 };
    new.execute_batch("BEGIN IMMEDIATE")?;
    for table in tables(new)? {
        let columns = columns(new, &table)?;
        let marks = vec!["?"; columns.len()].join(", ");
        let names = columns.join(", ");
        let mut insert = new.prepare(&format!(
            "INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})"
        ))?;
        let done = read(old, &table, &columns, &mut rows, |row| {
            insert.execute(params_from_iter(row)).map(drop)
        });
        rows.bad += usize::from(done.is_err());
    }
    new.execute_batch("COMMIT")?;
    Ok(rows)
}

fn tables(db: &Connection) -> rusqlite::Result<Vec<String>> {
    let text = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
    db.prepare(text)?.query_map([], |row| row.get(0))?.collect()
}

fn columns(db: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    db.prepare("SELECT name FROM pragma_table_info(?1)")?
        .query_map([table], |row| row.get(0))?
        .collect()
}

/// Hands every row over that can be what was written.
fn read(
    db: &Connection,
    table: &str,
    columns: &[String],
    rows: &mut Rows,
    mut take: impl FnMut(&[Value]) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut query = db.prepare(&format!("SELECT {} FROM {table}", columns.join(", ")))?;
    let mut found = query.query([])?;
    while let Some(row) = found.next()? {
        let values = (0..columns.len()).map(|column| row.get::<_, Value>(column));
        let values = values.collect::<rusqlite::Result<Vec<_>>>();
        let good = values.ok().filter(|values| {
            let fits = columns.iter().zip(values);
            fits.clone().all(|(column, value)| fit(column, value))
        });
        match good {
            Some(values) => {
                take(&values)?;
                rows.good += 1;
            }
            None => rows.bad += 1,
        }
    }
    Ok(())
}

/// Whether a value can be one of a column of that name, in whatever table.
fn fit(column: &str, value: &Value) -> bool {
    match (column, value) {
        ("diff_id" | "manifest" | "config" | "blob", Value::Text(text)) => {
            text.parse::<Digest>().is_ok()
        }
        ("target", Value::Text(text)) => text.parse::<Digest>().is_ok(),
        ("reference", Value::Text(text)) => text.parse::<Reference>().is_ok(),
        ("child", Value::Text(text)) => text.parse::<Object>().is_ok(),
        ("parent", Value::Text(text)) => {
            text.starts_with("writable ") || text.parse::<Object>().is_ok()
        }
        (_, Value::Integer(number)) => *number >= 0,
        (_, Value::Text(_) | Value::Null) => true,
        (_, Value::Blob(_) | Value::Real(_)) => false,
    }
}
