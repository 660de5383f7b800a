//! One client's connection: a request, and what follows from it.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use crate::process::stdio::Input;
use crate::wire::{Answer, Attach, HEADER, REQUEST_LIMIT, Request, Stream, header, parse_header};

/// A client that has this much of output to take, behind what the kernel holds for it (about 200 KiB),
/// slows the process.
const LIMIT: usize = 64 << 10;

/// One client.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    pub(super) kind: Kind,
    /// What the client has not taken yet.
    out: Vec<u8>,
    /// Nobody is at the other end any more; what it sent may still be read.
    hung_up: bool,
    /// Nothing more is to come for it: closed when all is out.
    ending: bool,
    /// To be forgotten.
    gone: bool,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// Its request is being read.
    Asking(Vec<u8>),
    /// Waits for the start.
    Starting,
    /// Waits for the exit.
    Waiting,
    /// The same, and hears of what happens before.
    Watching,
    /// Gets output and sends input.
    Attached(Attached),
    /// Has its answer.
    Answered,
}

#[derive(Debug)]
pub(super) struct Attached {
    streams: Attach,
    /// The header of a frame that is being read.
    header: Vec<u8>,
    /// What is left of a frame.
    left: u32,
    input_ended: bool,
}

/// What comes of reading from a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    Nothing,
    Request(Request),
    /// A request that is none.
    Nonsense,
    /// It sends no more input.
    EndOfInput,
}

