//! The loop, and what it does about each thing that happens.
//!
//! It waits in one place, and for nothing longer than until the next thing is due. One thing is done after the
//! other, so nothing in a monitor needs a lock.

mod end;
mod phase;
mod requests;
mod start;
mod streams;

use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, WaitStatus};

use crate::logs::Writer;
use crate::orders::Orders;
use crate::place::Place;
use crate::process::Guard;
use crate::process::children::Children;
use crate::process::complaints::Complaints;
use crate::process::connection::{Connection, Kind};
use crate::process::oom::Counter;
use crate::process::runtime::Runtime;
use crate::process::stdio::Stdio;
use crate::wire::{Answer, Stream};

pub(super) use phase::Phase;
use phase::Waits;

/// What is read at once: a piece of a log.
pub(super) const CHUNK: usize = 16 << 10;

/// Before the first call of a guard, and the next one after a failure.
const GUARD: Duration = Duration::from_millis(500);

pub(super) struct Monitor {
    pub(super) orders: Orders,
    pub(super) place: Place,
    pub(super) listener: Option<UnixListener>,
    pub(super) children: Children,
    pub(super) stdio: Stdio,
    pub(super) log: Option<Writer>,
    pub(super) runtime: Runtime,
    pub(super) complaints: Complaints,
    pub(super) guard: Option<Guard>,
    /// Of the container's cgroup, while its process lives.
    pub(super) memory: Option<Counter>,
    pub(super) connections: Vec<Connection>,
    pub(super) phase: Phase,
    pub(super) buffer: Box<[u8]>,
}

/// What may have happened.
#[derive(Debug, Clone, Copy)]
enum Source {
    Children,
    Listener,
    Console,
    Stdin,
    Memory,
    Output(Stream),
    Connection(usize),
}

impl Monitor {
    pub(super) fn live(mut self) {
        while !matches!(self.phase, Phase::Over) || !self.connections.is_empty() {
            for (source, flags) in self.wait() {
                self.handle(source, flags);
            }
            self.look_at_clock();
            self.settle();
            self.connections.retain(|connection| !connection.is_gone());
        }
    }

    /// Waits until something happens, and says what.
    fn wait(&mut self) -> Vec<(Source, PollFlags)> {
        let mut sources = vec![Source::Children];
        let mut waiting = vec![PollFd::new(&self.children, PollFlags::IN)];
        let mut add = |source, descriptor| {
            sources.push(source);
            waiting.push(descriptor);
        };
        if let Some(listener) = &self.listener {
            add(Source::Listener, PollFd::new(listener, PollFlags::IN));
        }
        if let Phase::Starting {
            console: Some(console),
            ..
        } = &self.phase
        {
            add(Source::Console, PollFd::new(console, PollFlags::IN));
        }
        if let Some(stdin) = self.stdio.stdin.waiting() {
            add(
                Source::Stdin,
                PollFd::from_borrowed_fd(stdin, PollFlags::OUT),
            );
        }
        if let Some((bell, flags)) = self.memory.as_ref().and_then(Counter::bell) {
            add(Source::Memory, PollFd::from_borrowed_fd(bell, flags));
        }
        let now = Instant::now();
        for output in [&self.stdio.stdout, &self.stdio.stderr] {
            if let Some(source) = &output.source
                && self.takes(output, now)
            {
                add(
                    Source::Output(output.stream),
                    PollFd::new(source, PollFlags::IN),
                );
            }
        }
        for (index, connection) in self.connections.iter().enumerate() {
            if let Some(reads) = connection.listens(&self.stdio.stdin) {
                let mut flags = PollFlags::empty();
                flags.set(PollFlags::IN, reads);
                flags.set(PollFlags::OUT, connection.has_output());
                add(Source::Connection(index), PollFd::new(connection, flags));
            }
        }
        let timeout = self.timeout(now);
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match rustix::event::poll(&mut waiting, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => {
                self.complaints.make(&format!("wait: {errno}"));
                // Whatever it is, it must not keep a processor busy.
                std::thread::sleep(Duration::from_millis(100));
                return vec![(Source::Children, PollFlags::IN)];
            }
        }
        let flags = waiting.iter().map(PollFd::revents);
        let happened = sources.into_iter().zip(flags);
        happened.filter(|(_, flags)| !flags.is_empty()).collect()
    }

    /// How long nothing need be done if nothing happens.
    fn timeout(&self, now: Instant) -> Option<Duration> {
        let waits = Waits {
            guard: self.guard.is_some(),
            streams: !self.stdio.have_ended(),
        };
        let due = self.phase.due(now, waits);
        let rests = self.stdio.stdout.rests_until.filter(|until| *until > now);
        let memory = self.memory.as_ref().and_then(Counter::due);
        let first = [due, rests, memory].into_iter().flatten().min();
        first.map(|first| first.saturating_duration_since(now))
    }

    fn look_at_clock(&mut self) {
        let now = Instant::now();
        if let Some(memory) = &mut self.memory
            && let Some(times) = memory.look_if_due(now)
        {
            for connection in &mut self.connections {
                if matches!(connection.kind, Kind::Watching) {
                    connection.answer(&Answer::OutOfMemory { times });
                }
            }
        }
        match &mut self.phase {
            Phase::Queueing { .. } => self.start(),
            Phase::Running { guard_at, .. } if now >= *guard_at => {
                if let Some(guard) = &mut self.guard {
                    let wait = guard().unwrap_or_else(|error| {
                        self.complaints.make(&format!("guard: {error}"));
                        GUARD
                    });
                    *guard_at = Instant::now() + wait;
                }
            }
            phase if phase.is_deaf(now) => {
                self.close(Stream::Stdout);
                self.close(Stream::Stderr);
            }
            _ => {}
        }
    }

    fn handle(&mut self, source: Source, flags: PollFlags) {
        match source {
            Source::Children => {
                for (pid, status) in self.children.reap() {
                    self.reaped(pid, status);
                }
            }
            Source::Listener => self.accept(),
            Source::Console => self.take_console(),
            Source::Stdin => self.stdio.stdin.write(),
            Source::Memory => {
                if let Some(memory) = &mut self.memory {
                    memory.rung(Instant::now());
                }
            }
            Source::Output(stream) => {
                self.pass_on(stream, self.phase.has_ended());
            }
            Source::Connection(index) => self.serve(index, flags),
        }
    }

    /// A child has ended: who was it?
    fn reaped(&mut self, child: Pid, status: WaitStatus) {
        match &mut self.phase {
            Phase::Starting { runtime, .. } if *runtime == child => self.runtime_ended(status),
            Phase::Starting { ended, .. } => ended.push((child, status)),
            Phase::Running { pid, .. } if *pid == child => self.end(status),
            Phase::Failed { remover, .. } if *remover == Some(child) => {
                *remover = None;
                self.removed(status);
            }
            Phase::Ended { remover, .. } if *remover == Some(child) => {
                *remover = None;
                self.removed(status);
            }
            _ => {}
        }
    }
}
