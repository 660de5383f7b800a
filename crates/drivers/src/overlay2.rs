//! Layers unpacked on disk, overlay on top: for kernels without EROFS, and for those who want to see
//! the files.
//!
//! ```text
//! <home>/<hex>/diff/       a layer's files, as overlay reads them
//! <home>/<hex>/link        a short name of the layer
//! <home>/l/<short name>    a symbolic link to ../<hex>/diff
//! ```
//!
//! As Docker lays it out, but for what Docker needs because a layer of its own belongs to one image
//! only: our directories are named by diff id, so every image shares them, and have no `lower`, for
//! what is below them is different in each. A writable layer lies in its place, not here.
//!
//! Contents come from the layer's data file, and blocks are shared with it where the file system can,
//! so that unpacking costs no space there.
//!
//! [`Overlay2::remake_data`] goes the other way: a layer's data file can be dropped while the layer is
//! realised, and made again from its tree, as the skeleton has all the rest.

mod remake;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Path, PathBuf};

use lapstrake_oci::{Algorithm, DiffId, Digest};
use lapstrake_snapshot::{
    CopyUp, Driver, Error, Layer, Lower, Mounts, OpenDir, OpenFile, Overlay, OverlayApi, Place,
    Result, Root, RunDir, WritableTree, distinct, std_io,
};
use lapstrake_sys::parallel;

use crate::home::{Home, make_dirs, names};
use crate::unpack::{Attributes, Marks, Missing, Unpacker, tree_of};

/// The driver.
#[derive(Debug, Clone)]
pub struct Overlay2 {
    home: Home,
    run: RunDir,
    copy_up: CopyUp,
}

impl Overlay2 {
    /// Opens the driver over its directory, and removes what crashes left there.
    pub fn open(home: &Path, run: &RunDir, copy_up: CopyUp) -> Result<Self> {
        let driver = Self {
            home: Home::open(home.to_owned())?,
            run: run.clone(),
            copy_up,
        };
        make_dirs(&driver.links())?;
        Ok(driver)
    }

    fn links(&self) -> PathBuf {
        self.home.path().join("l")
    }

    /// Where a layer's files are, or would be.
    fn diff(&self, layer: &DiffId) -> PathBuf {
        self.home.path().join(layer.0.hex()).join("diff")
    }

    fn realise_layer(&self, layer: &Layer) -> Result<()> {
        if self.diff(&layer.id).exists() {
            return self.link(&layer.id);
        }
        let stage = self.home.stage()?;
        let dir = stage.path().join("layer");
        let diff = dir.join("diff");
        for dir in [&dir, &diff] {
            std::fs::DirBuilder::new()
                .mode(0o755)
                .create(dir)
                .map_err(std_io("create directory", dir))?;
        }
        let tree = tree_of(layer)?;
        let data = layer.data.as_ref().map(OpenFile::open).transpose()?;
        let attributes = Attributes {
            missing: Missing::Refuse,
        };
        Unpacker::new(&tree, data.as_ref(), Marks::Kept, attributes, &diff)?.unpack()?;
        let link = dir.join("link");
        File::create(&link)
            .and_then(|mut file| file.write_all(short_name(&layer.id).as_bytes()))
            .map_err(std_io("write", &link))?;
        self.home.publish(&dir, Path::new(layer.id.0.hex()))?;
        self.link(&layer.id)
    }

    /// Makes a layer's short name. Nothing depends on it: it is for Docker's tools, and for people.
    fn link(&self, layer: &DiffId) -> Result<()> {
        let link = self.links().join(short_name(layer));
        let target = Path::new("..").join(layer.0.hex()).join("diff");
        match symlink(target, &link) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(std_io("create link", link)(error)),
        }
    }
}

