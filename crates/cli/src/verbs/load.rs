//! `lapstrake load`.

use std::path::PathBuf;
use std::process::ExitCode;

use lapstrake_engine::{LoadFrom, Loaded, Platform};
use serde_json::json;

use crate::context::Context;
use crate::failure::Result;
use crate::input::Input;
use crate::progress::Progress;
use crate::render;

/// Load images from an archive of `save`, Docker, podman or skopeo, compressed or not, or from an OCI
/// layout.
#[derive(Debug, clap::Args)]
pub(crate) struct Load {
    /// The archive, or the directory of a layout. Standard input if nothing or - is given.
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Only images for this platform, as OS/ARCH or OS/ARCH/VARIANT (default: all that are whole).
    #[arg(long)]
    platform: Option<Platform>,
}

impl Load {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode> {
        let mut input = Input::open(self.input.as_deref())?;
        let engine = context.own_patiently()?;
        let progress = Progress::new(context);
        input.tell_size(&progress);
        let from = match &mut input {
            Input::Directory(path) => LoadFrom::Directory(path),
            Input::Stream { stream, .. } => LoadFrom::Stream(stream),
        };
        let loaded = engine.load(from, self.platform.as_ref(), &|event| progress.tell(&event));
        progress.clear();
        tell(&loaded?, context);
        Ok(ExitCode::SUCCESS)
    }
}

fn tell(loaded: &Loaded, context: &Context) {
    for note in &loaded.notes {
        context.say(note);
    }
    for image in &loaded.images {
        if context.json {
            let names = image.names.iter().map(ToString::to_string);
            render::json(&json!({
                "event": "loaded", "id": image.id, "names": names.collect::<Vec<_>>(), "manifest": image.manifest,
                "platform": image.platform.to_string(),
            }));
            continue;
        }
        // In Docker's words, which scripts look for.
        for name in &image.names {
            render::line(&format!("Loaded image: {}", name.familiar()));
        }
        if image.names.is_empty() {
            render::line(&format!("Loaded image ID: {}", image.id));
        }
    }
}
