//! How a daemon starts monitors and talks to them. Blocking, one connection for each request.
//!
//! A client holds nothing but a path: it works the same for a monitor that an earlier daemon started.

mod launch;

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::orders::Size;
use crate::place::Place;
use crate::wire::{ANSWER_LIMIT, Answer, Attach, Request, SOCKET, State};

pub use launch::launch;

/// A monitor does these things at once; if not, something holds it up, such as a disk that stalls.
const AT_ONCE: Duration = Duration::from_secs(10);

/// The monitor in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    dir: PathBuf,
}

impl Client {
    /// The monitor that was launched in `dir`. Nothing is tried before the first request.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    /// Connects to the process's streams, before it is started or later. What is returned stands right
    /// behind the acknowledgement: all that is read are frames, see [`crate::wire`].
    ///
    /// # Errors
    /// [`Error::Gone`] if there is no monitor.
    pub fn attach(&self, streams: Attach) -> Result<UnixStream> {
        self.subscribe(Request::Attach(streams))
    }

    /// Starts the process and returns its process id. Waits as long as the runtime needs.
    ///
    /// # Errors
    /// [`Error::Runtime`] with the runtime's own words; then its state is removed and the monitor is gone.
    pub fn start(&self) -> Result<u32> {
        let mut stream = self.ask(Request::Start, None)?;
        match self.answer(&mut stream)? {
            Answer::Started { pid } => Ok(pid),
            other => Err(self.unexpected(other)),
        }
    }

    /// Gives the process's terminal another size; before the start too. Without a terminal nothing happens.
    ///
    /// # Errors
    /// [`Error::Gone`] if there is no monitor.
    pub fn resize(&self, size: Size) -> Result<()> {
        self.order(Request::Resize(size))
    }

    /// Closes the process's standard input, once what clients sent before is written.
    ///
    /// # Errors
    /// [`Error::Gone`] if there is no monitor.
    pub fn close_stdin(&self) -> Result<()> {
        self.order(Request::CloseStdin)
    }

    /// Sends the process a signal, and never another process.
    ///
    /// # Errors
    /// [`Error::Refused`] if it does not run, or the signal is none.
    pub fn signal(&self, number: i32) -> Result<()> {
        self.order(Request::Signal(number))
    }

    /// Gives up a process that was not started: the monitor ends.
    ///
    /// # Errors
    /// [`Error::Refused`] if it was started.
    pub fn dismiss(&self) -> Result<()> {
        self.order(Request::Dismiss)
    }

    /// How far things are.
    ///
    /// # Errors
    /// [`Error::Gone`] if there is no monitor: the exit record tells how the process ended.
    pub fn state(&self) -> Result<State> {
        let mut stream = self.ask(Request::State, Some(AT_ONCE))?;
        match self.answer(&mut stream)? {
            Answer::State(state) => Ok(state),
            other => Err(self.unexpected(other)),
        }
    }

    /// Begins to wait for the process's end.
    ///
    /// # Errors
    /// [`Error::Gone`] if there is no monitor: the exit record tells how the process ended.
    pub fn wait(&self) -> Result<Wait> {
        let stream = self.ask(Request::Wait, None)?;
        Ok(Wait {
            client: self.clone(),
            stream,
        })
    }

    /// Begins to wait for the process's end, and to hear what happens before. Of a monitor that tells nothing else, only
    /// the end is heard.
    ///
    /// # Errors
    /// [`Error::Gone`] if there is no monitor: the exit record tells how the process ended.
    pub fn watch(&self) -> Result<Wait> {
        match self.subscribe(Request::Watch) {
            Ok(stream) => Ok(Wait {
                client: self.clone(),
                stream,
            }),
            Err(Error::Refused { .. }) => self.wait(),
            Err(error) => Err(error),
        }
    }

    /// Asks for what is acknowledged, and then goes on.
    fn subscribe(&self, request: Request) -> Result<UnixStream> {
        let mut stream = self.ask(request, Some(AT_ONCE))?;
        match self.answer(&mut stream)? {
            Answer::Done => {}
            other => return Err(self.unexpected(other)),
        }
        stream
            .set_read_timeout(None)
            .map_err(|source| Error::io("set up a connection to", &self.dir, source))?;
        Ok(stream)
    }

