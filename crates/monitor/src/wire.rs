//! What daemon and monitor say to each other over the monitor's socket.
//!
//! A connection carries one request, a line of JSON, and gets one answer, a line of JSON. Then it is closed,
//! with three exceptions:
//! - after the answer to `attach` it is a stream of frames: towards the client Docker's (8 bytes of header: stream,
//!   three zeros, big-endian length), from the client the same with stream 0. A frame of length 0 from
//!   the client ends its input. The stream ends when the process has ended and all output was sent.
//! - `wait` is answered when the process has ended, and closed when the runtime's state is removed
//!   too and the monitor goes.
//! - `watch` is acknowledged, and then as `wait`; before the exit there may be answers of other kinds.
//!
//! Daemon and monitor may be of different versions, and either may be the older one. So requests are only added, never changed;
//! a monitor refuses what it does not know, and its daemon does without; and a monitor sends nothing that was not asked for.

use serde::{Deserialize, Serialize};

use crate::exit::Exit;
use crate::orders::Size;

/// The socket's name in the monitor's directory.
pub const SOCKET: &str = "monitor.sock";

/// A request is not longer than this.
pub(crate) const REQUEST_LIMIT: usize = 1024;

/// An answer is not longer than this; a runtime's message is cut.
pub(crate) const ANSWER_LIMIT: usize = 64 << 10;

/// What a client can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// To be connected to the process's streams. Answered with `Done` before anything else is sent.
    Attach(Attach),
    /// To start the process. Answered with `Started`, or `RuntimeFailed`: then the monitor is gone.
    Start,
    /// To give the terminal another size.
    Resize(Size),
    /// To close the process's standard input once all that was sent before is written.
    CloseStdin,
    /// To send the process a signal. It can't hit another process that got its number. While the runtime is starting
    /// the process, the signal to kill goes to the runtime: then the start fails.
    Signal(i32),
    /// To be told how far things are.
    State,
    /// To be told how the process ended.
    Wait,
    /// To be told too, until then, each time the kernel killed a process of the container for want of memory.
    /// Answered with `Done`, then `OutOfMemory` if there was one already.
    Watch,
    /// To give up a process that was not started.
    Dismiss,
}

/// Which streams a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// To feed standard input. Nothing comes of it if that is closed.
    pub stdin: bool,
    /// To get standard output, or what a terminal shows.
    pub stdout: bool,
    /// To get standard error.
    pub stderr: bool,
}

/// What a monitor answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is done.
    Done,
    /// The process runs.
    Started {
        /// Its process id in the monitor's PID namespace.
        pid: u32,
    },
    /// How far things are.
    State(State),
    /// The process has ended, and that is recorded.
    Exited(Exit),
    /// The kernel killed a process of the container for want of memory.
    OutOfMemory {
        /// How many times it did since the start, this one included.
        times: u64,
    },
    /// The runtime did not start the process.
    RuntimeFailed {
        /// Its words.
        message: String,
    },
    /// That can't be done now.
    Refused {
        /// Why not.
        reason: String,
    },
}

/// How far things are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The process was not ordered to start.
    NotStarted,
    /// The runtime is starting it.
    Starting,
    /// It runs.
    Running {
        /// Its process id in the monitor's PID namespace.
        pid: u32,
    },
    /// It has ended; the monitor is cleaning up.
    Exited(Exit),
}

/// The streams of a process, as frames name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// Standard input.
    Stdin,
    /// Standard output, or a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The length of a frame's header.
pub const HEADER: usize = 8;

/// The header of a frame with so many bytes.
#[must_use]
pub fn header(stream: Stream, length: u32) -> [u8; HEADER] {
    let number = match stream {
        Stream::Stdin => 0,
        Stream::Stdout => 1,
        Stream::Stderr => 2,
    };
    let [a, b, c, d] = length.to_be_bytes();
    [number, 0, 0, 0, a, b, c, d]
}

/// What a header says; `None` if it is none.
#[must_use]
pub fn parse_header(header: [u8; HEADER]) -> Option<(Stream, u32)> {
    let [number, 0, 0, 0, a, b, c, d] = header else {
        return None;
    };
    let stream = match number {
        0 => Stream::Stdin,
        1 => Stream::Stdout,
        2 => Stream::Stderr,
        _ => return None,
    };
    Some((stream, u32::from_be_bytes([a, b, c, d])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_those_of_docker() {
        let bytes = header(Stream::Stderr, 0x0102);
        assert_eq!(bytes, [2, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(parse_header(bytes), Some((Stream::Stderr, 0x0102)));
        assert_eq!(parse_header([3, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(parse_header([1, 0, 1, 0, 0, 0, 0, 0]), None);
    }
}
