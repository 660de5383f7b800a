//! The `lapstrake` command: parse, choose, render.
#![forbid(unsafe_code)]

mod arguments;
mod check;
mod filter;
mod network;
mod progress;
mod render;
mod storage;
mod surroundings;
mod verbs;
mod writable;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let arguments = arguments::Arguments::parse();
    match verbs::run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            render::error(&error);
            ExitCode::from(render::exit_code(&error))
        }
    }
}
