//! From the process's exit to the monitor's own.
//!
//! What the process left in its streams is passed on first, then its exit is recorded, then it is told, then the
//! runtime's state is removed. The monitor leaves when that is done and nobody is left who holds the streams.

use std::time::Instant;

use rustix::process::{Pid, WaitStatus};

use super::{Monitor, Phase};
use crate::exit::Exit;
use crate::process::connection::Kind;
use crate::time::Timestamp;
use crate::wire::{Answer, SOCKET, Stream};

/// What a process that ended may have left in a pipe; the kernel's bound for pipes.
const LEFT: usize = 1 << 20;

impl Monitor {
    /// It has ended: what is left in the pipes is its, then it is recorded and told.
    pub(super) fn end(&mut self, status: WaitStatus) {
        let mut exit = exit_of(status);
        self.stdio.stdin.close();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let mut left = LEFT;
            while let Some(length @ 1..) = self.pass_on(stream, true) {
                left = left.saturating_sub(length);
                if left == 0 {
                    break;
                }
            }
        }
        // The cgroup goes with what the runtime removes.
        exit.oom_times = self.memory.take().map_or(0, |mut memory| memory.look());
        exit.oom_killed = exit.oom_times > 0;
        let recorded = exit.record(&self.orders.exit_record);
        self.complaints.note("record the exit", recorded);
        for connection in &mut self.connections {
            if matches!(connection.kind, Kind::Waiting | Kind::Watching) {
                connection.answer(&Answer::Exited(exit));
            }
        }
        let remover = self.remove();
        self.phase = Phase::Ended {
            exit,
            remover,
            since: Instant::now(),
        };
    }

    /// Lets the runtime remove its state.
    pub(super) fn remove(&mut self) -> Option<Pid> {
        let called = self.runtime.remove();
        called.unwrap_or_else(|error| {
            self.complaints
                .make(&format!("remove the container: {error}"));
            None
        })
    }

    pub(super) fn removed(&mut self, status: WaitStatus) {
        if status.exit_status() != Some(0) {
            self.complaints
                .make(&format!("remove the container: {status:?}"));
        }
    }

    /// Does what is due when things have come together.
    pub(super) fn settle(&mut self) {
        match &mut self.phase {
            Phase::Failed {
                message,
                remover: None,
            } => {
                let message = std::mem::take(message);
                self.answer_starting(&Answer::RuntimeFailed { message });
                self.phase = Phase::Over;
            }
            Phase::Ended { remover, .. } if self.stdio.have_ended() => {
                let removed = remover.is_none();
                for connection in &mut self.connections {
                    if matches!(connection.kind, Kind::Attached(_)) {
                        connection.end();
                    }
                }
                if removed {
                    self.hear_the_last();
                    self.phase = Phase::Over;
                }
            }
            _ => {}
        }
        if matches!(self.phase, Phase::Over) && self.listener.is_some() {
            self.leave();
        }
    }

    /// Nobody is served any more, but for what was promised.
    fn leave(&mut self) {
        if let Some(mut log) = self.log.take() {
            self.complaints.note("finish the log", log.finish());
        }
        match std::fs::remove_file(self.place.here(SOCKET)) {
            // Whoever was told of the exit may have removed it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            removed => self.complaints.note("remove the socket", removed),
        }
        self.listener = None;
        for connection in &mut self.connections {
            connection.end();
        }
    }
}

fn exit_of(status: WaitStatus) -> Exit {
    let now = Timestamp::now();
    let byte = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
    match (status.exit_status(), status.terminating_signal()) {
        (_, Some(signal)) => Exit::by_signal(byte(signal), now),
        (Some(code), None) => Exit::with_code(byte(code), now),
        // A child that was only stopped is not reported.
        (None, None) => Exit::with_code(u8::MAX, now),
    }
}
