//! A driver by its name.

use std::path::Path;

use lapstrake_snapshot::{Driver, Result, RunDir};

use crate::choose::DriverName;
use crate::erofs::Erofs;
use crate::options::Options;
use crate::{Overlay2, Vfs};

/// Opens a driver; what it keeps on disk is below `drivers`, in a directory of its name.
pub fn open(
    driver: DriverName,
    options: &Options,
    drivers: &Path,
    run: &RunDir,
) -> Result<Box<dyn Driver>> {
    let home = drivers.join(driver.as_str());
    Ok(match driver {
        DriverName::Erofs => Box::new(Erofs {
            cache: options.page_cache,
            copy_up: options.erofs_copy_up,
        }),
        DriverName::Overlay2 => Box::new(Overlay2::open(&home, run, options.overlay2_copy_up)?),
        DriverName::Vfs => Box::new(Vfs::open(&home, run, options.vfs_xattrs)?),
    })
}
