//! Output, on its way from the process to the log and to clients.
//!
//! The log has it first. A client that is behind holds up the stream for all, as with Docker.

use std::time::{Duration, Instant};

use super::Monitor;
use crate::process::connection::Connection;
use crate::process::stdio::{Output, Read};
use crate::wire::Stream;

/// Between two looks whether somebody has opened a terminal again that was closed.
const REST: Duration = Duration::from_millis(100);

impl Monitor {
    /// Whether output is waited for.
    pub(super) fn takes(&self, output: &Output, now: Instant) -> bool {
        let held_up = |connection: &Connection| connection.holds_up(output.stream);
        self.phase.has_output()
            && output.rests_until.is_none_or(|until| until <= now)
            && !self.connections.iter().any(held_up)
    }

    /// Passes on what can be read of a stream at once; how much that was, `None` at its end. A terminal has an
    /// end only when the process has ended: it may close it and open it again.
    pub(super) fn pass_on(&mut self, stream: Stream, ended: bool) -> Option<usize> {
        let output = match stream {
            Stream::Stdin => return None,
            Stream::Stdout => &mut self.stdio.stdout,
            Stream::Stderr => &mut self.stdio.stderr,
        };
        output.source.as_ref()?;
        match output.read(&mut self.buffer) {
            Read::Bytes(length) => {
                let bytes = self.buffer.get(..length).unwrap_or_default();
                if let Some(log) = &mut self.log {
                    self.complaints.note("log", log.feed(stream, bytes));
                }
                for connection in &mut self.connections {
                    connection.output(stream, bytes);
                }
                Some(length)
            }
            Read::Nothing => Some(0),
            Read::HungUp if !ended => {
                output.rests_until = Some(Instant::now() + REST);
                Some(0)
            }
            Read::HungUp | Read::End => {
                self.close(stream);
                None
            }
        }
    }

    /// A stream has ended.
    pub(super) fn close(&mut self, stream: Stream) {
        match stream {
            Stream::Stdin => return,
            Stream::Stdout => self.stdio.stdout.source = None,
            Stream::Stderr => self.stdio.stderr.source = None,
        }
        if let Some(log) = &mut self.log {
            self.complaints.note("log", log.end(stream));
        }
    }
}
