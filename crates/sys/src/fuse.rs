//! The FUSE device: requests in, replies out, without a library.
//!
//! One open description of `/dev/fuse` is one file system. Whoever holds it keeps the file system
//! alive; a process that inherits it may serve it, and [`Device::resend`] asks for what a
//! predecessor took and did not answer. What is not here is not wanted: cloned descriptions and
//! io_uring queues tie requests to a process, and those die with it.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::mount::{self, Context, Detached, Restrictions};

/// What the file system's root is called in requests.
pub const ROOT: u64 = 1;

/// A request's buffer: the least that the kernel takes. Nothing is written through this file system.
pub const REQUEST_BYTES: usize = 8192;
/// The most a read may ask for.
pub const READ_BYTES_MAX: u32 = 1 << 20;
/// The kernel lets this many background requests wait; below that, readers of present data would
/// queue behind those of holes.
const BACKGROUND_MAX: u16 = 1024;

const KERNEL_MAJOR: u32 = 7;
/// The version whose structures these are.
const KERNEL_MINOR: u32 = 38;
const HEADER_BYTES: usize = 40;
const ASYNC_READ: u32 = 1;
const ASYNC_DIO: u32 = 1 << 15;
const MAX_PAGES: u32 = 1 << 22;
const INIT_EXT: u32 = 1 << 30;
/// `FUSE_HAS_RESEND`, bit 39 of the flags, in their second word.
const HAS_RESEND: u32 = 1 << 7;
const FOPEN_DIRECT_IO: u32 = 1;
const NOTIFY_RESEND: i32 = 7;
const FOREVER_SECONDS: u64 = 1 << 30;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// The first request of all.
    Init {
        /// Whether the kernel can ask again what a dead server left (from 6.9 on).
        resend: bool,
    },
    /// The node of a name in a directory.
    Lookup {
        /// The name.
        name: Box<[u8]>,
    },
    /// A node's attributes.
    Attributes,
    /// To open a file.
    Open,
    /// To open a directory.
    OpenDirectory,
    /// A directory's entries.
    ReadDirectory,
    /// Bytes of a file.
    Read {
        /// From where.
        offset: u64,
        /// How many.
        size: u32,
    },
    /// A file or directory was closed.
    Release,
    /// Numbers of the file system.
    Statfs,
    /// A task that waits for a reply got a signal.
    Interrupt {
        /// The request it waits for.
        of: u64,
    },
    /// The kernel forgets a node; there is no reply.
    Forget,
    /// The file system ends.
    Destroy,
    /// Something that this file system has not.
    Other,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its number, for the reply.
    pub unique: u64,
    /// The node that it is about.
    pub node: u64,
    /// The task that waits; 0 if none does.
    pub pid: u32,
    /// What it asks.
    pub ask: Ask,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A read-only file of so many bytes.
    File {
        /// Its length.
        bytes: u64,
    },
}

/// An open description of `/dev/fuse`.
#[derive(Debug)]
pub struct Device {
    file: File,
}

