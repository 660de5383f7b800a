//! What to mount how: a pure function of a request, its files and the facts.
//!
//! Why these overlay options:
//! - `xino=on`: inode and device numbers that do not change at copy-up, and one `st_dev` for the
//!   whole root, so that `du -x` and `find -xdev` see all of it.
//! - `index=off`: the index ties a writable layer to the very lower directories of its first mount
//!   by file handle, and refuses them (`ESTALE`) when another driver or host realised the same
//!   layers. What it would bring, hard links that survive copy-up, no other storage driver has.
//! - `redirect_dir=nofollow`, `metacopy=off`: no layer of ours holds a redirect, so one that is
//!   found is an attack or damage, and is not followed. Renaming a directory of a lower layer then
//!   gives `EXDEV`, and programs copy, as they do over every storage driver's default.
//! - `metacopy=on`, for a writable layer that is declared for it; the kernel couples it to
//!   `redirect_dir=on`. Redirects found in lower layers are followed then, which is safe only
//!   because an index never holds overlay's attributes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lapstrake_sys::file::FilesystemKind;
use lapstrake_sys::loopdev::{Reads, SECTOR};

use super::facts::{Facts, OverlayApi};
use super::survey::{OpenFile, OpenLayer, Survey};
use super::{CopyUp, Error, LayerFiles, PageCache, Request, Result, Writable};

/// How many lower directories overlay takes.
pub const MAX_LAYERS: usize = 500;

/// How the files of a layer reach EROFS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backing {
    /// As they are.
    File {
        /// Contents are read past the data file's page cache.
        directio: bool,
    },
    /// As loop devices, which read so.
    Loop(Reads),
}

/// One layer to be mounted, unless it is already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerPlan {
    /// Name of its mount point in the run directory.
    pub name: String,
    /// Which layer of the request, and so of the survey.
    pub position: usize,
    /// How its files reach EROFS.
    pub backing: Backing,
}

/// A lower directory of the overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lower {
    /// By position in [`Plan::layers`].
    Layer(usize),
    /// The empty directory of this number. Overlay wants two lower directories where there is no
    /// upper one, and one where there is.
    Empty(usize),
}

/// All that is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The layers, each once.
    pub layers: Vec<LayerPlan>,
    /// The lower directories, top first.
    pub lowers: Vec<Lower>,
    /// How overlay is told of them.
    pub api: OverlayApi,
    /// Overlay's other options.
    pub options: Vec<(&'static str, &'static str)>,
    /// The writable layer.
    pub writable: Option<Writable>,
    /// Where the root goes.
    pub target: PathBuf,
}

/// Decides how to mount `request`, whose layers are those of `survey`.
pub fn plan(request: &Request, survey: &Survey, facts: &Facts) -> Result<Plan> {
    let mut layers = Vec::new();
    for position in wanted(&request.layers) {
        let files = &survey.layers()[position];
        let backing = backing(request.cache, facts, files);
        if let Backing::Loop(_) = backing {
            files.files().try_for_each(whole_sectors)?;
        }
        layers.push(LayerPlan {
            name: name(&request.layers[position]),
            position,
            backing,
        });
    }
    Ok(Plan {
        lowers: lowers(layers.len(), request.writable.is_some()),
        layers,
        api: facts.overlay,
        options: options(request.writable.as_ref()),
        writable: request.writable.clone(),
        target: request.target.clone(),
    })
}

/// What can be refused before any file is opened.
pub(super) fn check(request: &Request) -> Result<()> {
    let mut seen: BTreeMap<&str, &LayerFiles> = BTreeMap::new();
    for layer in &request.layers {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if layer.id.len() < NAME_DIGITS || !layer.id.bytes().all(hex) {
            return Err(Error::BadId {
                id: layer.id.clone(),
            });
        }
        if *seen.entry(&layer.id).or_insert(layer) != layer {
            return Err(Error::Ambiguous {
                id: layer.id.clone(),
            });
        }
    }
    if seen.len() > MAX_LAYERS {
        return Err(Error::TooManyLayers {
            layers: seen.len(),
            max: MAX_LAYERS,
        });
    }
    Ok(())
}

/// Positions of the layers that matter, bottom first. Of a layer that stands twice only the upper
/// one does: whatever the lower one shows or hides, the upper one shows or hides above it.
fn wanted(layers: &[LayerFiles]) -> Vec<usize> {
    let top: BTreeMap<&str, usize> = layers
        .iter()
        .enumerate()
        .map(|(position, layer)| (layer.id.as_str(), position))
        .collect();
    let mut positions: Vec<usize> = top.into_values().collect();
    positions.sort_unstable();
    positions
}

/// Half of a sha256: short in the table of mounts, and beyond anyone's power to collide with a
/// given layer.
const NAME_DIGITS: usize = 32;

