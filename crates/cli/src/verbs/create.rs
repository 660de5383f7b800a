//! `lapstrake create`.

use std::process::ExitCode;

use lapstrake_engine::{Error, ImageName, RoomLimit};
use serde_json::json;

use crate::context::Context;
use crate::failure::Result;
use crate::render;

/// Make a writable layer over an image.
#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    /// The image: a name, or an id or its beginning.
    image: ImageName,
    /// The name of the writable layer.
    name: String,
    /// A limit: size=SIZE (as 10G) or inodes=NUMBER.
    #[arg(long, value_name = "OPTION")]
    storage_opt: Vec<String>,
}

impl Create {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode> {
        let engine = context.own()?;
        engine.create(&self.image, &self.name, limit(&self.storage_opt)?)?;
        if context.json {
            render::json(&json!({"name": self.name}));
        } else {
            render::line(&self.name);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The limit that storage options say.
pub(crate) fn limit(options: &[String]) -> Result<RoomLimit> {
    let limit = RoomLimit::from_options(options.iter().map(String::as_str));
    Ok(limit.map_err(Error::from)?)
}
