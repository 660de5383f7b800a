//! Loop devices: a file as a block device, for file systems that cannot be mounted from a file.
//!
//! A device clears itself: it lives while it is open or mounted, and needs no teardown. It holds the
//! descriptor that it was made from, and so a lock (`flock`) that was taken by it. Finding a free number and taking it are two steps for the kernel, so another process
//! may be faster; then the next number is tried.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode};

/// Why there is no loop device.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `/dev/loop-control` is not there.
    #[error("this machine has no loop devices (/dev/loop-control): load the module loop")]
    NoLoopDevices(#[source] Errno),
    /// A system call failed.
    #[error("cannot {action} {}", device.display())]
    Call {
        /// What was tried.
        action: &'static str,
        /// On which device.
        device: PathBuf,
        /// The error number.
        #[source]
        source: Errno,
    },
}

/// How a loop device reads its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// Through the page cache of the file.
    Buffered,
    /// Around it, where the file allows; the kernel falls back by itself.
    Direct,
}

/// What may be done with a device's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writes {
    /// Nothing changes it.
    Never,
    /// What is written to the device is written to the file, which must be open for writing.
    Through,
}

/// An open loop device. When the last opener or mount is gone, the kernel frees it.
#[derive(Debug)]
pub struct LoopDevice {
    fd: OwnedFd,
    path: PathBuf,
}

impl LoopDevice {
    /// Makes `file` readable as a block device of [`SECTOR`]s. Bytes after the last whole sector
    /// are out of reach.
    pub fn attach(file: BorrowedFd<'_>, reads: Reads) -> Result<Self, Error> {
        Self::attach_as(file, reads, Writes::Never)
    }

    /// As [`attach`](Self::attach), for writing too.
    pub fn attach_as(file: BorrowedFd<'_>, reads: Reads, writes: Writes) -> Result<Self, Error> {
        let control = rustix::fs::open("/dev/loop-control", READ, Mode::empty())
            .map_err(Error::NoLoopDevices)?;
        loop {
            let number = free_number(&control)?;
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let fd = open(&path, writes)?;
            match configure(&fd, file, reads, writes) {
                Ok(()) => return Ok(Self { fd, path }),
                // Somebody took it between the two steps.
                Err(Errno::BUSY) => {}
                Err(source) => {
                    return Err(Error::Call {
                        action: "set up",
                        device: path,
                        source,
                    });
                }
            }
        }
    }

    /// The device that was made from the file `inode` of `device`, if there is one.
    pub fn of_file(device: u64, inode: u64) -> Result<Option<Self>, Error> {
        let blocks = Path::new("/sys/block");
        let entries = std::fs::read_dir(blocks).map_err(|e| Error::Call {
            action: "list",
            device: blocks.to_owned(),
            source: Errno::from_io_error(&e).unwrap_or(Errno::IO),
        })?;
        for entry in entries.flatten() {
            // The directory `loop` is there while the device has a file.
            if !entry.path().join("loop").exists() {
                continue;
            }
            let path = Path::new("/dev").join(entry.file_name());
            let Ok(fd) = open(&path, Writes::Through) else {
                continue;
            };
            // Asked after it was opened: from here on it cannot become another file's.
            match status(&fd) {
                Ok(status) if (status.device, status.inode) == (device, inode) => {
                    return Ok(Some(Self { fd, path }));
                }
                // Another file's, or gone meanwhile.
                _ => {}
            }
        }
        Ok(None)
    }

    /// Takes over the present size of the file.
    pub fn refresh_size(&self) -> Result<(), Error> {
        // SAFETY: LOOP_SET_CAPACITY takes no argument.
        let request = unsafe { rustix::ioctl::NoArg::<LOOP_SET_CAPACITY>::new() };
        // SAFETY: as above.
        unsafe { rustix::ioctl::ioctl(&self.fd, request) }.map_err(|source| Error::Call {
            action: "change the size of",
            device: self.path.clone(),
            source,
        })
    }

    /// Its path below `/dev`.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl AsFd for LoopDevice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Sector size of the devices, in bytes. Not 512: direct reads of a file on a disk with 4 KiB
/// sectors need as much.
pub const SECTOR: u32 = 4096;

const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC);

const LOOP_GET_STATUS64: Opcode = 0x4C05;
const LOOP_SET_CAPACITY: Opcode = 0x4C07;
const LOOP_CONFIGURE: Opcode = 0x4C0A;
const LOOP_CTL_GET_FREE: Opcode = 0x4C82;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LO_FLAGS_DIRECT_IO: u32 = 16;