    fn order(&self, request: Request) -> Result<()> {
        let mut stream = self.ask(request, Some(AT_ONCE))?;
        match self.answer(&mut stream)? {
            Answer::Done => Ok(()),
            other => Err(self.unexpected(other)),
        }
    }

    fn ask(&self, request: Request, timeout: Option<Duration>) -> Result<UnixStream> {
        let place = match Place::open(&self.dir) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Err(Error::Gone(self.dir.clone()));
            }
            place => place?,
        };
        let asked = || {
            let mut stream = UnixStream::connect(place.here(SOCKET))?;
            stream.set_read_timeout(timeout)?;
            stream.set_write_timeout(timeout)?;
            let mut line = serde_json::to_vec(&request)?;
            line.push(b'\n');
            stream.write_all(&line)?;
            stream.set_write_timeout(None)?;
            Ok(stream)
        };
        asked().map_err(|error: io::Error| self.failed(error))
    }

    /// Reads one line, and not a byte more, for a stream may follow.
    fn answer(&self, stream: &mut UnixStream) -> Result<Answer> {
        let mut line = Vec::new();
        loop {
            let mut byte = [0];
            match stream.read(&mut byte) {
                Ok(0) => return Err(Error::Gone(self.dir.clone())),
                Ok(_) if byte == *b"\n" => break,
                Ok(_) => line.extend(byte),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error)),
            }
            if line.len() > ANSWER_LIMIT {
                break;
            }
        }
        parse_answer(&line).ok_or_else(|| Error::Answer {
            dir: self.dir.clone(),
            answer: String::from_utf8_lossy(&line).into_owned(),
        })
    }

    fn failed(&self, error: io::Error) -> Error {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::NotFound | Kind::ConnectionRefused | Kind::ConnectionReset | Kind::BrokenPipe => {
                Error::Gone(self.dir.clone())
            }
            Kind::WouldBlock | Kind::TimedOut => Error::Answer {
                dir: self.dir.clone(),
                answer: "nothing in time".to_owned(),
            },
            _ => Error::io("talk to the monitor in", &self.dir, error),
        }
    }

    fn unexpected(&self, answer: Answer) -> Error {
        match answer {
            Answer::RuntimeFailed { message } => Error::Runtime { message },
            Answer::Refused { reason } => Error::Refused { reason },
            other => Error::Answer {
                dir: self.dir.clone(),
                answer: format!("{other:?}"),
            },
        }
    }
}

/// What a line from a monitor says, without its line feed: for callers that read by themselves.
#[must_use]
pub fn parse_answer(line: &[u8]) -> Option<Answer> {
    serde_json::from_slice(line).ok()
}

/// A wait for a process's end, which has two parts: the exit, and that all is cleaned up behind it.
#[derive(Debug)]
pub struct Wait {
    client: Client,
    stream: UnixStream,
}

impl Wait {
    /// Blocks until the process has ended and its exit is recorded.
    ///
    /// # Errors
    /// [`Error::Gone`] if the monitor was killed, or the process was given up, or never started.
    pub fn exit(&mut self) -> Result<Exit> {
        loop {
            match self.hear()? {
                Answer::Exited(exit) => return Ok(exit),
                Answer::OutOfMemory { .. } => {}
                other => return Err(self.client.unexpected(other)),
            }
        }
    }

    /// Blocks until the monitor tells something: the exit, or, if it is watched, what happens before.
    ///
    /// # Errors
    /// As [`Self::exit`].
    pub fn hear(&mut self) -> Result<Answer> {
        self.client.answer(&mut self.stream)
    }

    /// Blocks until the runtime's state is removed too: bundle and root are used by nobody now.
    ///
    /// # Errors
    /// What the connection says.
    pub fn cleaned(mut self) -> Result<()> {
        match io::copy(&mut self.stream, &mut io::sink()) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
            Err(error) => Err(self.client.failed(error)),
        }
    }

    /// The connection, for callers that wait in their own way: a line for [`parse_answer`] when
    /// the process has ended, and for what else is watched, the end of the stream when all is cleaned up or the monitor was killed.
    #[must_use]
    pub fn into_stream(self) -> UnixStream {
        self.stream
    }
}
