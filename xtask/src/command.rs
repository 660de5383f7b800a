//! Running other programs: every failure names the command line and shows the end of its output.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::error::{Error, IoContext as _, Result};

/// How much of a failed program's output an error shows.
const TAIL: usize = 1500;

/// A program to run.
#[derive(Debug)]
pub struct Tool {
    command: Command,
}

impl Tool {
    /// A program by name or path.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        command.stdin(Stdio::null());
        Self { command }
    }

    /// A server that ends when we do, however we end.
    pub fn ending_with_us(program: &str) -> Self {
        Self::new("setpriv").args(["--pdeathsig", "TERM", program])
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, args: I) -> Self {
        self.command.args(args);
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// The command line, for people.
    pub fn line(&self) -> String {
        let mut words = vec![self.command.get_program().to_string_lossy().into_owned()];
        words.extend(
            self.command
                .get_args()
                .map(|arg| arg.to_string_lossy().into_owned()),
        );
        words.join(" ")
    }

    /// Runs it with our stdout and stderr.
    pub fn run(mut self) -> Result<()> {
        let status = self
            .command
            .status()
            .map_err(|source| self.not_started(source))?;
        if status.success() {
            return Ok(());
        }
        Err(Error::Failed {
            line: self.line(),
            status: status.to_string(),
            tail: String::new(),
        })
    }

    /// Runs it and returns its stdout.
    pub fn output(mut self) -> Result<String> {
        let output = self
            .command
            .output()
            .map_err(|source| self.not_started(source))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(Error::Failed {
            line: self.line(),
            status: output.status.to_string(),
            tail: tail(&output),
        })
    }

    /// Starts it with both streams going to a file.
    pub fn spawn(mut self, log: &Path) -> Result<std::process::Child> {
        let out = File::create(log).io("create", log)?;
        let err = out.try_clone().io("open", log)?;
        self.command.stdout(out).stderr(err);
        self.command
            .spawn()
            .map_err(|source| self.not_started(source))
    }

    /// The command underneath, for callers with needs of their own.
    pub fn into_inner(self) -> Command {
        self.command
    }

    fn not_started(&self, source: std::io::Error) -> Error {
        let program = self.command.get_program().to_string_lossy().into_owned();
        Error::Start { program, source }
    }
}

/// Whether a program is on the PATH.
pub fn exists(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

fn tail(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    let text = text.trim_end();
    if text.is_empty() {
        return String::new();
    }
    let mut start = text.len().saturating_sub(TAIL);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    format!(":\n{}", &text[start..])
}
