//! The `lapstrake` command: parse, choose, render.
#![forbid(unsafe_code)]
#![warn(clippy::print_stderr)]

mod arguments;
mod context;
mod failure;
mod input;
mod interrupt;
mod network;
mod output;
mod progress;
mod render;
mod settings;
mod storage;
mod surroundings;
mod table;
mod verbs;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser as _;

use crate::arguments::Arguments;
use crate::context::Context;

/// See the help text.
const WRONG_USAGE: u8 = 2;

fn main() -> ExitCode {
    // Before anything else: a monitor has to be quick and small.
    if let Some(dir) = monitor_of() {
        return monitor(&dir);
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return not_understood(&error),
    };
    let done = Context::of(&arguments)
        .and_then(|context| arguments.verb.run(&context))
        .and_then(output::finish);
    match done {
        Ok(code) => code,
        Err(failure) => {
            render::error(&failure, arguments.json);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// The directory, if this is to be a container's monitor: not for people to type.
fn monitor_of() -> Option<PathBuf> {
    let mut arguments = std::env::args_os().skip(1);
    let verb = arguments.next()?;
    let dir = arguments.next()?;
    (verb == "monitor" && arguments.next().is_none()).then(|| dir.into())
}

fn monitor(dir: &Path) -> ExitCode {
    match lapstrake_engine::monitor(dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            render::say(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Help was asked for, or what was typed makes no sense.
fn not_understood(error: &clap::Error) -> ExitCode {
    let as_json = std::env::args_os()
        .take_while(|argument| argument != "--")
        .any(|argument| argument == "--json");
    if error.use_stderr() && as_json {
        let text = error.to_string();
        let text = text.trim().trim_start_matches("error: ");
        render::error_object(text, WRONG_USAGE, "usage");
    } else if let Err(error) = error.print() {
        // Whoever asked for help and went does not need it.
        if error.kind() != std::io::ErrorKind::BrokenPipe {
            render::say(&format!("lapstrake: cannot write: {error}"));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::from(if error.use_stderr() { WRONG_USAGE } else { 0 })
}
