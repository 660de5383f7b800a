//! What clients ask, and what they are answered.
//!
//! Whoever asks is answered once, but for an attachment, which has an acknowledgement and then output, and waits, which
//! have their answer when the process has ended. What was asked before the end is answered before the monitor goes.

use std::os::fd::AsFd as _;
use std::os::unix::net::UnixListener;

use rustix::event::PollFlags;

use super::{Monitor, Phase};
use crate::orders::{Size, Stdin};
use crate::process::connection::{Connection, Heard, Kind};
use crate::process::console;
use crate::process::oom::Counter;
use crate::wire::{Answer, Request};

impl Monitor {
    pub(super) fn accept(&mut self) {
        while let Some(Ok((stream, _))) = self.listener.as_ref().map(UnixListener::accept) {
            match Connection::new(stream) {
                Ok(connection) => self.connections.push(connection),
                Err(error) => self.complaints.make(&format!("serve a client: {error}")),
            }
        }
    }

    pub(super) fn serve(&mut self, index: usize, flags: PollFlags) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        if flags.contains(PollFlags::OUT) {
            connection.flush();
        }
        if flags.intersects(PollFlags::HUP | PollFlags::ERR) {
            connection.hang_up();
        }
        if connection.is_gone() || !flags.intersects(PollFlags::IN | PollFlags::HUP) {
            return;
        }
        if connection.listens(&self.stdio.stdin) != Some(true) {
            return;
        }
        match connection.hear(&mut self.stdio.stdin, &mut self.buffer) {
            Heard::Nothing => {}
            Heard::Nonsense => connection.answer_and_end(&Answer::Refused {
                reason: "that is no request to a monitor".to_owned(),
            }),
            // Docker's rule: either the process's input ends with the client's, or the client is detached.
            Heard::EndOfInput => {
                let once = self.orders.stdin == Stdin::Once && self.orders.terminal.is_none();
                if once {
                    self.stdio.stdin.close_when_written();
                } else if self.orders.stdin != Stdin::Closed {
                    connection.end();
                }
            }
            Heard::Request(request) => self.asked(index, request),
        }
    }

    fn asked(&mut self, index: usize, request: Request) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        let answer = match request {
            Request::Attach(streams) => return connection.attach(streams),
            Request::Wait => {
                connection.kind = Kind::Waiting;
                return self.tell_exit(index);
            }
            Request::Watch => {
                connection.kind = Kind::Watching;
                connection.answer(&Answer::Done);
                let times = self.memory.as_ref().map_or(0, Counter::times);
                if times > 0 {
                    connection.answer(&Answer::OutOfMemory { times });
                }
                return self.tell_exit(index);
            }
            Request::Start if matches!(self.phase, Phase::NotStarted) => {
                connection.kind = Kind::Starting;
                return self.start();
            }
            Request::Start => refused("it was started before"),
            Request::Resize(size) => self.resize(size),
            Request::CloseStdin => {
                self.stdio.stdin.close_when_written();
                Answer::Done
            }
            Request::Signal(number) => self.signal(number),
            Request::State => Answer::State(self.phase.state()),
            Request::Dismiss if matches!(self.phase, Phase::NotStarted) => {
                self.phase = Phase::Over;
                Answer::Done
            }
            Request::Dismiss => refused("it was started"),
        };
        if let Some(connection) = self.connections.get_mut(index) {
            connection.answer_and_end(&answer);
        }
    }

    /// Tells how it ended, if it has.
    fn tell_exit(&mut self, index: usize) {
        if let Phase::Ended { exit, .. } = &self.phase
            && let Some(connection) = self.connections.get_mut(index)
        {
            connection.answer(&Answer::Exited(*exit));
        }
    }

    fn resize(&mut self, size: Size) -> Answer {
        let Some(terminal) = &mut self.orders.terminal else {
            // As with Docker: clients resize what they are attached to, whatever it is.
            return Answer::Done;
        };
        // For when the terminal comes.
        terminal.size = Some(size);
        match &self.stdio.stdout.source {
            Some(terminal) => match console::resize(terminal.as_fd(), size) {
                Ok(()) => Answer::Done,
                Err(error) => refused(&format!("its terminal can't be resized: {error}")),
            },
            None => Answer::Done,
        }
    }

    fn signal(&self, number: i32) -> Answer {
        let Some(pid) = self.phase.target(number) else {
            return refused("it does not run");
        };
        // Nobody else reaps it, so the number is still its.
        match lapstrake_sys::process::signal(pid, number) {
            Ok(()) => Answer::Done,
            Err(error) => refused(&format!("signal {number} can't be sent: {error}")),
        }
    }

    /// Whoever asked before the end is answered.
    pub(super) fn hear_the_last(&mut self) {
        self.accept();
        for index in 0..self.connections.len() {
            self.serve(index, PollFlags::IN);
        }
    }

    /// Tells those who wait for the start.
    pub(super) fn answer_starting(&mut self, answer: &Answer) {
        for connection in &mut self.connections {
            if matches!(connection.kind, Kind::Starting) {
                connection.answer_and_end(answer);
            }
        }
    }
}

fn refused(reason: &str) -> Answer {
    Answer::Refused {
        reason: reason.to_owned(),
    }
}
