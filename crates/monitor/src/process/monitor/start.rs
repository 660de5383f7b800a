//! From the order to start to a process that runs, or does not.
//!
//! One call of the runtime does it. Whatever it or the process does meanwhile, the client that gave the order is told
//! that the process runs, or, when what was begun is removed again, why it does not.

use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use rustix::process::WaitStatus;

use super::phase::number;
use super::{GUARD, Monitor, Phase};
use crate::process::console::{self, ConsoleSocket};
use crate::process::oom::Counter;
use crate::process::{children, runtime};
use crate::wire::Answer;

/// How long an earlier container of the same id may take to go: its monitor has told of its exit.
const QUEUE: Duration = Duration::from_secs(5);

impl Monitor {
    /// Starts the process, or goes on to wait until its id is free.
    pub(super) fn start(&mut self) {
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

    /// Takes the terminal, if the runtime has come with it.
    pub(super) fn take_console(&mut self) {
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

    /// The call that was to start the process is over.
    pub(super) fn runtime_ended(&mut self, status: WaitStatus) {
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
                self.watch_memory();
                let pid_number = number(pid);
                self.answer_starting(&Answer::Started { pid: pid_number });
                if let Some((_, status)) = ended.into_iter().find(|(child, _)| *child == pid) {
                    self.end(status);
                }
            }
            Err(message) => self.fail(message),
        }
    }

    /// From now on it is told when the kernel kills a process of the container.
    fn watch_memory(&mut self) {
        let counter = self.orders.cgroup.as_deref().map(Counter::open);
        match counter.transpose() {
            Ok(counter) => self.memory = counter.flatten(),
            Err(error) => self
                .complaints
                .make(&format!("watch the container's memory: {error}")),
        }
    }

    /// Why it did not start: what the runtime says, or how it ended.
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
}
