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

use std::process::ExitCode;

use clap::Parser as _;

use crate::arguments::Arguments;
use crate::context::Context;

/// See the help text.
const WRONG_USAGE: u8 = 2;

fn main() -> ExitCode {
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
