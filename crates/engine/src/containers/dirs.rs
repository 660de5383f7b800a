//! Directories and files of a container's, with errors that name them.

use std::io::{ErrorKind, Write as _};
use std::path::Path;

use super::error::{Result, io_error};

pub(crate) fn make_dir(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o710)
        .create(path);
    made.map_err(io_error("create", path))
}

pub(crate) fn write_json(path: &Path, value: &serde_json::Value) -> Result<()> {
    let write = || {
        let mut file = std::fs::File::create(path)?;
        file.write_all(value.to_string().as_bytes())
    };
    write().map_err(io_error("write", path))
}

/// Removes a directory with all that is in it; none is no error.
pub(crate) fn remove_dir(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io_error("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Removes a directory in which nothing is.
pub(crate) fn remove_empty(path: &Path) -> Result<()> {
    match std::fs::remove_dir(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io_error("remove", path)(error)),
        _ => Ok(()),
    }
}
