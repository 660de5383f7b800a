//! `lapstrake rm`: removing is quick, freeing takes its time in a process of its own.

use std::process::{Command, ExitCode, Stdio};

use lapstrake_engine::Surroundings;
use serde_json::json;

use crate::context::Context;
use crate::failure::Result;
use crate::render;

/// Remove writable layers.
#[derive(Debug, clap::Args)]
pub(crate) struct Rm {
    /// Their names.
    #[arg(required = true)]
    names: Vec<String>,
    /// Wait until their space is free. Otherwise it is freed after the command has ended.
    #[arg(long)]
    settle: bool,
}

impl Rm {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode> {
        let engine = context.own()?;
        let mut failed = None;
        for name in &self.names {
            match engine.remove_writable(name) {
                Ok(()) if context.json => render::json(&json!({"removed": name})),
                Ok(()) => render::line(name),
                // The others go all the same; the last failure is the one that decides the exit code.
                Err(error) => {
                    if let Some(before) = failed.replace(error) {
                        render::error(&before.into(), context.json);
                    }
                }
            }
        }
        if self.settle {
            engine.settle()?;
        } else {
            free_in_background(&context.around);
        }
        match failed {
            None => Ok(ExitCode::SUCCESS),
            Some(error) => Err(error.into()),
        }
    }
}

/// Free what removed writable layers still use.
#[derive(Debug, clap::Args)]
pub(crate) struct FreeRemoved {}

impl FreeRemoved {
    /// Whoever owns the store has other things to do, so the store is not opened.
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode> {
        lapstrake_engine::free_removed(&context.around.root, &context.around.run)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Lets another process free what was removed, so that the caller need not wait. If it can't be
/// started, the next command frees it.
pub(crate) fn free_in_background(around: &Surroundings) {
    use std::os::unix::process::CommandExt as _;
    let Ok(program) = std::env::current_exe() else {
        return;
    };
    let child = Command::new(program)
        .arg("--root")
        .arg(&around.root)
        .arg("--run-dir")
        .arg(&around.run)
        .arg("free-removed")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A signal to the caller's group is not meant for it.
        .process_group(0)
        .spawn();
    drop(child);
}