/// `struct loop_config` of linux/loop.h.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

/// `struct loop_info64` of linux/loop.h.
#[repr(C)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

fn open(path: &Path, writes: Writes) -> Result<OwnedFd, Error> {
    let flags = match writes {
        Writes::Never => READ,
        Writes::Through => OFlags::RDWR | OFlags::CLOEXEC,
    };
    rustix::fs::open(path, flags, Mode::empty()).map_err(|source| Error::Call {
        action: "open",
        device: path.to_owned(),
        source,
    })
}

fn status(device: &OwnedFd) -> rustix::io::Result<LoopInfo> {
    // SAFETY: LOOP_GET_STATUS64 writes one `struct loop_info64`, which `LoopInfo` mirrors.
    let request = unsafe { rustix::ioctl::Getter::<LOOP_GET_STATUS64, LoopInfo>::new() };
    // SAFETY: the argument is the one that this opcode fills.
    unsafe { rustix::ioctl::ioctl(device, request) }
}

fn free_number(control: &OwnedFd) -> Result<u32, Error> {
    // SAFETY: LOOP_CTL_GET_FREE reads and writes no memory of ours; it answers by return value.
    unsafe { rustix::ioctl::ioctl(control, GetFree) }.map_err(|source| Error::Call {
        action: "find a free device by",
        device: PathBuf::from("/dev/loop-control"),
        source,
    })
}

struct GetFree;

// SAFETY: the opcode takes no argument and returns the number.
unsafe impl Ioctl for GetFree {
    type Output = u32;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        LOOP_CTL_GET_FREE
    }

    fn as_ptr(&mut self) -> *mut rustix::ffi::c_void {
        std::ptr::null_mut()
    }

    unsafe fn output_from_ptr(
        output: IoctlOutput,
        _: *mut rustix::ffi::c_void,
    ) -> rustix::io::Result<u32> {
        u32::try_from(output).map_err(|_| Errno::INVAL)
    }
}

fn configure(
    device: &OwnedFd,
    file: BorrowedFd<'_>,
    reads: Reads,
    writes: Writes,
) -> rustix::io::Result<()> {
    let direct = match reads {
        Reads::Buffered => 0,
        Reads::Direct => LO_FLAGS_DIRECT_IO,
    };
    let read_only = match writes {
        Writes::Never => LO_FLAGS_READ_ONLY,
        Writes::Through => 0,
    };
    let config = LoopConfig {
        fd: u32::try_from(file.as_raw_fd()).map_err(|_| Errno::BADF)?,
        block_size: SECTOR,
        info: LoopInfo {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            size_limit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: read_only | LO_FLAGS_AUTOCLEAR | direct,
            file_name: [0; 64],
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        },
        reserved: [0; 8],
    };
    // SAFETY: LOOP_CONFIGURE reads one `struct loop_config`, which `LoopConfig` mirrors.
    let request = unsafe { rustix::ioctl::Setter::<LOOP_CONFIGURE, LoopConfig>::new(config) };
    // SAFETY: the argument is the one that this opcode reads; the kernel keeps no pointer to it.
    unsafe { rustix::ioctl::ioctl(device, request) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_has_the_size_that_the_kernel_expects() {
        assert_eq!(std::mem::size_of::<LoopConfig>(), 304);
        assert_eq!(std::mem::size_of::<LoopInfo>(), 232);
    }

    #[test]
    fn privileged_a_device_reads_as_its_file_and_clears_itself() {
        use std::io::{Read, Write};
        if !rustix::process::geteuid().is_root() {
            eprintln!(
                "SKIPPED privileged_a_device_reads_as_its_file_and_clears_itself: needs root"
            );
            return;
        }
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(&[7; 8192]).expect("8 KiB fit");
        let device = LoopDevice::attach(file.as_fd(), Reads::Buffered).expect("a loop device");
        let path = device.path().to_owned();
        let mut bytes = Vec::new();
        std::fs::File::open(&path)
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap();
        assert_eq!(bytes, [7; 8192]);
        let name = path.file_name().unwrap().to_owned();
        drop(device);
        // Another opener of the device (udev, blkid) may hold it a moment longer.
        let backing = Path::new("/sys/block").join(name).join("loop/backing_file");
        let gone = (0..100).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            !backing.exists()
        });
        assert!(gone, "{} is still set up", path.display());
    }
}