fn name(layer: &LayerFiles) -> String {
    layer.id.chars().take(NAME_DIGITS).collect()
}

fn backing(cache: PageCache, facts: &Facts, files: &OpenLayer) -> Backing {
    let place = |file: &OpenFile| facts.places.get(&file.device);
    let direct = match cache {
        PageCache::Buffered => false,
        // Over NFS every direct read is a round trip that no read-ahead hides.
        PageCache::Direct => files.files().all(|file| {
            place(file).is_some_and(|p| p.direct_reads && p.kind != FilesystemKind::Nfs)
        }),
    };
    if files
        .files()
        .all(|file| place(file).is_some_and(|p| p.backs_mounts))
    {
        return Backing::File {
            directio: direct && facts.erofs_directio,
        };
    }
    Backing::Loop(if direct {
        Reads::Direct
    } else {
        Reads::Buffered
    })
}

fn whole_sectors(file: &OpenFile) -> Result<()> {
    if file.length.is_multiple_of(u64::from(SECTOR)) {
        return Ok(());
    }
    Err(Error::Unaligned {
        path: file.path.clone(),
        length: file.length,
        sector: SECTOR,
    })
}

fn lowers(layers: usize, writable: bool) -> Vec<Lower> {
    let least = if writable { 1 } else { 2 };
    // Empty directories lie at the bottom: the root's owner and mode are the topmost layer's.
    let empty = (0..).map(Lower::Empty).take(least.max(layers) - layers);
    (0..layers).rev().map(Lower::Layer).chain(empty).collect()
}

fn options(writable: Option<&Writable>) -> Vec<(&'static str, &'static str)> {
    let (metacopy, redirect) = match writable.map(|w| w.copy_up) {
        Some(CopyUp::AttributesFirst) => ("on", "on"),
        Some(CopyUp::Whole) | None => ("off", "nofollow"),
    };
    vec![
        ("xino", "on"),
        ("index", "off"),
        ("metacopy", metacopy),
        ("redirect_dir", redirect),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(id: char) -> LayerFiles {
        LayerFiles {
            id: id.to_string().repeat(64),
            index: PathBuf::new(),
            data: None,
            index_len: 0,
            index_blake3: String::new(),
            data_len: 0,
        }
    }

    fn request(layers: Vec<LayerFiles>) -> Request {
        Request {
            layers,
            writable: None,
            target: PathBuf::new(),
            cache: PageCache::Direct,
        }
    }

    #[test]
    fn overlay_gets_as_many_lower_directories_as_it_wants() {
        use Lower::{Empty, Layer};
        assert_eq!(lowers(0, false), [Empty(0), Empty(1)]);
        assert_eq!(lowers(0, true), [Empty(0)]);
        assert_eq!(lowers(1, false), [Layer(0), Empty(0)]);
        assert_eq!(lowers(1, true), [Layer(0)]);
        assert_eq!(lowers(3, false), [Layer(2), Layer(1), Layer(0)]);
    }

    #[test]
    fn of_a_layer_that_stands_twice_the_upper_one_counts() {
        assert_eq!(wanted(&[layer('a'), layer('b'), layer('a')]), [1, 2]);
    }

    #[test]
    fn redirects_are_followed_only_for_a_writable_layer_that_has_them() {
        let writable = |copy_up| Writable {
            upper: PathBuf::new(),
            work: PathBuf::new(),
            copy_up,
        };
        let off = [
            ("xino", "on"),
            ("index", "off"),
            ("metacopy", "off"),
            ("redirect_dir", "nofollow"),
        ];
        let on = [
            ("xino", "on"),
            ("index", "off"),
            ("metacopy", "on"),
            ("redirect_dir", "on"),
        ];
        assert_eq!(options(None), off);
        assert_eq!(options(Some(&writable(CopyUp::Whole))), off);
        assert_eq!(options(Some(&writable(CopyUp::AttributesFirst))), on);
    }

    #[test]
    fn an_id_that_is_no_hex_never_becomes_a_path() {
        for id in [
            "",
            "abc",
            "../../../../../../../../../../../etc",
            &"A".repeat(64),
        ] {
            let bad = LayerFiles {
                id: id.to_owned(),
                ..layer('a')
            };
            assert!(
                matches!(check(&request(vec![bad])), Err(Error::BadId { .. })),
                "{id}"
            );
        }
    }

    #[test]
    fn one_id_with_two_files_is_refused() {
        let other = LayerFiles {
            index: PathBuf::from("/other"),
            ..layer('a')
        };
        let result = check(&request(vec![layer('a'), other]));
        assert!(matches!(result, Err(Error::Ambiguous { .. })), "{result:?}");
    }
}
