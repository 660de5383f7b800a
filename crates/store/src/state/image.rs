//! Names and the images that they lead to.

use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use lapstrake_oci::{DiffId, Digest, Reference};

use super::State;
use super::edge::{self, Lineage};
use super::row::parsed;
use super::used;
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

/// Schema 2.
pub(super) const TABLES_2: &str = "
ALTER TABLE image ADD COLUMN target TEXT;
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
    /// Lets a name lead to an image, whose blobs and layers must be published. An image that loses
    /// its last name by this keeps one by digest: it goes when somebody wants it gone. The image is
    /// used by this, at `at`. `commit` says whether the name is on disk when this returns.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn set_image(
        &mut self,
        image: &ImageRecord,
        lineage: &Lineage<'_>,
        at: SystemTime,
        commit: Commit,
    ) -> Result<()> {
        self.commit("record an image", commit, |db, _boot| {
            edge::link(db, image, lineage)?;
            keep_by_digest(db, image)?;
            used::touch(db, &image.manifest, at)?;
            db.execute(
                "INSERT OR REPLACE INTO image VALUES (?1, ?2, ?3, ?4)",
                params![
                    image.reference,
                    image.manifest.to_string(),
                    image.config.to_string(),
                    lineage.index.map(Digest::to_string)
                ],
            )
            .map(drop)
        })
    }

    /// Takes names away from the images that they still lead to; waits until that is on disk, for
    /// content may be removed next. Returns those names that were there.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn remove_names(&mut self, images: &[ImageRecord]) -> Result<Vec<ImageRecord>> {
        self.commit("remove names", Commit::Synced, |db, _boot| {
            let mut delete =
                db.prepare_cached("DELETE FROM image WHERE reference = ?1 AND manifest = ?2")?;
            let mut removed = Vec::new();
            for image in images {
                if delete.execute(params![image.reference, image.manifest.to_string()])? > 0 {
                    removed.push(image.clone());
                }
            }
            Ok(removed)
        })
    }

    /// Images of which an older version did not write down what they refer to.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn unlinked_images(&self) -> Result<Vec<ImageRecord>> {
        self.list(
            "SELECT reference, manifest, config FROM image WHERE NOT EXISTS
             (SELECT 1 FROM edge WHERE parent = 'blob ' || manifest AND role = 'config')",
            image_record,
        )
    }

    /// Writes down what an image of an older version refers to.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn link_image(&mut self, image: &ImageRecord, layers: &[DiffId]) -> Result<()> {
        let lineage = Lineage {
            index: None,
            layers,
        };
        self.commit("link an image", Commit::Lazy, |db, _boot| {
            edge::link(db, image, &lineage)
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
        self.list(
            "SELECT reference, manifest, config FROM image ORDER BY reference",
            image_record,
        )
    }

    /// Every name with its image and the document that the name led to, by name.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn names(&self) -> Result<Vec<(ImageRecord, Digest)>> {
        self.list(
            "SELECT reference, manifest, config, ifnull(target, manifest) FROM image
             ORDER BY reference",
            |row| Ok((image_record(row)?, parsed(row, 3)?)),
        )
    }

    fn list<T>(
        &self,
        query: &str,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let run = || {
            self.db
                .prepare_cached(query)?
                .query_map([], read)?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        run().map_err(|source| Error::Database {
            action: "list the images",
            source,
        })
    }
}

/// Gives the image that is about to lose its name to `new` another one, if that was its last.
fn keep_by_digest(db: &Connection, new: &ImageRecord) -> rusqlite::Result<()> {
    let old = db
        .query_row(
            "SELECT reference, manifest, config FROM image AS old
             WHERE reference = ?1 AND manifest != ?2 AND NOT EXISTS
             (SELECT 1 FROM image WHERE manifest = old.manifest AND reference != old.reference)",
            params![new.reference, new.manifest.to_string()],
            image_record,
        )
        .optional()?;
    let Some(old) = old else { return Ok(()) };
    // A name that doesn't parse was not given by us: it has no repository to be kept under.
    let Ok(reference) = old.reference.parse::<Reference>() else {
        return Ok(());
    };
    let pinned = Reference::pinned(reference.repo().clone(), old.manifest);
    db.execute(
        "UPDATE image SET reference = ?2 WHERE reference = ?1",
        params![old.reference, pinned.to_string()],
    )
    .map(drop)
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
    use std::time::UNIX_EPOCH;

    use lapstrake_oci::Algorithm;

    use super::*;

    fn state() -> (tempfile::TempDir, State) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let state = State::open_alone(&path, "boot").unwrap();
        (dir, state)
    }

    fn image(reference: &str, text: &[u8]) -> ImageRecord {
        ImageRecord {
            reference: reference.to_owned(),
            manifest: Algorithm::Sha256.digest(text),
            config: Algorithm::Sha256.digest(text),
        }
    }

    const NO_LAYERS: Lineage<'_> = Lineage {
        index: None,
        layers: &[],
    };
    const X: &str = "docker.io/library/x:latest";

    #[test]
    fn a_name_leads_to_the_image_it_was_given_last_and_the_other_keeps_one_by_digest() {
        let (_dir, mut state) = state();
        for text in [b"1", b"2", b"2"] {
            state
                .set_image(&image(X, text), &NO_LAYERS, UNIX_EPOCH, Commit::Lazy)
                .unwrap();
        }
        let pinned = format!("docker.io/library/x@{}", Algorithm::Sha256.digest(b"1"));
        assert_eq!(
            state.images().unwrap(),
            [image(X, b"2"), image(&pinned, b"1")]
        );
        assert_eq!(state.image(X).unwrap(), Some(image(X, b"2")));
        assert_eq!(state.image("other").unwrap(), None);
        // It has a name again: none by digest is needed when it loses this one.
        state
            .set_image(&image(X, b"1"), &NO_LAYERS, UNIX_EPOCH, Commit::Lazy)
            .unwrap();
        state
            .set_image(&image(X, b"3"), &NO_LAYERS, UNIX_EPOCH, Commit::Lazy)
            .unwrap();
        let names: Vec<_> = state.images().unwrap();
        assert_eq!(
            names
                .iter()
                .filter(|at| at.manifest == image(X, b"1").manifest)
                .count(),
            1
        );
    }

    #[test]
    fn a_name_that_leads_elsewhere_by_now_is_not_removed() {
        let (_dir, mut state) = state();
        state
            .set_image(&image(X, b"2"), &NO_LAYERS, UNIX_EPOCH, Commit::Lazy)
            .unwrap();
        assert_eq!(state.remove_names(&[image(X, b"1")]).unwrap(), []);
        assert_eq!(
            state.remove_names(&[image(X, b"2")]).unwrap(),
            [image(X, b"2")]
        );
        assert_eq!(state.images().unwrap(), []);
    }

    #[test]
    fn images_of_an_older_version_are_found_until_they_are_linked() {
        let (_dir, mut state) = state();
        state
            .set_image(&image(X, b"new"), &NO_LAYERS, UNIX_EPOCH, Commit::Lazy)
            .unwrap();
        let old = image("docker.io/library/old:latest", b"old");
        state
            .db
            .execute(
                "INSERT INTO image (reference, manifest, config) VALUES (?1, ?2, ?2)",
                params![old.reference, old.manifest.to_string()],
            )
            .unwrap();
        assert_eq!(state.unlinked_images().unwrap(), std::slice::from_ref(&old));
        state.link_image(&old, &[]).unwrap();
        assert_eq!(state.unlinked_images().unwrap(), []);
    }
}