impl Driver for Overlay2 {
    fn name(&self) -> &'static str {
        "overlay2"
    }

    fn status(&self) -> Vec<(String, String)> {
        let line = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        vec![
            // Without it the driver is refused.
            line("Supports d_type", "true"),
            crate::metacopy_status(self.copy_up),
            // Renamed directories and files without contents are understood.
            line("Native Overlay Diff", "true"),
            line("userxattr", "false"),
        ]
    }

    fn realise(&self, stack: &[Layer]) -> Result<()> {
        let layers: Vec<&Layer> = distinct(stack)?.into_iter().map(|at| &stack[at]).collect();
        parallel::map(&layers, |layer| self.realise_layer(layer))?;
        Ok(())
    }

    fn realised(&self) -> Result<BTreeSet<DiffId>> {
        let names = names(self.home.path())?;
        let ids = names.iter().filter_map(|name| id(name.to_str()?));
        Ok(ids.filter(|id| self.diff(id).exists()).collect())
    }

    fn forget(&self, layer: &DiffId) -> Result<()> {
        let quiet = self.run.quiet()?;
        if quiet.in_use()?.contains(layer) {
            return Err(Error::LayerInUse { id: layer.clone() });
        }
        let link = self.links().join(short_name(layer));
        match std::fs::remove_file(&link) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(std_io("remove", link)(error));
            }
            _ => {}
        }
        self.home.remove(Path::new(layer.0.hex()))
    }

    fn create(&self, _stack: &[Layer], place: &Path) -> Result<()> {
        Place::create_upper(place, self.copy_up)
    }

    fn mounts(&self, stack: &[Layer], place: Option<&Path>) -> Result<Mounts> {
        let layers: Vec<&Layer> = distinct(stack)?.into_iter().map(|at| &stack[at]).collect();
        let open = |layer: &&Layer| {
            let diff = self.diff(&layer.id);
            OpenDir::open(&diff)
                .map(Lower::Directory)
                .map_err(|error| match error {
                    Error::Io { source, .. } if source.kind() == ErrorKind::NotFound => {
                        Error::NotRealised {
                            id: layer.id.clone(),
                            driver: self.name(),
                        }
                    }
                    other => other,
                })
        };
        let lowers = layers.iter().rev().map(open).collect::<Result<Vec<_>>>()?;
        Ok(Mounts {
            layers: layers.into_iter().map(|layer| layer.id.clone()).collect(),
            shared: Vec::new(),
            root: Root::Overlay(Overlay {
                lowers,
                upper: place.map(Place::open_upper).transpose()?,
                api: OverlayApi::probe()?,
            }),
        })
    }

    fn tree(&self, place: &Path) -> Result<WritableTree> {
        Place::tree(place)
    }
}

/// The layer that a directory of that name has.
fn id(name: &str) -> Option<DiffId> {
    let algorithms = [Algorithm::Sha256, Algorithm::Sha512];
    let algorithm = algorithms.into_iter().find(|a| a.hex_len() == name.len())?;
    let digest = format!("{}:{name}", algorithm.name());
    digest.parse::<Digest>().ok().map(DiffId)
}

/// 26 letters and digits, as Docker has; ours are the layer's own.
fn short_name(layer: &DiffId) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let nibbles = layer.0.hex().bytes().map(|digit| match digit {
        b'0'..=b'9' => u32::from(digit - b'0'),
        _ => u32::from(digit - b'a') + 10,
    });
    let mut name = String::with_capacity(26);
    let (mut bits, mut count) = (0, 0);
    for nibble in nibbles {
        (bits, count) = (bits << 4 | nibble, count + 4);
        if count >= 5 {
            count -= 5;
            let letter = bits >> count & 31;
            name.push(char::from(ALPHABET[letter as usize]));
            bits &= 15;
        }
        if name.len() == 26 {
            break;
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_26_of_base32() {
        let id = id(&"0123456789abcdef".repeat(4)).unwrap();
        // As `base32` says of the first bytes.
        assert_eq!(short_name(&id), "AERUKZ4JVPG66AJDIVTYTK6N54");
    }

    #[test]
    fn only_digests_are_layers() {
        for name in ["l", "staging", "../x", &"0".repeat(63), &"G".repeat(64)] {
            assert_eq!(id(name), None, "{name}");
        }
        assert_eq!(
            id(&"0".repeat(128)).unwrap().0.algorithm(),
            Algorithm::Sha512
        );
    }
}
