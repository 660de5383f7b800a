//! Edges: what keeps what alive, written down when it is published, so that nobody who wants to
//! know has to read documents.
//!
//! ```text
//! name ─ target ─> index ─ manifest ─> manifest ─ config ─> config
//! writable layer ─ image ─────────────────┘  └─── layer ─> layer
//!              └─── layer ────────────────────────────────────┘
//! ```
//!
//! An edge is there before the name or the writable layer that leads to it, or comes with it in one
//! commit; those of a document that is gone go with it.

use rusqlite::{Connection, params};

use lapstrake_oci::{DiffId, Digest};

use super::State;
use super::image::ImageRecord;
use super::row::parsed;
use crate::error::{Error, Result};
use crate::object::Object;

/// Schema 2.
pub(super) const TABLES_2: &str = "
CREATE TABLE edge (
    parent TEXT NOT NULL,
    role   TEXT NOT NULL,
    child  TEXT NOT NULL,
    PRIMARY KEY (parent, child, role)
) STRICT, WITHOUT ROWID;
CREATE INDEX edge_child ON edge (child);
";

/// What the documents of an image refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lineage<'a> {
    /// The index that led to the manifest, if one did.
    pub index: Option<&'a Digest>,
    /// The layers of the image.
    pub layers: &'a [DiffId],
}

/// Whose claim an edge is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Parent {
    /// A document.
    Object(Object),
    /// A writable layer, by its name.
    Writable(String),
}

impl State {
    /// Every edge.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn edges(&self) -> Result<Vec<(Parent, Object)>> {
        let read = || {
            self.db
                .prepare_cached("SELECT parent, child FROM edge")?
                .query_map([], |row| {
                    let parent: String = row.get(0)?;
                    let parent = match parent.strip_prefix(WRITABLE) {
                        Some(name) => Parent::Writable(name.to_owned()),
                        None => Parent::Object(parsed(row, 0)?),
                    };
                    Ok((parent, parsed(row, 1)?))
                })?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|source| Error::Database {
            action: "list what keeps what alive",
            source,
        })
    }
}

/// Names begin after this in the column `parent`.
const WRITABLE: &str = "writable ";

fn blob(digest: &Digest) -> String {
    format!("blob {digest}")
}

fn layer(id: &DiffId) -> String {
    format!("layer {id}")
}

fn add(db: &Connection, parent: &str, role: &str, child: &str) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT OR IGNORE INTO edge VALUES (?1, ?2, ?3)")?
        .execute(params![parent, role, child])
        .map(drop)
}

/// Writes the edges of an image's documents.
pub(super) fn link(
    db: &Connection,
    image: &ImageRecord,
    lineage: &Lineage<'_>,
) -> rusqlite::Result<()> {
    let manifest = blob(&image.manifest);
    if let Some(index) = lineage.index {
        add(db, &blob(index), "manifest", &manifest)?;
    }
    add(db, &manifest, "config", &blob(&image.config))?;
    for id in lineage.layers {
        add(db, &manifest, "layer", &layer(id))?;
    }
    Ok(())
}

/// For those who keep writable layers' records: the edges, in the commit that makes the record.
pub(super) fn hold(
    db: &Connection,
    writable: &str,
    image: &ImageRecord,
    layers: &[DiffId],
) -> rusqlite::Result<()> {
    let parent = format!("{WRITABLE}{writable}");
    add(db, &parent, "image", &blob(&image.manifest))?;
    for id in layers {
        add(db, &parent, "layer", &layer(id))?;
    }
    Ok(())
}

/// For those who keep writable layers' records: takes the edges away with the record.
pub(super) fn release(db: &Connection, writable: &str) -> rusqlite::Result<()> {
    db.execute(
        "DELETE FROM edge WHERE parent = ?1",
        params![format!("{WRITABLE}{writable}")],
    )
    .map(drop)
}

/// Takes away the edges of a document that is gone.
pub(super) fn unlink(db: &Connection, document: &Digest) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM edge WHERE parent = ?1")?
        .execute(params![blob(document)])
        .map(drop)
}
