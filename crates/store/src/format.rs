//! `format.json`: what a directory is and who may use it.
//!
//! Features come in three sets, as in ext4: one that a reader may not know is *compatible*; one
//! that it must know to write is *read-only compatible*; one that it must know at all is
//! *incompatible*. This version knows none, so any of the latter two is refused with its name.

use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use lapstrake_sys::publish::StagedFile;

use crate::disk::Disk;
use crate::error::{Error, Result, io_error};

/// The version of both formats; see `docs/format.md`.
const VERSION: u32 = 1;
const FILE: &str = "format.json";
/// A format file is tiny; anything longer is not one.
const MAX_BYTES: usize = 64 * 1024;

#[derive(Debug, Serialize, Deserialize)]
struct Format {
    name: String,
    version: u32,
    #[serde(default)]
    compatible: Vec<String>,
    #[serde(default)]
    read_only_compatible: Vec<String>,
    #[serde(default)]
    incompatible: Vec<String>,
}

/// Checks the format of `dir`, or states it if `dir` has none yet.
pub(crate) fn ensure(disk: &dyn Disk, dir: &Path, name: &str) -> Result<()> {
    let path = dir.join(FILE);
    match std::fs::read(&path) {
        Ok(bytes) => check(&bytes, name).map_err(|why| Error::Format { path, why }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            create(disk, dir, &path, name)
        }
        Err(error) => Err(io_error("read", &path)(error)),
    }
}

fn create(disk: &dyn Disk, dir: &Path, path: &Path, name: &str) -> Result<()> {
    let format = Format {
        name: name.to_owned(),
        version: VERSION,
        compatible: Vec::new(),
        read_only_compatible: Vec::new(),
        incompatible: Vec::new(),
    };
    let mut text = serde_json::to_vec_pretty(&format).expect("a struct of strings is JSON");
    text.push(b'\n');
    let unique = format!(".{FILE}.{}", std::process::id());
    let mut staged =
        StagedFile::create(dir, &unique, 0o644).map_err(io_error("create a file in", dir))?;
    staged
        .file()
        .write_all(&text)
        .map_err(io_error("write", path))?;
    disk.sync_file(staged.file())
        .map_err(io_error("sync", path))?;
    disk.publish(staged, path)
        .map_err(io_error("publish", path))?;
    disk.sync_dir(dir).map_err(io_error("sync", dir))
}

fn check(bytes: &[u8], name: &str) -> std::result::Result<(), String> {
    if bytes.len() > MAX_BYTES {
        return Err("it is too long to be a format file".to_owned());
    }
    let format: Format = serde_json::from_slice(bytes)
        .map_err(|error| format!("it is not a format file: {error}"))?;
    if format.name != name {
        return Err(format!("it holds {:?}, not {name:?}", format.name));
    }
    let unknown: Vec<_> = format
        .incompatible
        .iter()
        .chain(&format.read_only_compatible)
        .collect();
    if format.version != VERSION || !unknown.is_empty() {
        return Err(format!(
            "it has format version {} with features {unknown:?}; this lapstrake knows version \
             {VERSION} with none: use a newer lapstrake",
            format.version
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn a_format_is_stated_once_and_then_found() {
        let dir = tempfile::tempdir().unwrap();
        ensure(&RealDisk, dir.path(), "x").unwrap();
        ensure(&RealDisk, dir.path(), "x").unwrap();
        let error = ensure(&RealDisk, dir.path(), "y").unwrap_err().to_string();
        assert!(error.contains("holds \"x\", not \"y\""), "{error}");
    }

    #[test]
    fn what_this_version_does_not_know_is_refused_by_name() {
        let text = |version: u32, set: &str| {
            format!(r#"{{"name":"x","version":{version},"{set}":["future"]}}"#)
        };
        assert_eq!(check(text(1, "compatible").as_bytes(), "x"), Ok(()));
        for text in [
            text(1, "incompatible"),
            text(1, "read_only_compatible"),
            text(2, "compatible"),
        ] {
            let why = check(text.as_bytes(), "x").unwrap_err();
            assert!(why.contains("use a newer lapstrake"), "{why}");
        }
        assert!(check(b"{", "x").is_err());
    }
}
