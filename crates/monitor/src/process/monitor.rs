//! The loop, and what it does about each thing that happens.

use std::os::fd::AsFd as _;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal, WaitStatus};

use crate::exit::Exit;
use crate::logs::Writer;
use crate::orders::{Orders, Stdin};
use crate::place::Place;
use crate::process::children::{self, Children};
use crate::process::complaints::Complaints;
use crate::process::connection::{Connection, Heard, Kind};
use crate::process::console::{self, ConsoleSocket};
use crate::process::runtime::{self, Runtime};
use crate::process::stdio::{Read, Stdio};
use crate::process::{Guard, oom};
use crate::time::Timestamp;
use crate::wire::{Answer, Request, SOCKET, State, Stream};

/// What is read at once: a piece of a log.
pub(super) const CHUNK: usize = 16 << 10;

/// What a process that ended may have left in a pipe; the kernel's bound for pipes.
const LEFT: usize = 1 << 20;

/// How long others, to whom a process left its streams, are listened to when it has ended. As Docker.
const GRACE: Duration = Duration::from_secs(2);

/// How long an earlier container of the same id may take to go: its monitor has told of its exit.
const QUEUE: Duration = Duration::from_secs(5);

/// Between two looks whether it has gone.
const LOOK: Duration = Duration::from_millis(2);

/// Between two looks whether somebody has opened a terminal again that was closed.
const REST: Duration = Duration::from_millis(100);

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
    pub(super) connections: Vec<Connection>,
    pub(super) phase: Phase,
    pub(super) buffer: Box<[u8]>,
}

pub(super) enum Phase {
    NotStarted,
    /// The runtime is still removing an earlier container of the same id.
    Queueing {
        since: Instant,
    },
    /// The runtime was called.
    Starting {
        runtime: Pid,
        console: Option<ConsoleSocket>,
        /// Others that ended meanwhile. The process may be among them.
        ended: Vec<(Pid, WaitStatus)>,
    },
    Running {
        pid: Pid,
        /// When the guard is to be called.
        guard_at: Instant,
    },
    /// It did not start, and what the runtime left is being removed.
    Failed {
        message: String,
        remover: Option<Pid>,
    },
    /// It has ended, and the runtime removes its state.
    Ended {
        exit: Exit,
        remover: Option<Pid>,
        since: Instant,
    },
    /// Only clients are left.
    Over,
}

