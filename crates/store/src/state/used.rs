//! When each image was last used.
//!
//! Nothing depends on it but the order in which images go when room runs short. So nothing waits for the disk on its
//! account: it is written in commits that are made anyway, or in one of its own that a crash may take back. What was
//! written of an image never goes back in time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, params};

use lapstrake_oci::{DiffId, Digest};

use super::State;
use super::row::parsed;
use crate::disk::Commit;
use crate::error::{Error, Result};
use crate::object::Object;

/// Schema 4. Times are seconds since 1970. Images that are there already are used now, for all that is known.
pub(super) const TABLES_4: &str = "
CREATE TABLE used (
    manifest TEXT PRIMARY KEY,
    at       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO used SELECT DISTINCT manifest, unixepoch() FROM image;
";

impl State {
    /// Records that images are used. A crash may take it back.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn use_images<'a>(
        &mut self,
        manifests: impl IntoIterator<Item = &'a Digest>,
        at: SystemTime,
    ) -> Result<()> {
        self.commit("record a use", Commit::Lazy, |db, _boot| {
            for manifest in manifests {
                touch(db, manifest, at)?;
            }
            Ok(())
        })
    }

    /// Records that the images are used which have exactly these layers, bottom first. A crash may take it back.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn use_stack(&mut self, layers: &[DiffId], at: SystemTime) -> Result<()> {
        let Some(top) = layers.last() else {
            return Ok(());
        };
        let top = Object::Layer(top.clone()).to_string();
        let all: BTreeSet<String> = (layers.iter())
            .map(|layer| Object::Layer(layer.clone()).to_string())
            .collect();
        self.commit("record a use", Commit::Lazy, |db, _boot| {
            let mut on_top = db.prepare_cached(
                "SELECT substr(parent, 6) FROM edge
                 WHERE child = ?1 AND role = 'layer' AND parent LIKE 'blob %'",
            )?;
            let mut below = db.prepare_cached(
                "SELECT child FROM edge WHERE parent = 'blob ' || ?1 AND role = 'layer'",
            )?;
            let images = on_top
                .query_map(params![top], |row| parsed::<Digest>(row, 0))?
                .collect::<rusqlite::Result<Vec<_>>>()?;
            for manifest in images {
                let has = below
                    .query_map(params![manifest.to_string()], |row| row.get::<_, String>(0))?
                    .collect::<rusqlite::Result<BTreeSet<_>>>()?;
                if has == all {
                    touch(db, &manifest, at)?;
                }
            }
            Ok(())
        })
    }

    /// When each image was last used, by its manifest.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn used(&self) -> Result<BTreeMap<Digest, SystemTime>> {
        let read = || {
            self.db
                .prepare_cached("SELECT manifest, at FROM used")?
                .query_map([], |row| Ok((parsed(row, 0)?, time(row.get(1)?))))?
                .collect::<rusqlite::Result<_>>()
        };
        read().map_err(|source| Error::Database {
            action: "list the uses",
            source,
        })
    }
}

/// Writes that an image is used.
pub(super) fn touch(db: &Connection, manifest: &Digest, at: SystemTime) -> rusqlite::Result<()> {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    db.prepare_cached(
        "INSERT INTO used VALUES (?1, ?2)
         ON CONFLICT (manifest) DO UPDATE SET at = max(at, excluded.at)",
    )?
    .execute(params![manifest.to_string(), seconds])
    .map(drop)
}

/// Forgets when an image was used that is gone.
pub(super) fn forget(db: &Connection, document: &Digest) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM used WHERE manifest = ?1")?
        .execute(params![document.to_string()])
        .map(drop)
}

fn time(seconds: i64) -> SystemTime {
    let since = Duration::from_secs(seconds.max(0).unsigned_abs());
    // Whatever does not fit was not written here.
    (SystemTime::UNIX_EPOCH.checked_add(since)).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use lapstrake_oci::Algorithm;

    use super::*;
    use crate::state::{ImageRecord, Lineage, WritableRecord};

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn digest(text: &str) -> Digest {
        Algorithm::Sha256.digest(text.as_bytes())
    }

    fn layer(text: &str) -> DiffId {
        DiffId(digest(text))
    }

    fn image(name: &str) -> ImageRecord {
        ImageRecord {
            reference: format!("docker.io/library/{name}:latest"),
            manifest: digest(name),
            config: digest(&format!("config of {name}")),
        }
    }

    /// Images `base`, of the layer `one`, and `more`, of `one` and `two`, named at 10.
    fn state() -> (tempfile::TempDir, State) {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::open_alone(&dir.path().join("state.db"), "boot").unwrap();
        for (name, layers) in [("base", &["one"][..]), ("more", &["one", "two"])] {
            let layers: Vec<_> = layers.iter().map(|text| layer(text)).collect();
            let lineage = Lineage {
                index: None,
                layers: &layers,
            };
            let named = state.set_image(&image(name), &lineage, at(10), Commit::Lazy);
            named.unwrap();
        }
        (dir, state)
    }

    fn check(state: &State, want: &[(&str, u64)]) {
        let want: BTreeMap<_, _> = (want.iter())
            .map(|(name, seconds)| (digest(name), at(*seconds)))
            .collect();
        assert_eq!(state.used().unwrap(), want);
    }

    #[test]
    fn naming_an_image_uses_it_and_no_use_goes_back_in_time() {
        let (_dir, mut state) = state();
        check(&state, &[("base", 10), ("more", 10)]);
        state.use_images([&digest("base")], at(20)).unwrap();
        state.use_images([&digest("base")], at(15)).unwrap();
        check(&state, &[("base", 20), ("more", 10)]);
    }

    #[test]
    fn a_stack_is_used_by_the_images_that_are_exactly_it() {
        let (_dir, mut state) = state();
        state.use_stack(&[layer("one")], at(20)).unwrap();
        check(&state, &[("base", 20), ("more", 10)]);
        state
            .use_stack(&[layer("one"), layer("two")], at(30))
            .unwrap();
        state.use_stack(&[layer("two")], at(40)).unwrap();
        state.use_stack(&[], at(40)).unwrap();
        check(&state, &[("base", 20), ("more", 30)]);
    }

    #[test]
    fn a_writable_layer_uses_its_image_when_it_is_made_and_until_it_was_used_itself() {
        let (_dir, mut state) = state();
        let writable = |name: &str| WritableRecord {
            name: name.to_owned(),
            image: image("base"),
            driver: "erofs".to_owned(),
            created: 20,
        };
        for name in ["w", "v"] {
            let added = state.add_writable(&writable(name), &[layer("one")]);
            assert!(added.unwrap());
        }
        check(&state, &[("base", 20), ("more", 10)]);
        state.remove_writable("w", Some(at(50))).unwrap();
        state.remove_writable("v", None).unwrap();
        check(&state, &[("base", 50), ("more", 10)]);
    }

    #[test]
    fn it_is_forgotten_with_the_image() {
        let (_dir, mut state) = state();
        state.forget(&[Object::Blob(digest("base"))]).unwrap();
        check(&state, &[("more", 10)]);
    }
}