impl Device {
    /// A new one, without a file system.
    pub fn open() -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let fd = rustix::fs::open("/dev/fuse", flags, rustix::fs::Mode::empty())?;
        Ok(fd.into())
    }

    /// The same description again, for a process that will serve it.
    pub fn share(&self) -> io::Result<OwnedFd> {
        Ok(self.file.try_clone()?.into())
    }

    /// Makes the file system. It answers nothing before [`Ask::Init`] is answered.
    pub fn mount(&self) -> mount::Result<Detached> {
        let context = Context::open("fuse")?;
        context.string("source", "lapstrake")?;
        context.string("fd", self.file.as_raw_fd().to_string())?;
        context.string("rootmode", "40000")?;
        context.string("user_id", "0")?;
        context.string("group_id", "0")?;
        context.flag("allow_other")?;
        context.flag("default_permissions")?;
        context.create(Restrictions {
            read_only: true,
            inert: true,
        })
    }

    /// Waits for the next request; `None` once the file system has ended.
    pub fn receive(&self, buffer: &mut [u8; REQUEST_BYTES]) -> io::Result<Option<Request>> {
        loop {
            return match (&self.file).read(buffer) {
                Ok(length) => parse(&buffer[..length]).map(Some),
                Err(error) => match Errno::from_io_error(&error) {
                    Some(Errno::NODEV) => Ok(None),
                    // A request that was withdrawn before it was read, or a signal.
                    Some(Errno::NOENT | Errno::INTR | Errno::AGAIN) => continue,
                    _ => Err(error),
                },
            };
        }
    }

    /// Asks for every request that was taken and not answered.
    pub fn resend(&self) -> io::Result<()> {
        self.send(0, NOTIFY_RESEND, &[])
    }

    /// Answers [`Ask::Init`].
    pub fn reply_init(&self, unique: u64) -> io::Result<()> {
        let mut body = Body::default();
        body.u32(KERNEL_MAJOR).u32(KERNEL_MINOR).u32(0);
        body.u32(ASYNC_READ | ASYNC_DIO | MAX_PAGES | INIT_EXT);
        body.u16(BACKGROUND_MAX).u16(BACKGROUND_MAX / 4 * 3);
        body.u32(4096).u32(1);
        body.u16(u16::try_from(READ_BYTES_MAX / 4096).expect("256"))
            .u16(0);
        body.u32(HAS_RESEND).zeros(28);
        self.reply(unique, &body.0)
    }

    /// Answers [`Ask::Lookup`].
    pub fn reply_node(&self, unique: u64, node: u64, kind: Kind) -> io::Result<()> {
        let mut body = Body::default();
        body.u64(node)
            .u64(0)
            .u64(FOREVER_SECONDS)
            .u64(FOREVER_SECONDS)
            .u64(0);
        body.attributes(node, kind);
        self.reply(unique, &body.0)
    }

    /// Answers [`Ask::Attributes`].
    pub fn reply_attributes(&self, unique: u64, node: u64, kind: Kind) -> io::Result<()> {
        let mut body = Body::default();
        body.u64(FOREVER_SECONDS).u64(0);
        body.attributes(node, kind);
        self.reply(unique, &body.0)
    }

    /// Answers [`Ask::Open`] and [`Ask::OpenDirectory`]. The file's bytes are not cached here:
    /// EROFS above does that.
    pub fn reply_open(&self, unique: u64) -> io::Result<()> {
        let mut body = Body::default();
        body.u64(0).u32(FOPEN_DIRECT_IO).u32(0);
        self.reply(unique, &body.0)
    }

    /// Answers [`Ask::Statfs`].
    pub fn reply_statfs(&self, unique: u64) -> io::Result<()> {
        let mut body = Body::default();
        body.zeros(40).u32(4096).u32(255).u32(4096).zeros(28);
        self.reply(unique, &body.0)
    }

    /// Answers with bytes: all that a read asked for, or none for a release.
    pub fn reply(&self, unique: u64, body: &[u8]) -> io::Result<()> {
        self.send(unique, 0, body)
    }

    /// Answers with an error.
    pub fn refuse(&self, unique: u64, errno: Errno) -> io::Result<()> {
        self.send(unique, -errno.raw_os_error(), &[])
    }

    /// A request that is gone (its task was killed, the file system ended) takes no reply, and
    /// that is no error.
    fn send(&self, unique: u64, error: i32, body: &[u8]) -> io::Result<()> {
        let length = u32::try_from(16 + body.len()).expect("at most READ_BYTES_MAX");
        let mut header = [0; 16];
        header[..4].copy_from_slice(&length.to_ne_bytes());
        header[4..8].copy_from_slice(&error.to_ne_bytes());
        header[8..].copy_from_slice(&unique.to_ne_bytes());
        let parts = [io::IoSlice::new(&header), io::IoSlice::new(body)];
        match (&self.file).write_vectored(&parts) {
            Ok(written) if written == 16 + body.len() => Ok(()),
            Ok(_) => Err(io::ErrorKind::WriteZero.into()),
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::NOENT | Errno::NODEV) => Ok(()),
                _ => Err(error),
            },
        }
    }
}

