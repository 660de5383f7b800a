//! `lapstrake containers`.

use std::process::ExitCode;

use serde_json::json;

use crate::context::Context;
use crate::failure::Result;
use crate::render;

/// List the writable layers, and what they use of the disk.
#[derive(Debug, clap::Args)]
pub(crate) struct Containers {}

impl Containers {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode> {
        let layers = context.read()?.writables()?;
        if !context.json {
            render::writables(&layers);
            return Ok(ExitCode::SUCCESS);
        }
        for layer in &layers {
            let (record, usage) = (&layer.record, layer.usage);
            render::json(&json!({
                "name": record.name, "image": record.image.reference, "id": record.image.config,
                "manifest": record.image.manifest, "driver": record.driver,
                "created": render::created(layer), "mounted": layer.mounted,
                "bytes": usage.map(|usage| usage.bytes),
                "inodes": usage.and_then(|usage| usage.inodes),
                "limit_bytes": usage.and_then(|usage| usage.limit.bytes),
                "limit_inodes": usage.and_then(|usage| usage.limit.inodes),
            }));
        }
        Ok(ExitCode::SUCCESS)
    }
}
