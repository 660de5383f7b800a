//! How each layer's files reach EROFS: a pure function of the files and the facts.

use lapstrake_snapshot::{Error, OpenFile, Result};
use lapstrake_sys::file::FilesystemKind;
use lapstrake_sys::loopdev::{Reads, SECTOR};

use super::PageCache;
use super::facts::Facts;
use super::survey::{OpenLayer, Survey};

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

/// Decides for every layer of the survey.
pub fn plan(cache: PageCache, survey: &Survey, facts: &Facts) -> Result<Vec<Backing>> {
    let decide = |files: &OpenLayer| {
        let backing = backing(cache, facts, files);
        if let Backing::Loop(_) = backing {
            files.files().try_for_each(whole_sectors)?;
        }
        Ok(backing)
    };
    survey.layers().iter().map(decide).collect()
}

fn backing(cache: PageCache, facts: &Facts, files: &OpenLayer) -> Backing {
    let place = |file: &OpenFile| facts.places.get(&file.device());
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
    if file.length().is_multiple_of(u64::from(SECTOR)) {
        return Ok(());
    }
    Err(Error::Unaligned {
        path: file.path().to_owned(),
        length: file.length(),
        sector: SECTOR,
    })
}
