//! Names and the images that they lead to.

use rusqlite::{OptionalExtension as _, Row, params};

use lapstrake_oci::Digest;

use super::State;
use super::row::parsed;
use crate::disk::Commit;
use crate::error::{Error, Result};

/// Schema 1.
pub(super) const TABLES_1: &str = "
CREATE TABLE image (
    reference TEXT PRIMARY KEY,
    manifest  TEXT NOT NULL,
    config    TEXT NOT NULL
) STRICT, WITHOUT ROWID;
";

/// An image that a name leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRecord {
    /// The name, normalised.
    pub reference: String,
    /// The manifest for this platform.
    pub manifest: Digest,
    /// The config, whose digest is the image's id.
    pub config: Digest,
}

impl State {
    /// Lets a name lead to an image. Its blobs and layers must be published.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn set_image(&mut self, image: &ImageRecord) -> Result<()> {
        self.commit("record an image", Commit::Lazy, |db, _boot| {
            db.execute(
                "INSERT OR REPLACE INTO image VALUES (?1, ?2, ?3)",
                params![
                    image.reference,
                    image.manifest.to_string(),
                    image.config.to_string()
                ],
            )
            .map(drop)
        })
    }

    /// The image that a name leads to.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn image(&self, reference: &str) -> Result<Option<ImageRecord>> {
        self.db
            .query_row(
                "SELECT reference, manifest, config FROM image WHERE reference = ?1",
                params![reference],
                image_record,
            )
            .optional()
            .map_err(|source| Error::Database {
                action: "look up an image",
                source,
            })
    }

    /// Every name and its image, by name.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn images(&self) -> Result<Vec<ImageRecord>> {
        let read = || {
            self.db
                .prepare("SELECT reference, manifest, config FROM image ORDER BY reference")?
                .query_map([], image_record)?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|source| Error::Database {
            action: "list the images",
            source,
        })
    }
}

fn image_record(row: &Row<'_>) -> rusqlite::Result<ImageRecord> {
    Ok(ImageRecord {
        reference: row.get(0)?,
        manifest: parsed(row, 1)?,
        config: parsed(row, 2)?,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lapstrake_oci::Algorithm;

    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn a_name_leads_to_the_image_it_was_given_last() {
        let dir = tempfile::tempdir().unwrap();
        let mut state =
            State::open(Arc::new(RealDisk), &dir.path().join("state.db"), "boot").unwrap();
        let image = |text: &[u8]| ImageRecord {
            reference: "docker.io/library/x:latest".to_owned(),
            manifest: Algorithm::Sha256.digest(text),
            config: Algorithm::Sha256.digest(text),
        };
        for text in [b"1", b"2"] {
            state.set_image(&image(text)).unwrap();
        }
        assert_eq!(state.images().unwrap(), [image(b"2")]);
        assert_eq!(
            state.image("docker.io/library/x:latest").unwrap(),
            Some(image(b"2"))
        );
        assert_eq!(state.image("other").unwrap(), None);
    }
}
