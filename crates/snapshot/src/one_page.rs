//! Overlay before Linux 6.7: all options in one string of a page.
//!
//! 500 absolute paths do not fit, but 500 numbers do: the lower directories get symbolic links
//! named `0`, `1`, … in a directory of their own, and a thread whose working directory that is
//! calls `mount(2)`.

use std::os::unix::fs::symlink;
use std::path::Path;

use lapstrake_sys::mount::{self, Detached, Restrictions, Unmount};

use crate::error::std_io;
use crate::overlay;
use crate::perform::named;
use crate::run_dir::{Locked, open_dir};
use crate::{OpenDir, Result, Upper};

/// Mounts the overlay out of sight. The run directory's lock keeps the links ours.
pub(crate) fn overlay(
    locked: &Locked<'_>,
    lowers: &[&OpenDir],
    upper: Option<&Upper>,
    restrictions: Restrictions,
    target: &Path,
) -> Result<Detached> {
    let links = locked.fresh_dir("links")?;
    for (number, lower) in lowers.iter().enumerate() {
        let link = links.join(number.to_string());
        symlink(lower.path(), &link).map_err(std_io("create link", &link))?;
    }
    // Not at the target yet: the record has to be there first.
    let place = locked.fresh_dir("root")?;
    let options = options(lowers.len(), upper);
    mount::in_directory(&open_dir(&links)?, || {
        mount::mount_with_string("overlay", "lapstrake", &place, restrictions, &options)
    })
    .map_err(named(target.display().to_string()))?;
    let root = Detached::copy_of(&place).map_err(named(target.display().to_string()));
    mount::unmount(&place, Unmount::Lazy).map_err(named(place.display().to_string()))?;
    root
}

fn options(lowers: usize, upper: Option<&Upper>) -> Vec<u8> {
    let numbers: Vec<String> = (0..lowers).map(|number| number.to_string()).collect();
    let mut options = format!("lowerdir={}", numbers.join(":")).into_bytes();
    if let Some(upper) = upper {
        options.extend_from_slice(b",upperdir=");
        options.extend(upper.upper.short_path());
        options.extend_from_slice(b",workdir=");
        options.extend(upper.work.short_path());
    }
    for (key, value) in overlay::options(upper) {
        options.extend(format!(",{key}={value}").into_bytes());
    }
    options
}
