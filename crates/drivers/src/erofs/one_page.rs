//! Overlay before Linux 6.7: all options in one string of a page.
//!
//! 500 absolute paths do not fit, but 500 numbers do: the lower directories get symbolic links
//! named `0`, `1`, … in a directory of their own, and a thread whose working directory that is
//! calls `mount(2)`.

use std::os::unix::fs::symlink;

use lapstrake_sys::mount::{self, Detached, Restrictions, Unmount};

use super::Result;
use super::error::std_io;
use super::perform::{LowerDir, OpenWritable, named, short_path};
use super::plan::Plan;
use super::run_dir::{Locked, open_dir};

/// Mounts the overlay out of sight. The run directory's lock keeps the links ours.
pub(super) fn overlay(
    locked: &Locked<'_>,
    plan: &Plan,
    lowers: &[LowerDir],
    writable: Option<&OpenWritable<'_>>,
    restrictions: Restrictions,
) -> Result<Detached> {
    let links = locked.fresh_dir("links")?;
    for (number, lower) in lowers.iter().enumerate() {
        let link = links.join(number.to_string());
        symlink(locked.layers_path().join(&lower.name), &link)
            .map_err(std_io("create link", &link))?;
    }
    // Not at the target yet: the record has to be there first.
    let place = locked.fresh_dir("root")?;
    let options = options(plan, lowers.len(), writable);
    mount::in_directory(&open_dir(&links)?, || {
        mount::mount_with_string("overlay", "lapstrake", &place, restrictions, &options)
    })
    .map_err(named(plan.target.display().to_string()))?;
    let root = Detached::copy_of(&place).map_err(named(plan.target.display().to_string()));
    mount::unmount(&place, Unmount::Lazy).map_err(named(place.display().to_string()))?;
    root
}

fn options(plan: &Plan, lowers: usize, writable: Option<&OpenWritable<'_>>) -> Vec<u8> {
    let numbers: Vec<String> = (0..lowers).map(|number| number.to_string()).collect();
    let mut options = format!("lowerdir={}", numbers.join(":")).into_bytes();
    if let Some(writable) = writable {
        options.extend_from_slice(b",upperdir=");
        options.extend(short_path(&writable.paths.upper, &writable.upper));
        options.extend_from_slice(b",workdir=");
        options.extend(short_path(&writable.paths.work, &writable.work));
    }
    for (key, value) in &plan.options {
        options.extend(format!(",{key}={value}").into_bytes());
    }
    options
}