impl Connection {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            kind: Kind::Asking(Vec::new()),
            out: Vec::new(),
            hung_up: false,
            ending: false,
            gone: false,
        })
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Whether the process has to wait for this client to take output.
    pub(super) fn holds_up(&self, stream: Stream) -> bool {
        self.wants(stream) && self.out.len() >= LIMIT
    }

    fn wants(&self, stream: Stream) -> bool {
        match &self.kind {
            Kind::Attached(attached) if !self.ending && !self.hung_up && !self.gone => match stream
            {
                Stream::Stdin => attached.streams.stdin,
                Stream::Stdout => attached.streams.stdout,
                Stream::Stderr => attached.streams.stderr,
            },
            _ => false,
        }
    }

    /// Whether something is to be read, while stdin takes more or not; `None` if not even an end would be of interest.
    pub(super) fn listens(&self, stdin: &Input) -> Option<bool> {
        let reads = match &self.kind {
            _ if self.ending => false,
            Kind::Asking(_) => true,
            Kind::Attached(attached) => !attached.input_ended && stdin.takes(),
            Kind::Starting | Kind::Waiting | Kind::Watching | Kind::Answered => false,
        };
        // That it hung up would be told again and again.
        (reads || !self.hung_up).then_some(reads)
    }

    pub(super) fn has_output(&self) -> bool {
        !self.out.is_empty()
    }

    /// The other end is closed. What it sent is read to its end first.
    pub(super) fn hang_up(&mut self) {
        self.hung_up = true;
        self.out = Vec::new();
        let reads = matches!(&self.kind, Kind::Attached(attached) if !attached.input_ended);
        if self.ending || !reads {
            self.gone = true;
        }
    }

    /// Reads what the client sent, once.
    pub(super) fn hear(&mut self, stdin: &mut Input, buffer: &mut [u8]) -> Heard {
        let length = match self.stream.read(buffer) {
            Ok(length) => length,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                return Heard::Nothing;
            }
            Err(_) => 0,
        };
        let bytes = buffer.get(..length).unwrap_or_default();
        match &mut self.kind {
            Kind::Asking(_) if length == 0 => {
                self.gone = true;
                Heard::Nothing
            }
            Kind::Asking(line) => {
                line.extend_from_slice(bytes);
                hear_request(line)
            }
            Kind::Attached(attached) => {
                let feeds = attached.streams.stdin;
                let ended = if length == 0 {
                    true
                } else {
                    match attached.hear_input(bytes, stdin) {
                        Ok(ended) => ended,
                        Err(NotAFrame) => {
                            self.gone = true;
                            true
                        }
                    }
                };
                if !ended || attached.input_ended {
                    return Heard::Nothing;
                }
                attached.input_ended = true;
                if self.hung_up {
                    self.gone = true;
                }
                if feeds {
                    Heard::EndOfInput
                } else {
                    Heard::Nothing
                }
            }
            Kind::Starting | Kind::Waiting | Kind::Watching | Kind::Answered => Heard::Nothing,
        }
    }

    /// From now on it gets output.
    pub(super) fn attach(&mut self, streams: Attach) {
        self.answer(&Answer::Done);
        self.kind = Kind::Attached(Attached {
            streams,
            header: Vec::new(),
            left: 0,
            input_ended: false,
        });
    }

    /// Sends an answer, and nothing after it.
    pub(super) fn answer_and_end(&mut self, answer: &Answer) {
        self.answer(answer);
        self.kind = Kind::Answered;
        self.end();
    }

    pub(super) fn answer(&mut self, answer: &Answer) {
        let mut line = serde_json::to_vec(answer).expect("an answer has only numbers and text");
        line.push(b'\n');
        self.send(&line, &[]);
    }

    /// Sends output, if the client wants it.
    pub(super) fn output(&mut self, stream: Stream, bytes: &[u8]) {
        if self.wants(stream) {
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            self.send(&header(stream, length), bytes);
        }
    }

    /// Nothing more is to come; closes when all is out.
    pub(super) fn end(&mut self) {
        if !self.ending {
            self.ending = true;
            self.flush();
        }
    }

    fn send(&mut self, first: &[u8], second: &[u8]) {
        if self.hung_up || self.gone {
            return;
        }
        let mut written = 0;
        if self.out.is_empty() {
            let both = [IoSlice::new(first), IoSlice::new(second)];
            match self.stream.write_vectored(&both) {
                Ok(length) => written = length,
                Err(error) => self.note(&error),
            }
        }
        if self.hung_up {
            return;
        }
        let rest = first.get(written..).unwrap_or_default();
        self.out.extend_from_slice(rest);
        let rest = second.get(written.saturating_sub(first.len())..);
        self.out.extend_from_slice(rest.unwrap_or_default());
    }

    /// Sends what the client takes.
    pub(super) fn flush(&mut self) {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(length) => drop(self.out.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => self.note(&error),
            }
        }
        self.out = Vec::new();
        if self.ending && !self.gone {
            self.close();
        }
    }

    fn note(&mut self, error: &io::Error) {
        let later = [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted];
        if !later.contains(&error.kind()) {
            self.hang_up();
        }
    }

    /// Input that nobody read would make the client's next read fail, instead of end.
    fn close(&mut self) {
        // A connection that is closed already is as good.
        drop(self.stream.shutdown(Shutdown::Both));
        let mut unread = [0; 1024];
        while let Ok(1..) = self.stream.read(&mut unread) {}
        self.gone = true;
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn hear_request(line: &[u8]) -> Heard {
    match line.strip_suffix(b"\n") {
        Some(text) => serde_json::from_slice(text).map_or(Heard::Nonsense, Heard::Request),
        None if line.len() > REQUEST_LIMIT || line.contains(&b'\n') => Heard::Nonsense,
        None => Heard::Nothing,
    }
}

struct NotAFrame;

impl Attached {
    /// Takes bytes apart into frames, and says whether the client ended its input.
    fn hear_input(&mut self, mut bytes: &[u8], stdin: &mut Input) -> Result<bool, NotAFrame> {
        let feeds = self.streams.stdin && !self.input_ended;
        while !bytes.is_empty() {
            if self.left == 0 {
                let (start, rest) = bytes.split_at(bytes.len().min(HEADER - self.header.len()));
                bytes = rest;
                self.header.extend_from_slice(start);
                let Ok(whole) = <[u8; HEADER]>::try_from(&self.header[..]) else {
                    break;
                };
                self.header.clear();
                match parse_header(whole) {
                    Some((Stream::Stdin, 0)) => return Ok(true),
                    Some((Stream::Stdin, length)) => self.left = length,
                    _ => return Err(NotAFrame),
                }
            } else {
                let left = usize::try_from(self.left).unwrap_or(usize::MAX);
                let (taken, rest) = bytes.split_at(bytes.len().min(left));
                bytes = rest;
                self.left -= u32::try_from(taken.len()).unwrap_or(self.left);
                if feeds {
                    stdin.give(taken);
                }
            }
        }
        Ok(false)
    }
}
