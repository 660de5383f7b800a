//! `lapstrake images`.

use std::process::ExitCode;

use serde_json::json;

use crate::context::Context;
use crate::failure::Result;
use crate::render;

/// List the images.
#[derive(Debug, clap::Args)]
pub(crate) struct Images {}

impl Images {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode> {
        let images = context.read()?.images()?;
        if !context.json {
            render::images(&images);
            return Ok(ExitCode::SUCCESS);
        }
        for image in images {
            render::json(&json!({
                "reference": image.reference, "id": image.id, "manifest": image.manifest,
                "layers": image.layers, "bytes": image.bytes,
            }));
        }
        Ok(ExitCode::SUCCESS)
    }
}
