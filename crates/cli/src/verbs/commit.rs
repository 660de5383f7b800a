//! `lapstrake commit`.

use std::process::ExitCode;
use std::time::SystemTime;

use lapstrake_engine::{CommitOptions, Reference};
use serde_json::json;

use crate::context::Context;
use crate::failure::Result;
use crate::render;

/// Make an image of a writable layer: its image with what was changed as one layer more.
#[derive(Debug, clap::Args)]
pub(crate) struct Commit {
    /// The writable layer. What changes while it is read makes an error, or a layer with some of it.
    name: String,
    /// What to call the image.
    reference: Reference,
    /// Change the config by an instruction of a Dockerfile: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL,
    /// ONBUILD, USER, VOLUME or WORKDIR.
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// Who made it.
    #[arg(short, long)]
    author: Option<String>,
    /// A remark.
    #[arg(short, long)]
    message: Option<String>,
}

impl Commit {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode> {
        let engine = context.own()?;
        let options = CommitOptions {
            execution: None,
            created_by: None,
            changes: self.change.clone(),
            author: self.author.clone(),
            message: self.message.clone(),
            now: SystemTime::now(),
        };
        let made = engine.commit(&self.name, &self.reference, &options)?;
        let layer = made.layer.as_ref();
        if context.json {
            render::json(&json!({
                "reference": made.image.reference, "id": made.image.config,
                "manifest": made.image.manifest, "layer": layer.map(|layer| &layer.diff_id),
                "layer_bytes": layer.map(|layer| layer.tar_len), "skipped_sockets": made.skipped.len(),
            }));
            return Ok(ExitCode::SUCCESS);
        }
        match layer {
            Some(layer) => context.say(&format!("a layer of {}", render::bytes(layer.tar_len))),
            None => context.say("nothing had changed: no layer was added"),
        }
        for path in &made.skipped {
            context.warn(&format!(
                "left out: the socket /{}",
                String::from_utf8_lossy(path)
            ));
        }
        render::line(&made.image.config.to_string());
        Ok(ExitCode::SUCCESS)
    }
}
