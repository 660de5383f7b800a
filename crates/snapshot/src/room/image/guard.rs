//! Images that were promised more than there is run full early, while the file system below still
//! has space.
//!
//! An image is sparse: a block that is free in it may have nothing below it. If the file system
//! below ran full first, data that were written and not yet on disk would be lost. So what all
//! mounted images together may still write is kept below what is free there: ext4 can be told how
//! many of its free blocks to keep back (`reserved_clusters`), and refuses the others at once, with
//! `ENOSPC`, to everyone. Containers see it in `df`.
//!
//! A pass shares out what is free now. When nobody makes passes any more, the shares stay, and
//! images run full early rather than late; only others who write to the file system below can then
//! use up what was shared out.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::record::Record;
use super::seats::Seats;
use super::superblock::kept_back;
use super::{BLOCK, Reserve, is_one};
use crate::room::Result;
use crate::room::error::io;

/// Not shared out: for bitmaps and inodes of images, and for others who write.
const MARGIN: u64 = 64 << 20;

/// Rooms and where their images are mounted.
pub(crate) type Place = (Seats, PathBuf);

/// Shares out among the mounted images of all these rooms what is free on the file systems that they lie on.
pub(crate) fn pass(places: &[Place]) -> Result<()> {
    let mut by_device = BTreeMap::<u64, Vec<&Place>>::new();
    for place in places {
        match rustix::fs::stat(&place.1) {
            Ok(stat) => by_device.entry(stat.st_dev).or_default().push(place),
            // None were ever made there.
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(io("stat", &place.1)(errno)),
        }
    }
    by_device.values().try_for_each(|places| pass_one(places))
}

/// Shares out among rooms on one file system.
fn pass_one(places: &[&Place]) -> Result<()> {
    let Some((_, any)) = places.first() else {
        return Ok(());
    };
    let below = rustix::fs::statfs(any).map_err(io("ask for the free space of", any))?;
    let block = u64::try_from(below.f_bsize).unwrap_or(BLOCK);
    let free = below.f_bavail.saturating_mul(block);
    let margin = MARGIN.min(free / 4);
    let mut images = Vec::new();
    let mut wants = Vec::new();
    for (seats, rooms) in places {
        for name in seats.names()? {
            let room = rooms.join(&name);
            let hidden = name.as_encoded_bytes().starts_with(b".");
            if hidden || !is_one(&room) || !seats.is_taken(&name.to_string_lossy())? {
                continue;
            }
            if Record::read(&room)?.reserve == Reserve::Whole {
                continue;
            }
            let seat = seats.path(&name.to_string_lossy());
            let image = rustix::fs::statfs(&seat);
            let image = image.map_err(io("ask for the free space of", &seat))?;
            let kept = kept_back(image.f_blocks);
            wants.push(image.f_bfree.saturating_sub(kept));
            images.push((seat, image.f_bfree, image.f_bavail));
        }
    }
    let shares = shares((free - margin) / BLOCK, &wants);
    for ((seat, free, available), share) in images.iter().zip(shares) {
        // An image that has what it was given is not told again.
        if available.abs_diff(share) > 16 {
            keep_back(seat, free.saturating_sub(share))?;
        }
    }
    Ok(())
}

/// Tells the ext4 at `seat` to keep back so many of its blocks.
pub(super) fn keep_back(seat: &Path, blocks: u64) -> Result<()> {
    let device = rustix::fs::stat(seat).map_err(io("stat", seat))?.st_dev;
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let link = Path::new("/sys/dev/block").join(format!("{major}:{minor}"));
    let target = std::fs::read_link(&link).map_err(io("read", &link))?;
    let name = target.file_name().unwrap_or_default();
    let path = Path::new("/sys/fs/ext4")
        .join(name)
        .join("reserved_clusters");
    let file = File::options().write(true).open(&path);
    let written = file.and_then(|mut file| file.write_all(blocks.to_string().as_bytes()));
    written.map_err(io("write", path))
}

/// Shares of `budget` that are at most what is wanted, and as equal as they can be.
fn shares(budget: u64, wants: &[u64]) -> Vec<u64> {
    let mut order: Vec<usize> = (0..wants.len()).collect();
    order.sort_by_key(|index| wants[*index]);
    let mut shares = vec![0; wants.len()];
    let mut left = budget;
    for (taken, index) in order.iter().enumerate() {
        let takers = u64::try_from(wants.len() - taken).unwrap_or(u64::MAX);
        shares[*index] = wants[*index].min(left / takers);
        left -= shares[*index];
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wants_little_leaves_more_to_the_others() {
        let cases: [(u64, &[u64], &[u64]); 6] = [
            (100, &[], &[]),
            (100, &[30, 40], &[30, 40]),
            (100, &[500], &[100]),
            (100, &[500, 500], &[50, 50]),
            (100, &[500, 10, 500], &[45, 10, 45]),
            (0, &[1, 2], &[0, 0]),
        ];
        for (budget, wants, expected) in cases {
            assert_eq!(shares(budget, wants), expected, "{budget} {wants:?}");
        }
    }
}
