//! A terminal of a process: the runtime makes it, and hands its other end over through a socket.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use rustix::termios::Winsize;

use crate::orders::Size;
use crate::place::Place;

/// The socket's name.
const SOCKET: &str = "console.sock";

/// A runtime sends at once what it connected for.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Where the runtime is to hand the terminal over.
#[derive(Debug)]
pub(super) struct ConsoleSocket {
    listener: UnixListener,
    /// For the runtime's command line.
    pub(super) path: PathBuf,
}

impl ConsoleSocket {
    pub(super) fn bind(place: &Place) -> io::Result<Self> {
        let listener = UnixListener::bind(place.here(SOCKET))?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener,
            path: place.elsewhere(SOCKET),
        })
    }

    /// The terminal, if the runtime has come with it.
    pub(super) fn take(&self) -> io::Result<Option<OwnedFd>> {
        let stream = match self.listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(AT_ONCE))?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        // The bytes beside it are the terminal's name.
        let mut name = [0; 4096];
        let mut bytes = [IoSliceMut::new(&mut name)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        rustix::net::recvmsg(&stream, &mut bytes, &mut ancillary, flags)?;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(mut descriptors) = message
                && let Some(terminal) = descriptors.next()
            {
                rustix::io::ioctl_fionbio(&terminal, true)?;
                return Ok(Some(terminal));
            }
        }
        Err(Errno::PROTO.into())
    }
}

impl AsFd for ConsoleSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

pub(super) fn resize(terminal: BorrowedFd<'_>, size: Size) -> io::Result<()> {
    let size = Winsize {
        ws_row: size.height,
        ws_col: size.width,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(rustix::termios::tcsetwinsize(terminal, size)?)
}
