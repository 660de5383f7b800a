//! What this kernel can do with these files, found by asking it, not by its version.

use std::collections::btree_map::{BTreeMap, Entry};
use std::os::fd::AsFd;
use std::path::Path;

use lapstrake_snapshot::{OpenFile, OverlayApi, Result, io};
use lapstrake_sys::file::{self, FilesystemKind};
use lapstrake_sys::mount::{Context, Restrictions};
use rustix::fs::CWD;
use rustix::io::Errno;

use super::named;
use super::survey::Survey;

/// What a file system can be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSystem {
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
    pub places: BTreeMap<u64, FileSystem>,
}

impl Facts {
    /// Asks the kernel, once for each file system that files of the survey lie on.
    pub fn probe(survey: &Survey) -> Result<Self> {
        let mut places = BTreeMap::new();
        for file in survey.layers().iter().flat_map(|layer| layer.files()) {
            if let Entry::Vacant(entry) = places.entry(file.device()) {
                entry.insert(FileSystem::probe(file)?);
            }
        }
        Ok(Self {
            overlay: OverlayApi::probe()?,
            erofs_directio: erofs_directio()?,
            places,
        })
    }
}

impl FileSystem {
    fn probe(file: &OpenFile) -> Result<Self> {
        Ok(Self {
            backs_mounts: backs_mounts(file)?,
            direct_reads: direct_reads(file)?,
            kind: file::filesystem(file).map_err(io("find the file system of", file.path()))?,
        })
    }
}

/// Tries to mount the file without its data device. An index is refused for the missing device,
/// any other file for its contents; but where a file cannot back a mount at all, the kernel asks
/// for a block device before it looks.
fn backs_mounts(file: &OpenFile) -> Result<bool> {
    let failed = || named(file.path().display().to_string());
    let erofs = Context::open("erofs").map_err(failed())?;
    erofs
        .string("source", file.descriptor_path())
        .map_err(failed())?;
    match erofs.create(Restrictions {
        read_only: true,
        inert: true,
    }) {
        Ok(_) => Ok(true),
        Err(error) => Ok(error.errno() != Errno::NOTBLK),
    }
}

fn direct_reads(file: &OpenFile) -> Result<bool> {
    let told = file::direct_alignment(file.as_fd()).map_err(io("stat", file.path()))?;
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

fn erofs_directio() -> Result<bool> {
    Ok(Context::open("erofs")
        .map_err(named("erofs"))?
        .flag("directio")
        .is_ok())
}
