//! The process's streams, from outside.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::process::Stdio as Theirs;
use std::time::Instant;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::orders::{Orders, Stdin};
use crate::wire::Stream;

/// All of them.
#[derive(Debug)]
pub(super) struct Stdio {
    pub(super) stdin: Input,
    pub(super) stdout: Output,
    pub(super) stderr: Output,
    /// The other ends, until the process has them.
    theirs: Option<[Theirs; 3]>,
}

/// Where a process reads from.
#[derive(Debug)]
pub(super) struct Input {
    /// Written without waiting.
    sink: Option<OwnedFd>,
    /// The sink is still to come: a terminal.
    awaited: bool,
    /// What the process has not taken yet.
    pending: Vec<u8>,
    /// To be closed when nothing is pending.
    closing: bool,
}

/// Where a process writes to. Read without waiting.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) stream: Stream,
    pub(super) source: Option<OwnedFd>,
    /// Nothing is to be expected before: nobody has the terminal open.
    pub(super) rests_until: Option<Instant>,
}

/// What a read gave.
pub(super) enum Read {
    Bytes(usize),
    /// Nothing now.
    Nothing,
    /// Nobody has the terminal open; somebody may open it again.
    HungUp,
    /// Nothing ever.
    End,
}

impl Stdio {
    /// Three pipes or, for a terminal, nothing yet.
    pub(super) fn new(orders: &Orders) -> Result<Self, Errno> {
        let terminal = orders.terminal.is_some();
        let open = orders.stdin != Stdin::Closed;
        let (mut sink, mut sources) = (None, [None, None]);
        let mut theirs = [Theirs::null(), Theirs::null(), Theirs::null()];
        if !terminal {
            let [their_stdin, their_outputs @ ..] = &mut theirs;
            if open {
                let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
                rustix::io::ioctl_fionbio(&write, true)?;
                (*their_stdin, sink) = (Theirs::from(read), Some(write));
            }
            for (theirs, ours) in their_outputs.iter_mut().zip(&mut sources) {
                let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
                rustix::io::ioctl_fionbio(&read, true)?;
                (*theirs, *ours) = (Theirs::from(write), Some(read));
            }
        }
        let [stdout, stderr] = sources;
        Ok(Self {
            stdin: Input {
                sink,
                awaited: terminal && open,
                pending: Vec::new(),
                closing: false,
            },
            stdout: Output {
                stream: Stream::Stdout,
                source: stdout,
                rests_until: None,
            },
            stderr: Output {
                stream: Stream::Stderr,
                source: stderr,
                rests_until: None,
            },
            theirs: Some(theirs),
        })
    }

    /// The ends for the process; without any after the first time.
    pub(super) fn theirs(&mut self) -> [Theirs; 3] {
        let nothing = || [Theirs::null(), Theirs::null(), Theirs::null()];
        self.theirs.take().unwrap_or_else(nothing)
    }

    /// The terminal has come.
    pub(super) fn set_terminal(&mut self, terminal: OwnedFd) -> Result<(), Errno> {
        if std::mem::take(&mut self.stdin.awaited) {
            self.stdin.sink = Some(rustix::io::fcntl_dupfd_cloexec(&terminal, 3)?);
        }
        self.stdout.source = Some(terminal);
        Ok(())
    }

    pub(super) fn have_ended(&self) -> bool {
        self.stdout.source.is_none() && self.stderr.source.is_none()
    }
}

impl Input {
    /// Whether clients may send more. What is sent to a stream that is closed is thrown away.
    pub(super) fn takes(&self) -> bool {
        self.pending.is_empty() && !self.awaited
    }

    /// What must be waited for to write what is pending.
    pub(super) fn waiting(&self) -> Option<BorrowedFd<'_>> {
        self.sink
            .as_ref()
            .filter(|_| !self.pending.is_empty())
            .map(|sink| sink.as_fd())
    }

    pub(super) fn give(&mut self, bytes: &[u8]) {
        if self.sink.is_some() && !self.closing {
            self.pending.extend_from_slice(bytes);
            self.write();
        }
    }

    /// Writes what the process takes.
    pub(super) fn write(&mut self) {
        while let Some(sink) = self.sink.as_ref().filter(|_| !self.pending.is_empty()) {
            match rustix::io::write(sink, &self.pending) {
                Ok(written) => drop(self.pending.drain(..written)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // Nobody has the terminal open now.
                Err(Errno::IO) => self.pending.clear(),
                // Nobody reads it any more.
                Err(_) => self.close(),
            }
        }
        self.pending = Vec::new();
        if self.closing {
            self.close();
        }
    }

    /// Closes it behind what is pending.
    pub(super) fn close_when_written(&mut self) {
        self.closing = true;
        self.write();
    }

    /// Closes it now.
    pub(super) fn close(&mut self) {
        self.sink = None;
        self.awaited = false;
        self.pending = Vec::new();
    }
}

impl Output {
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Read {
        let Some(source) = &self.source else {
            return Read::End;
        };
        match rustix::io::read(source, buffer) {
            Ok(length @ 1..) => Read::Bytes(length),
            Err(Errno::AGAIN | Errno::INTR) => Read::Nothing,
            Err(Errno::IO) => Read::HungUp,
            Ok(0) | Err(_) => {
                self.source = None;
                Read::End
            }
        }
    }

    /// What is in it now, up to a bound, as text.
    pub(super) fn text(&mut self) -> String {
        let mut text = vec![0; 16 << 10];
        match self.read(&mut text) {
            Read::Bytes(length) => text.truncate(length),
            Read::Nothing | Read::HungUp | Read::End => text.clear(),
        }
        String::from_utf8_lossy(&text).trim().to_owned()
    }
}
