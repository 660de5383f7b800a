//! From an image to its one loop device.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use lapstrake_sys::loopdev::{LoopDevice, Reads, Writes};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::room::error::io;
use crate::room::{Error, Result};

/// Who has the image.
#[derive(Debug)]
pub(super) enum Attached {
    /// We do, by this descriptor.
    Ours(File),
    /// This device.
    Found(LoopDevice),
}

/// A device that is going away may take a moment, and so may one that another process makes.
const PATIENCE: Duration = Duration::from_secs(5);

/// Locks the image, or finds the device that has it.
pub(super) fn attach(image: &Path) -> Result<Attached> {
    let end = Instant::now() + PATIENCE;
    loop {
        let file = open(image)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Attached::Ours(file)),
            Err(Errno::WOULDBLOCK) if Instant::now() < end => {}
            Err(errno) => return Err(io("lock", image)(errno)),
        }
        let metadata = file.metadata().map_err(io("stat", image))?;
        let found = LoopDevice::of_file(metadata.dev(), metadata.ino()).map_err(named(image))?;
        if let Some(device) = found {
            return Ok(Attached::Found(device));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until no device has the image, and locks it. `None` if one goes on having it.
pub(super) fn take(image: &Path, patience: Duration) -> Result<Option<File>> {
    let end = Instant::now() + patience;
    let file = open(image)?;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(file)),
            Err(Errno::WOULDBLOCK) if Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(errno) => return Err(io("lock", image)(errno)),
        }
    }
}

/// Makes the locked image a device. Reads and writes pass by the page cache of the file, which
/// would only hold everything a second time.
pub(super) fn device(file: &File, image: &Path) -> Result<LoopDevice> {
    LoopDevice::attach_as(file.as_fd(), Reads::Direct, Writes::Through).map_err(named(image))
}

/// The device that the image has, if any.
pub(super) fn find(image: &Path) -> Result<Option<LoopDevice>> {
    let metadata = std::fs::metadata(image).map_err(io("stat", image))?;
    LoopDevice::of_file(metadata.dev(), metadata.ino()).map_err(named(image))
}

fn open(image: &Path) -> Result<File> {
    let opened = File::options().read(true).write(true).open(image);
    opened.map_err(io("open", image))
}

pub(super) fn named(image: &Path) -> impl FnOnce(lapstrake_sys::loopdev::Error) -> Error {
    let path = image.to_owned();
    move |source| Error::Loop { path, source }
}
