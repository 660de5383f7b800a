//! Rooms made ahead of time.
//!
//! Only images take time to make. A pooled one is complete, synced and mounted under the name of
//! its directory in `.pool`; taking it is a rename and the move of a mount. It is taken for exactly
//! the limit that it was made with.

use std::path::{Path, PathBuf};

use super::shelf::{Held, Shelf, names};
use super::{Limit, Result, image};

/// The name under which a pooled room is mounted; no room has one like it.
pub(super) fn seat_name(pooled: &Path) -> String {
    let name = pooled.file_name().unwrap_or_default().to_string_lossy();
    format!(".pool-{name}")
}

/// A pooled room with this limit, for this holder alone.
pub(super) fn find(shelf: &Shelf, limit: Limit, reserve: image::Reserve) -> Result<Option<Held>> {
    for path in entries(shelf)? {
        let fits = image::was_made_for(&path, limit, reserve)?;
        if fits && let Some(held) = Held::try_of(&path)? {
            return Ok(Some(held));
        }
    }
    Ok(None)
}

/// How many pooled rooms have this limit.
pub(super) fn count(shelf: &Shelf, limit: Limit, reserve: image::Reserve) -> Result<usize> {
    let mut count = 0;
    for path in entries(shelf)? {
        count += usize::from(image::was_made_for(&path, limit, reserve)?);
    }
    Ok(count)
}

/// All pooled rooms.
pub(super) fn entries(shelf: &Shelf) -> Result<Vec<PathBuf>> {
    let pool = shelf.pool();
    Ok(names(&pool)?.iter().map(|name| pool.join(name)).collect())
}