impl From<OwnedFd> for Device {
    /// A description that another process opened.
    fn from(fd: OwnedFd) -> Self {
        Self { file: fd.into() }
    }
}

/// A reply's bytes.
#[derive(Default)]
struct Body(Vec<u8>);

impl Body {
    fn u16(&mut self, value: u16) -> &mut Self {
        self.0.extend(value.to_ne_bytes());
        self
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend(value.to_ne_bytes());
        self
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend(value.to_ne_bytes());
        self
    }

    fn zeros(&mut self, count: usize) -> &mut Self {
        self.0.resize(self.0.len() + count, 0);
        self
    }

    fn attributes(&mut self, node: u64, kind: Kind) {
        let (bytes, mode) = match kind {
            Kind::Directory => (0, 0o040_555),
            Kind::File { bytes } => (bytes, 0o100_400),
        };
        self.u64(node).u64(bytes).u64(bytes.div_ceil(512)).zeros(36);
        self.u32(mode).u32(1).zeros(12).u32(4096).u32(0);
    }
}

fn parse(bytes: &[u8]) -> io::Result<Request> {
    let word = |at: usize| field::<4>(bytes, at).map(u32::from_ne_bytes);
    let long = |at: usize| field::<8>(bytes, at).map(u64::from_ne_bytes);
    let body = HEADER_BYTES;
    let ask = match word(4)? {
        26 => Ask::Init {
            resend: word(body + 12)? & INIT_EXT != 0 && word(body + 16)? & HAS_RESEND != 0,
        },
        1 => {
            let name = bytes.get(body..).unwrap_or_default();
            let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
            Ask::Lookup { name: name.into() }
        }
        2 | 42 => Ask::Forget,
        3 => Ask::Attributes,
        14 => Ask::Open,
        15 => Ask::Read {
            offset: long(body + 8)?,
            size: word(body + 16)?,
        },
        17 => Ask::Statfs,
        18 | 29 => Ask::Release,
        27 => Ask::OpenDirectory,
        28 => Ask::ReadDirectory,
        36 => Ask::Interrupt { of: long(body)? },
        38 => Ask::Destroy,
        _ => Ask::Other,
    };
    Ok(Request {
        unique: long(8)?,
        node: long(16)?,
        pid: word(32)?,
        ask,
    })
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> io::Result<[u8; N]> {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .copied()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a FUSE request is too short"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(opcode: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(
            u32::try_from(HEADER_BYTES + body.len())
                .unwrap()
                .to_ne_bytes(),
        );
        bytes.extend(opcode.to_ne_bytes());
        bytes.extend((1_u64 << 63 | 5).to_ne_bytes());
        bytes.extend(2_u64.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(77_u32.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(body);
        bytes
    }

    #[test]
    fn a_read_is_parsed() {
        let mut body = vec![0; 40];
        body[8..16].copy_from_slice(&4096_u64.to_ne_bytes());
        body[16..20].copy_from_slice(&512_u32.to_ne_bytes());
        let got = parse(&request(15, &body)).unwrap();
        let ask = Ask::Read {
            offset: 4096,
            size: 512,
        };
        let unique = 1 << 63 | 5;
        assert_eq!(
            got,
            Request {
                unique,
                node: 2,
                pid: 77,
                ask
            }
        );
    }

    #[test]
    fn a_name_ends_with_its_nul() {
        let got = parse(&request(1, b"data\0")).unwrap();
        assert_eq!(
            got.ask,
            Ask::Lookup {
                name: (*b"data").into()
            }
        );
    }

    #[test]
    fn short_requests_are_errors() {
        let whole = request(15, &[0; 40]);
        for length in 0..HEADER_BYTES {
            assert!(parse(&whole[..length]).is_err(), "{length}");
        }
        assert!(parse(&whole[..HEADER_BYTES + 10]).is_err());
    }

    #[test]
    fn replies_are_as_long_as_the_kernel_expects() {
        let mut body = Body::default();
        body.attributes(2, Kind::File { bytes: 5 });
        assert_eq!(body.0.len(), 88);
    }
}
