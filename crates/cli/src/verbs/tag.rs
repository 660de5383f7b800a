//! `lapstrake tag`.

use std::process::ExitCode;

use lapstrake_engine::{ImageName, Reference};
use serde_json::json;

use crate::context::Context;
use crate::failure::Result;
use crate::render;

/// Give an image a further name. It is on disk when the command ends. If another image had the name, that
/// one keeps its other names, or gets one by digest.
#[derive(Debug, clap::Args)]
pub(crate) struct Tag {
    /// The image: a name (debian:12, debian@sha256:…), or an id or its beginning.
    source: ImageName,
    /// The new name, as registry.example.com/debian:mine; the tag is latest if there is none.
    target: Reference,
}

impl Tag {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode> {
        let tagged = context.own()?.tag(&self.source, &self.target)?;
        if context.json {
            let before = tagged.instead_of.as_ref();
            render::json(&json!({
                "reference": tagged.image.reference, "id": tagged.image.config,
                "manifest": tagged.image.manifest, "instead_of": before.map(|image| &image.config),
            }));
        }
        Ok(ExitCode::SUCCESS)
    }
}
