//! What there is: records, and names, lengths and extents on disk. No file is read.
//!
//! Records are taken first and the disk is looked at later, so that what a pull publishes meanwhile is
//! at worst something that no record speaks of.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use lapstrake_oci::{DiffId, Digest};
use rustix::fs::SeekFrom;

use crate::error::{Result, io_error};
use crate::state::{ImageRecord, LayerRecord};
use crate::{Object, Parent, Store};

/// What the file system tells of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileFacts {
    /// It is not there.
    Missing,
    /// It is there.
    File {
        /// In bytes.
        len: u64,
        /// Where its first hole begins, if it has one.
        hole: Option<u64>,
    },
    /// It can't be looked at, or isn't a file.
    Unreadable(String),
}

impl FileFacts {
    /// Looks at a file and where it has no bytes.
    pub fn of(path: &Path) -> Self {
        match look(path) {
            Ok(facts) => facts,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::Missing,
            Err(error) => Self::Unreadable(error.to_string()),
        }
    }
}

fn look(path: &Path) -> io::Result<FileFacts> {
    let metadata = std::fs::symlink_metadata(path)?;
    if !metadata.is_file() {
        return Ok(FileFacts::Unreadable("it is not a file".to_owned()));
    }
    let len = metadata.len();
    let hole = if len == 0 {
        None
    } else {
        // Every file has a hole at its end.
        let first = rustix::fs::seek(File::open(path)?, SeekFrom::Hole(0))?;
        (first < len).then_some(first)
    };
    Ok(FileFacts::File { len, hole })
}

/// A layer's files on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundLayer {
    /// `data`.
    pub data: FileFacts,
    /// `skeleton`.
    pub skeleton: FileFacts,
    /// `spans`.
    pub spans: FileFacts,
}

/// Records, and what is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Every name.
    pub images: Vec<ImageRecord>,
    /// What keeps what alive.
    pub claims: Vec<(Parent, Object)>,
    /// Every layer's record.
    pub records: Vec<LayerRecord>,
    /// Layers that have a recorded source.
    pub sourced: BTreeSet<DiffId>,
    /// Layers on disk.
    pub layers: BTreeMap<DiffId, FoundLayer>,
    /// Blobs on disk, and their lengths.
    pub blobs: BTreeMap<Digest, u64>,
    /// Indexes on disk by their names, and their lengths.
    pub indexes: BTreeMap<String, u64>,
    /// What has no place in a store.
    pub strays: Vec<PathBuf>,
}

impl Store {
    /// Looks at everything there is, without reading it.
    ///
    /// # Errors
    /// If the database can't be read, or a directory can't be listed.
    pub fn facts(&self) -> Result<Facts> {
        let (images, claims, records, sourced) = {
            let state = self.state();
            (
                state.images()?,
                state.edges()?,
                state.every_layer()?,
                state.sourced_layers()?,
            )
        };
        let mut strays = Vec::new();
        let content = self.root().join("content");
        let mut layers = BTreeMap::new();
        named(
            &content.join("layers"),
            &mut strays,
            |digest, path, kind| {
                if !kind.is_dir() {
                    return false;
                }
                let found = FoundLayer {
                    data: FileFacts::of(&path.join("data")),
                    skeleton: FileFacts::of(&path.join("skeleton")),
                    spans: FileFacts::of(&path.join("spans")),
                };
                layers.insert(DiffId(digest.clone()), found);
                true
            },
        )?;
        for id in layers.keys() {
            let files = self.content.layer_files(id);
            let known = [&files.data, &files.skeleton, &files.spans];
            let dir = files
                .data
                .parent()
                .expect("a layer's file is in a directory");
            strays.extend(list(dir)?.into_iter().filter(|path| !known.contains(&path)));
        }
        let mut blobs = BTreeMap::new();
        named(
            &content.join("blobs"),
            &mut strays,
            |digest, _path, kind| {
                if kind.is_file() {
                    blobs.insert(digest.clone(), kind.len());
                }
                kind.is_file()
            },
        )?;
        let mut indexes = BTreeMap::new();
        for path in list(&self.root().join("state").join("index"))? {
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.filter(|name| name.bytes().all(|byte| byte.is_ascii_hexdigit()));
            match (name, std::fs::symlink_metadata(&path)) {
                (Some(name), Ok(metadata)) if metadata.is_file() => {
                    indexes.insert(name.to_owned(), metadata.len());
                }
                (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => {}
                _ => strays.push(path),
            }
        }
        strays.sort();
        Ok(Facts {
            images,
            claims,
            records,
            sourced,
            layers,
            blobs,
            indexes,
            strays,
        })
    }
}

/// Hands over what lies at `<algorithm>/<ab>/<hex>`. What doesn't, or isn't taken, is a stray.
fn named(
    dir: &Path,
    strays: &mut Vec<PathBuf>,
    mut take: impl FnMut(&Digest, &Path, &Metadata) -> bool,
) -> Result<()> {
    for algorithm in list(dir)? {
        for shard in entries(&algorithm, strays)? {
            for path in entries(&shard, strays)? {
                let digest = digest(&algorithm, &shard, &path);
                match (digest, std::fs::symlink_metadata(&path)) {
                    (Some(digest), Ok(metadata)) if take(&digest, &path, &metadata) => {}
                    (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => {}
                    _ => strays.push(path),
                }
            }
        }
    }
    Ok(())
}

/// The digest that a path's last three names are.
fn digest(algorithm: &Path, shard: &Path, path: &Path) -> Option<Digest> {
    let name = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
    let (algorithm, shard, hex) = (name(algorithm)?, name(shard)?, name(path)?);
    let digest: Digest = format!("{algorithm}:{hex}").parse().ok()?;
    (digest.hex()[..2] == *shard).then_some(digest)
}

/// What is in a directory; what is no directory is a stray.
fn entries(path: &Path, strays: &mut Vec<PathBuf>) -> Result<Vec<PathBuf>> {
    match std::fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            strays.push(path.to_owned());
            Ok(Vec::new())
        }
        _ => list(path),
    }
}

/// What is in a directory, sorted. One that is not there has nothing.
fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io_error("list", dir)(error)),
    };
    let paths = entries.map(|entry| Ok(entry?.path()));
    let mut paths: Vec<_> = paths
        .collect::<io::Result<_>>()
        .map_err(io_error("list", dir))?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    #[test]
    fn a_hole_is_seen_and_an_end_is_not_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        assert_eq!(FileFacts::of(&path), FileFacts::Missing);
        let file = File::create(&path).unwrap();
        let facts = |hole| FileFacts::File { len: 1 << 20, hole };
        file.write_all_at(&vec![1; 1 << 20], 0).unwrap();
        assert_eq!(FileFacts::of(&path), facts(None));
        let sparse = File::create(&path).unwrap();
        sparse.write_all_at(&vec![1; 64 << 10], 0).unwrap();
        sparse.set_len(1 << 20).unwrap();
        assert_eq!(FileFacts::of(&path), facts(Some(64 << 10)));
    }

    #[test]
    fn only_names_in_their_place_are_digests() {
        let hex = "ab".repeat(32);
        let at = |algorithm: &str, shard: &str, hex: &str| {
            digest(Path::new(algorithm), Path::new(shard), Path::new(hex))
        };
        assert_eq!(
            at("/l/sha256", "/l/sha256/ab", &hex),
            Some(format!("sha256:{hex}").parse().unwrap())
        );
        assert_eq!(at("sha256", "ac", &hex), None);
        assert_eq!(at("md5", "ab", &hex), None);
        assert_eq!(at("sha256", "ab", "ab"), None);
    }
}
