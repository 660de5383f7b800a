//! What this kernel can do with these files, found by asking it, not by its version.

use std::collections::btree_map::{BTreeMap, Entry};
use std::os::fd::AsFd;
use std::path::Path;

use lapstrake_sys::file::{self, FilesystemKind};
use lapstrake_sys::mount::{Context, Restrictions};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::error::io;
use super::survey::{OpenFile, Survey};
use super::{Error, Result};

/// How overlay takes its lower directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverlayApi {
    /// One descriptor after the other (Linux 6.13).
    Descriptors,
    /// One path after the other (Linux 6.7).
    Paths,
    /// All in one string of a page (older).
    OnePage,
}

/// What a file system can be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its files can be mounted as they are; otherwise only through loop devices.
    pub backs_mounts: bool,
    /// Direct reads of its files work, at EROFS' block size.
    pub direct_reads: bool,
    /// Its type.
    pub kind: FilesystemKind,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// How overlay takes its lower directories.
    pub overlay: OverlayApi,
    /// EROFS knows the option `directio` (Linux 6.14).
    pub erofs_directio: bool,
    /// By `st_dev`, every file system that the files lie on.
    pub places: BTreeMap<u64, Place>,
}

impl Facts {
    /// Asks the kernel, once for each file system that files of the survey lie on.
    pub fn probe(survey: &Survey) -> Result<Self> {
        let mut places = BTreeMap::new();
        for file in survey.layers().iter().flat_map(|layer| layer.files()) {
            if let Entry::Vacant(entry) = places.entry(file.device) {
                entry.insert(Place::probe(file)?);
            }
        }
        Ok(Self {
            overlay: overlay_api()?,
            erofs_directio: erofs_directio()?,
            places,
        })
    }
}

impl Place {
    fn probe(file: &OpenFile) -> Result<Self> {
        Ok(Self {
            backs_mounts: backs_mounts(file)?,
            direct_reads: direct_reads(file)?,
            kind: file::filesystem(file).map_err(io("find the file system of", &file.path))?,
        })
    }
}

/// Tries to mount the file without its data device. An index is refused for the missing device,
/// any other file for its contents; but where a file cannot back a mount at all, the kernel asks
/// for a block device before it looks.
fn backs_mounts(file: &OpenFile) -> Result<bool> {
    let named = |source| Error::Mount {
        object: file.path.display().to_string(),
        source,
    };
    let erofs = Context::open("erofs").map_err(named)?;
    erofs
        .string("source", file.descriptor_path())
        .map_err(named)?;
    match erofs.create(Restrictions {
        read_only: true,
        inert: true,
    }) {
        Ok(_) => Ok(true),
        Err(error) => Ok(error.errno() != Errno::NOTBLK),
    }
}

fn direct_reads(file: &OpenFile) -> Result<bool> {
    let told = file::direct_alignment(file.as_fd()).map_err(io("stat", &file.path))?;
    // Kernels that have the option `directio` all tell the alignment.
    let Some(alignment) = told else {
        return Ok(false);
    };
    if alignment.memory > 4096 || alignment.offset > 4096 {
        return Ok(false);
    }
    // A promise that a read does not keep is no reason to refuse the layer, only to buffer it.
    Ok(file::try_direct_read(CWD, Path::new(&file.descriptor_path())).is_ok())
}

/// Overlay checks values when they are set, so asking needs no mount. Before 6.5 it took any name
/// and judged later.
fn overlay_api() -> Result<OverlayApi> {
    let named = |source| Error::Mount {
        object: "overlay".to_owned(),
        source,
    };
    let overlay = Context::open("overlay").map_err(named)?;
    if overlay.string("lapstrake-is-there-any-check", "1").is_ok() {
        return Ok(OverlayApi::OnePage);
    }
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(io("open", "/"))?;
    if overlay.fd("lowerdir+", root.as_fd()).is_ok() {
        return Ok(OverlayApi::Descriptors);
    }
    Ok(match overlay.string("lowerdir+", "/") {
        Ok(()) => OverlayApi::Paths,
        Err(_) => OverlayApi::OnePage,
    })
}

fn erofs_directio() -> Result<bool> {
    let named = |source| Error::Mount {
        object: "erofs".to_owned(),
        source,
    };
    Ok(Context::open("erofs")
        .map_err(named)?
        .flag("directio")
        .is_ok())
}