/// What may have happened.
#[derive(Debug, Clone, Copy)]
enum Source {
    Children,
    Listener,
    Console,
    Stdin,
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
        if matches!(self.phase, Phase::Running { .. } | Phase::Ended { .. }) {
            let now = Instant::now();
            for output in [&self.stdio.stdout, &self.stdio.stderr] {
                let held_up = |connection: &Connection| connection.holds_up(output.stream);
                if let Some(source) = &output.source
                    && output.rests_until.is_none_or(|until| until <= now)
                    && !self.connections.iter().any(held_up)
                {
                    add(
                        Source::Output(output.stream),
                        PollFd::new(source, PollFlags::IN),
                    );
                }
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
        let timeout = self
            .timeout()
            .and_then(|timeout| Timespec::try_from(timeout).ok());
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
    fn timeout(&self) -> Option<Duration> {
        let now = Instant::now();
        let due = match &self.phase {
            Phase::Queueing { .. } => Some(now + LOOK),
            Phase::Running { guard_at, .. } => self.guard.is_some().then_some(*guard_at),
            Phase::Ended { since, .. } => (!self.stdio.have_ended()).then_some(*since + GRACE),
            _ => None,
        };
        let rests = self.stdio.stdout.rests_until.filter(|until| *until > now);
        let first = due.into_iter().chain(rests).min();
        first.map(|first| first.saturating_duration_since(now))
    }

    fn look_at_clock(&mut self) {
        match &mut self.phase {
            Phase::Queueing { .. } => self.start(),
            Phase::Running { guard_at, .. } if Instant::now() >= *guard_at => {
                if let Some(guard) = &mut self.guard {
                    let wait = guard().unwrap_or_else(|error| {
                        self.complaints.make(&format!("guard: {error}"));
                        GUARD
                    });
                    *guard_at = Instant::now() + wait;
                }
            }
            Phase::Ended { since, .. } if since.elapsed() >= GRACE => {
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
            Source::Output(stream) => {
                let ended = matches!(self.phase, Phase::Ended { .. });
                self.pass_on(stream, ended);
            }
            Source::Connection(index) => self.serve(index, flags),
        }
    }

    // Clients.

    fn accept(&mut self) {
        while let Some(Ok((stream, _))) = self.listener.as_ref().map(UnixListener::accept) {
            match Connection::new(stream) {
                Ok(connection) => self.connections.push(connection),
                Err(error) => self.complaints.make(&format!("serve a client: {error}")),
            }
        }
    }

    fn serve(&mut self, index: usize, flags: PollFlags) {
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
        let answer = match request {
            Request::Attach(streams) => {
                if let Some(connection) = self.connections.get_mut(index) {
                    connection.attach(streams);
                }
                return;
            }
            Request::Wait => {
                if let Some(connection) = self.connections.get_mut(index) {
                    connection.kind = Kind::Waiting;
                    if let Phase::Ended { exit, .. } = &self.phase {
                        connection.answer(&Answer::Exited(*exit));
                    }
                }
                return;
            }
            Request::Start if matches!(self.phase, Phase::NotStarted) => {
                if let Some(connection) = self.connections.get_mut(index) {
                    connection.kind = Kind::Starting;
                }
                return self.start();
            }
            Request::Start => refused("it was started before"),
            Request::Resize(size) => self.resize(size),
            Request::CloseStdin => {
                self.stdio.stdin.close_when_written();
                Answer::Done
            }
            Request::Signal(number) => self.signal(number),
            Request::State => Answer::State(self.state()),
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

    fn state(&self) -> State {
        match &self.phase {
            Phase::NotStarted | Phase::Over => State::NotStarted,
            Phase::Queueing { .. } | Phase::Starting { .. } | Phase::Failed { .. } => {
                State::Starting
            }
            Phase::Running { pid, .. } => State::Running { pid: number(*pid) },
            Phase::Ended { exit, .. } => State::Exited(*exit),
        }
    }

    fn resize(&mut self, size: crate::orders::Size) -> Answer {
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
        let pid = match self.phase {
            Phase::Running { pid, .. } => pid,
            // Whatever the runtime waits for, it does no longer. The start fails.
            Phase::Starting { runtime, .. } if number == Signal::KILL.as_raw() => runtime,
            _ => return refused("it does not run"),
        };
        // Nobody else reaps it, so the number is still its.
        match lapstrake_sys::process::signal(pid, number) {
            Ok(()) => Answer::Done,
            Err(error) => refused(&format!("signal {number} can't be sent: {error}")),
        }
    }

    // The process's life.

    fn start(&mut self) {
        if self.runtime.is_taken() {
            let since = match self.phase {
                Phase::Queueing { since } => since,
                _ => Instant::now(),
            };
            self.phase = if since.elapsed() < QUEUE {
                Phase::Queueing { since }
            } else {
                Phase::Failed {
                    message: format!("the runtime has a container {} already", self.orders.id),
                    remover: None,
                }
            };
            return;
        }
        let console = match self.orders.terminal {
            Some(_) => ConsoleSocket::bind(&self.place).map(Some),
            None => Ok(None),
        };
        let theirs = self.stdio.theirs();
        let called = console.and_then(|console| {
            let path = console.as_ref().map(|console| console.path.as_path());
            let runtime = self.runtime.start(path, theirs)?;
            Ok((runtime, console))
        });
        match called {
            Ok((runtime, console)) => {
                self.phase = Phase::Starting {
                    runtime,
                    console,
                    ended: Vec::new(),
                };
            }
            Err(error) => {
                let program = self.orders.runtime.program.display();
                self.fail(format!("cannot start {program}: {error}"));
            }
        }
    }

    fn take_console(&mut self) {
        let Phase::Starting { console, .. } = &mut self.phase else {
            return;
        };
        let taken = console.as_ref().map(ConsoleSocket::take);
        let terminal = match taken.transpose() {
            Ok(None | Some(None)) => return,
            Ok(Some(Some(terminal))) => terminal,
            Err(error) => {
                return self.complaints.make(&format!("take the terminal: {error}"));
            }
        };
        *console = None;
        if let Some(size) = self.orders.terminal.and_then(|terminal| terminal.size) {
            let resized = console::resize(terminal.as_fd(), size);
            self.complaints.note("resize the terminal", resized);
        }
        let set = self.stdio.set_terminal(terminal);
        self.complaints.note("use the terminal", set);
    }

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

    /// The call that was to start the process is over.
    fn runtime_ended(&mut self, status: WaitStatus) {
        // The terminal may have come with the last words.
        self.take_console();
        let Phase::Starting { ended, .. } = std::mem::replace(&mut self.phase, Phase::NotStarted)
        else {
            return;
        };
        let started = match status.exit_status() {
            Some(0) => self
                .runtime
                .started()
                .map_err(|error| format!("the runtime tells no process: {error}")),
            _ => Err(self.words_of_failure(status)),
        };
        if status.terminating_signal().is_some() {
            // What it left half started has come to this process.
            children::kill_all();
        }
        match started {
            Ok(pid) => {
                self.phase = Phase::Running {
                    pid,
                    guard_at: Instant::now() + GUARD,
                };
                let pid_number = number(pid);
                self.answer_starting(&Answer::Started { pid: pid_number });
                if let Some((_, status)) = ended.into_iter().find(|(child, _)| *child == pid) {
                    self.end(status);
                }
            }
            Err(message) => self.fail(message),
        }
    }

    fn words_of_failure(&mut self, status: WaitStatus) -> String {
        let said = self.runtime.last_error().or_else(|| {
            let text = runtime::cut(self.stdio.stderr.text());
            (!text.is_empty()).then_some(text)
        });
        said.unwrap_or_else(|| {
            let program = self.orders.runtime.program.display();
            match (status.exit_status(), status.terminating_signal()) {
                (_, Some(signal)) => format!("{program} was killed by signal {signal}"),
                (Some(code), None) => format!("{program} ended with code {code}"),
                (None, None) => format!("{program} ended"),
            }
        })
    }

    /// It did not start. What it or the runtime wrote is no output.
    fn fail(&mut self, message: String) {
        self.stdio.stdin.close();
        self.stdio.stdout.source = None;
        self.stdio.stderr.source = None;
        let remover = self.remove();
        self.phase = Phase::Failed { message, remover };
    }

    /// It has ended: what is left in the pipes is its, then it is recorded and told.
    fn end(&mut self, status: WaitStatus) {
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
        exit.oom_killed = self.orders.cgroup.as_deref().is_some_and(oom::killed);
        let recorded = exit.record(&self.orders.exit_record);
        self.complaints.note("record the exit", recorded);
        for connection in &mut self.connections {
            if matches!(connection.kind, Kind::Waiting) {
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

    fn remove(&mut self) -> Option<Pid> {
        let called = self.runtime.remove();
        called.unwrap_or_else(|error| {
            self.complaints
                .make(&format!("remove the container: {error}"));
            None
        })
    }

    fn removed(&mut self, status: WaitStatus) {
        if status.exit_status() != Some(0) {
            self.complaints
                .make(&format!("remove the container: {status:?}"));
        }
    }

    /// Does what is due when things have come together.
    fn settle(&mut self) {
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

    /// Whoever asked before the end is answered.
    fn hear_the_last(&mut self) {
        self.accept();
        for index in 0..self.connections.len() {
            self.serve(index, PollFlags::IN);
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

    fn answer_starting(&mut self, answer: &Answer) {
        for connection in &mut self.connections {
            if matches!(connection.kind, Kind::Starting) {
                connection.answer_and_end(answer);
            }
        }
    }

    // Output.

    /// Passes on what can be read of a stream at once; how much that was, `None` at its end. A terminal has an
    /// end only when the process has ended: it may close it and open it again.
    fn pass_on(&mut self, stream: Stream, ended: bool) -> Option<usize> {
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
    fn close(&mut self, stream: Stream) {
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

fn refused(reason: &str) -> Answer {
    Answer::Refused {
        reason: reason.to_owned(),
    }
}

fn number(pid: Pid) -> u32 {
    pid.as_raw_pid().unsigned_abs()
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
