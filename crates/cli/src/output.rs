//! Where a verb writes a stream of bytes: a file, or standard output.

use std::fs::File;
use std::io::IsTerminal as _;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::ExitCode;

use lapstrake_engine::{Error, Target, reader_went};

use crate::failure::{Failure, Result};

/// As a shell reports a program that wrote to a pipe which nobody reads any more.
const NOBODY_READS: u8 = 128 + 13;

/// The file of that name; without one or with `-`, standard output, which must not be a terminal.
pub(crate) fn target(output: Option<&Path>) -> Result<Target<'_>> {
    if let Some(path) = output.filter(|path| *path != Path::new("-")) {
        return Ok(Target::File(path));
    }
    let out = std::io::stdout();
    if out.is_terminal() {
        return Err(Failure::Terminal);
    }
    Ok(Target::Stream(File::from(
        out.as_fd().try_clone_to_owned()?,
    )))
}

/// Ends a verb: nothing that it printed may have been lost. Quietly, if it was the reader that went.
pub(crate) fn finish(code: ExitCode) -> Result<ExitCode> {
    match crate::render::finish() {
        Ok(()) => Ok(code),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            Ok(ExitCode::from(NOBODY_READS))
        }
        Err(error) => Err(Failure::Output(error)),
    }
}

/// Ends quietly if it was the reader that went.
pub(crate) fn done<T>(
    result: std::result::Result<T, Error>,
    tell: impl FnOnce(T),
) -> Result<ExitCode> {
    match result {
        Ok(done) => {
            tell(done);
            Ok(ExitCode::SUCCESS)
        }
        Err(error) if reader_went(&error) => Ok(ExitCode::from(NOBODY_READS)),
        Err(error) => Err(error.into()),
    }
}
