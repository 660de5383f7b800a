//! Small file steps of the project's commands.
//!
//! Nothing here is lasting content of a store: these are caches and reports, which may be made
//! again, so plain writes and renames are right and no sync is needed.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, IoContext as _, Result};

/// Writes a whole file so that readers see the old one or the new one.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir).io("create", dir)?;
    let mut staged = tempfile::NamedTempFile::new_in(dir).io("create a file in", dir)?;
    staged.write_all(bytes).io("write", path)?;
    fs::set_permissions(
        staged.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )
    .io("set the mode of", path)?;
    staged
        .persist(path)
        .map_err(|error| error.error)
        .io("write", path)?;
    Ok(())
}

/// Writes a value as JSON.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|source| Error::Json {
        what: path.display().to_string(),
        source,
    })?;
    bytes.push(b'\n');
    replace(path, &bytes)
}

/// Reads JSON, or `None` if there is no such file.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).io("open", path),
    };
    serde_json::from_reader(std::io::BufReader::new(file))
        .map(Some)
        .map_err(|source| Error::Json {
            what: path.display().to_string(),
            source,
        })
}

/// Moves a file or directory within one file system.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    rustix::fs::rename(from, to).io("rename", from)
}

/// Removes a tree if it is there.
pub fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).io("remove", path),
        _ => Ok(()),
    }
}

/// Removes a file if it is there.
pub fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).io("remove", path),
        _ => Ok(()),
    }
}

/// Creates a directory and its parents.
pub fn make_dir(path: &Path) -> Result<PathBuf> {
    fs::create_dir_all(path).io("create", path)?;
    Ok(path.to_owned())
}

/// The repository's root, from where cargo built us.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
}
