//! `lapstrake resize`.

use std::process::ExitCode;

use super::create::limit;
use crate::context::Context;
use crate::failure::Result;

/// Change the limit of a writable layer, also while it is used.
#[derive(Debug, clap::Args)]
pub(crate) struct Resize {
    /// The writable layer.
    name: String,
    /// The new limit: size=SIZE (as 10G) or inodes=NUMBER; what is left out is not limited.
    #[arg(long, value_name = "OPTION", required = true)]
    storage_opt: Vec<String>,
}

impl Resize {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode> {
        let engine = context.own()?;
        engine.resize_writable(&self.name, limit(&self.storage_opt)?)?;
        Ok(ExitCode::SUCCESS)
    }
}
