//! The `lapstrake` command: parse, choose, render.
#![forbid(unsafe_code)]

mod arguments;
mod context;
mod failure;
mod interrupt;
mod network;
mod output;
mod progress;
mod render;
mod storage;
mod surroundings;
mod verbs;

use std::process::ExitCode;

use clap::Parser as _;

use crate::arguments::Arguments;
use crate::context::Context;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = Context::of(&arguments).and_then(|context| arguments.verb.run(&context));
    match done {
        Ok(code) => code,
        Err(failure) => {
            render::error(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}
