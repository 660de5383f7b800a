//! Directories of our own: made for root alone, and listed.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io::{ErrorKind, Result};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Makes a directory and those above it, for root alone. One that is there stays as it is.
pub fn make_private(path: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Names in a directory; none if it is not there.
pub fn names(path: &Path) -> Result<Vec<OsString>> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    entries
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_directory_is_made_once_for_root_alone_and_what_is_not_there_has_no_names() {
        let dir = tempfile::tempdir().unwrap();
        let (above, below) = (dir.path().join("a"), dir.path().join("a/b"));
        assert!(names(&above).unwrap().is_empty());
        for _twice in 0..2 {
            make_private(&below).unwrap();
        }
        assert_eq!(names(&above).unwrap(), ["b"]);
        let mode = std::fs::metadata(&below).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o700);
    }
}
