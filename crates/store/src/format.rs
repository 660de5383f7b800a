//! `format.json`: what a directory is and who may use it.
//!
//! Features come in three sets, as in ext4: one that a reader may not know is *compatible*; one
//! that it must know to write is *read-only compatible*; one that it must know at all is
//! *incompatible*. This version knows none: an unknown incompatible one is refused with its name,
//! and one that is unknown and read-only compatible lets the directory be read but not changed.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use lapstrake_sys::publish::StagedFile;

use crate::Access;
use crate::disk::Disk;
use crate::error::{Error, Result, io_error};

/// The version of both formats; see `docs/format.md`.
const VERSION: u32 = 1;
pub(crate) const FILE: &str = "format.json";
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
    /// Version 1 has none: with any it is damaged. Later versions may.
    #[serde(flatten)]
    more: BTreeMap<String, serde_json::Value>,
}

/// The features that this version knows.
const KNOWN: Known<'_> = Known {
    read_only_compatible: &[],
    incompatible: &[],
};

#[derive(Debug, Clone, Copy)]
struct Known<'a> {
    read_only_compatible: &'a [&'a str],
    incompatible: &'a [&'a str],
}

/// Checks that the owner of `dir` may change it, or states its format if it has none yet.
pub(crate) fn ensure(disk: &dyn Disk, dir: &Path, name: &str) -> Result<()> {
    let path = dir.join(FILE);
    match std::fs::read(&path) {
        Ok(bytes) => {
            check(&bytes, name, Access::Owner, KNOWN).map_err(|why| Error::Format { path, why })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            create(disk, dir, &path, name)
        }
        Err(error) => Err(io_error("read", &path)(error)),
    }
}

/// Checks that `dir`, which is part of the store at `root`, may be read.
pub(crate) fn check_readable(root: &Path, dir: &Path, name: &str) -> Result<()> {
    let path = dir.join(FILE);
    match std::fs::read(&path) {
        Ok(bytes) => {
            check(&bytes, name, Access::ReadOnly, KNOWN).map_err(|why| Error::Format { path, why })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::NoStore(root.to_owned()))
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
        more: BTreeMap::new(),
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

fn check(
    bytes: &[u8],
    name: &str,
    access: Access,
    known: Known<'_>,
) -> std::result::Result<(), String> {
    let format = parse(bytes, name)?;
    if format.version != VERSION {
        return Err(format!(
            "it has format version {}; this lapstrake knows version {VERSION}: use a newer lapstrake",
            format.version
        ));
    }
    let unknown = unknown(&format.incompatible, known.incompatible);
    if !unknown.is_empty() {
        return Err(format!(
            "it uses {unknown:?}, which this lapstrake does not know: use a newer lapstrake"
        ));
    }
    let unknown = self::unknown(&format.read_only_compatible, known.read_only_compatible);
    if access == Access::Owner && !unknown.is_empty() {
        return Err(format!(
            "it uses {unknown:?}, which this lapstrake does not know: it may read here, but to \
             change anything use a newer lapstrake"
        ));
    }
    Ok(())
}

/// Why these bytes are no format file of this name at all. That one is of another version is no
/// damage: a newer program may have written it.
pub(crate) fn damage(bytes: &[u8], name: &str) -> Option<String> {
    parse(bytes, name).err()
}

fn parse(bytes: &[u8], name: &str) -> std::result::Result<Format, String> {
    if bytes.len() > MAX_BYTES {
        return Err("it is too long to be a format file".to_owned());
    }
    let format: Format = serde_json::from_slice(bytes)
        .map_err(|error| format!("it is not a format file: {error}"))?;
    if format.name != name {
        return Err(format!("it holds {:?}, not {name:?}", format.name));
    }
    if let Some(field) = format.more.keys().next()
        && format.version == VERSION
    {
        return Err(format!(
            "it has {field:?}, which no format file of version {VERSION} has"
        ));
    }
    Ok(format)
}

/// The features that are used and not known.
fn unknown<'a>(used: &'a [String], known: &[&str]) -> Vec<&'a str> {
    let used = used.iter().map(String::as_str);
    used.filter(|feature| !known.contains(feature)).collect()
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
    fn a_store_that_is_not_there_cannot_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let error = check_readable(Path::new("/root"), dir.path(), "x").unwrap_err();
        assert!(matches!(error, Error::NoStore(root) if root == Path::new("/root")));
    }

    #[test]
    fn an_unknown_feature_is_refused_by_name_unless_it_cannot_hurt() {
        let why = |set: &str, access| {
            let text = format!(r#"{{"name":"x","version":1,"{set}":["future"]}}"#);
            check(text.as_bytes(), "x", access, KNOWN).err()
        };
        for access in [Access::Owner, Access::ReadOnly] {
            assert_eq!(why("compatible", access), None);
            assert_eq!(
                why("incompatible", access).unwrap(),
                "it uses [\"future\"], which this lapstrake does not know: use a newer lapstrake"
            );
        }
        assert_eq!(why("read_only_compatible", Access::ReadOnly), None);
        let why = why("read_only_compatible", Access::Owner).unwrap();
        assert!(
            why.contains("to change anything use a newer lapstrake"),
            "{why}"
        );
    }

    #[test]
    fn a_known_feature_is_welcome() {
        let known = Known {
            read_only_compatible: &["a"],
            incompatible: &["b"],
        };
        let text = br#"{"name":"x","version":1,"read_only_compatible":["a"],"incompatible":["b"]}"#;
        assert_eq!(check(text, "x", Access::Owner, known), Ok(()));
    }

    #[test]
    fn another_version_or_no_format_at_all_is_refused() {
        for text in [
            r#"{"name":"x","version":2}"#,
            r#"{"name":"x","version":1,"incompatibel":[]}"#,
            "{",
            &" ".repeat(MAX_BYTES + 1),
        ] {
            assert!(check(text.as_bytes(), "x", Access::ReadOnly, KNOWN).is_err());
        }
    }
}
