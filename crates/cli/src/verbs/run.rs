//! `lapstrake run`.

use std::process::ExitCode;
use std::time::Duration;

use lapstrake_engine::{Error, ImageName, RunOptions};

use super::create::limit;
use super::pull::{Pulling, pull};
use super::rm::free_in_background;
use crate::context::Context;
use crate::failure::Result;

/// A command that gives up here leaves a mount and a writable layer.
const PATIENCE_TO_CLEAN_UP: Duration = Duration::from_secs(600);

/// Run a command in an image, pulling it first if it is not there.
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// The image: a name, or an id or its beginning.
    image: ImageName,
    /// The command; with none, the image's own.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
    /// The container's name (default: one of its own).
    #[arg(long)]
    name: Option<String>,
    /// The OCI runtime.
    #[arg(long, default_value = "runc")]
    runtime: String,
    /// A limit for what it writes in its root: size=SIZE (as 10G) or inodes=NUMBER.
    #[arg(long, value_name = "OPTION")]
    storage_opt: Vec<String>,
    #[command(flatten)]
    how: Pulling,
}

impl Run {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode> {
        let engine = context.own()?;
        let limit = limit(&self.storage_opt)?;
        if !engine.has_image(&self.image)? {
            let reference = self.image.reference().map_err(Error::Name)?;
            pull(context, &engine, &reference, &self.how)?;
        }
        let own_name = || format!("run-{}", std::process::id());
        let options = RunOptions {
            name: self.name.clone().unwrap_or_else(own_name),
            command: self.command.clone(),
            runtime: self.runtime.clone(),
            limit,
        };
        let bundle = engine.bundle(&self.image, &options)?;
        // Others may own the store while the command runs.
        drop(engine);
        let status = bundle.run();
        context.own_within(PATIENCE_TO_CLEAN_UP)?.discard(&bundle)?;
        free_in_background(&context.around);
        let status = status?;
        // As shells do for a command that a signal ended.
        let code = status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .unwrap_or(128);
        Ok(ExitCode::from(code))
    }
}
