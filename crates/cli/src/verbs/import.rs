//! `lapstrake import`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use lapstrake_engine::{ImportOptions, Platform, Reference};
use serde_json::json;

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::input::Input;
use crate::render;

/// Make an image of a tar of a root, as `export` and `docker export` write them.
#[derive(Debug, clap::Args)]
pub(crate) struct Import {
    /// The tar, which may be compressed by gzip, bzip2, xz or zstd. Standard input if it is -.
    file: PathBuf,
    /// What to call the image.
    reference: Option<Reference>,
    /// Change the config by an instruction of a Dockerfile: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL,
    /// ONBUILD, USER, VOLUME or WORKDIR.
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// A remark.
    #[arg(short, long)]
    message: Option<String>,
    /// What it runs on, as OS/ARCH or OS/ARCH/VARIANT (default: this machine's).
    #[arg(long)]
    platform: Option<Platform>,
}

impl Import {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode> {
        if let Some(url) = self.file.to_str()
            && (url.starts_with("http://") || url.starts_with("https://"))
        {
            return Err(Failure::Url(url.to_owned()));
        }
        let options = ImportOptions {
            reference: self.reference.clone(),
            changes: self.change.clone(),
            message: self.message.clone(),
            platform: self.platform.clone().unwrap_or_else(Platform::host),
            now: SystemTime::now(),
        };
        let input = match Input::open(Some(&self.file))? {
            Input::Stream { stream, .. } => stream,
            Input::Directory(path) => return Err(Failure::Directory(path)),
        };
        let made = context.own_patiently()?.import(input, &options)?;
        if context.json {
            render::json(&json!({
                "reference": made.image.reference, "id": made.image.config,
                "manifest": made.image.manifest, "layer": made.layer.diff_id,
                "layer_bytes": made.layer.tar_len,
            }));
            return Ok(ExitCode::SUCCESS);
        }
        context.say(&format!("a layer of {}", render::bytes(made.layer.tar_len)));
        render::line(&made.image.config.to_string());
        Ok(ExitCode::SUCCESS)
    }
}
