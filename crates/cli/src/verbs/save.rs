//! `lapstrake save`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use lapstrake_engine::{ImageName, SaveAs, Saved, Target};
use serde_json::json;

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::progress::Progress;
use crate::{output, render};

/// Save images as an archive, for `load` here or with Docker, podman or skopeo: Docker's form, which is an
/// OCI layout too.
#[derive(Debug, clap::Args)]
pub(crate) struct Save {
    /// Names, or ids or their beginnings. A name without a tag stands for all its tags.
    #[arg(required = true)]
    images: Vec<ImageName>,
    /// Where to; whole or not there. Standard output if nothing or - is given.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// An archive, or an OCI layout as a new directory.
    #[arg(long, value_enum, default_value_t = Format::Archive)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The names of podman and skopeo are understood: it is both.
    #[value(aliases = ["docker-archive", "oci-archive"])]
    Archive,
    OciDir,
}

impl Save {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode> {
        let what = match (self.format, &self.output) {
            (Format::Archive, output) => SaveAs::Archive(output::target(output.as_deref())?),
            (Format::OciDir, Some(path)) if path.as_os_str() != "-" => SaveAs::Directory(path),
            (Format::OciDir, _) => return Err(Failure::NoDirectory),
        };
        let is_stream = matches!(what, SaveAs::Archive(Target::Stream(_)));
        let progress = if is_stream {
            Progress::beside_a_stream(context)
        } else {
            Progress::new(context)
        };
        let saved = context
            .read()?
            .save(&self.images, &what, &|event| progress.tell(&event));
        progress.clear();
        output::done(saved, |saved| tell(&saved, is_stream, context))
    }
}

fn tell(saved: &Saved, is_stream: bool, context: &Context) {
    // There, the archive is the result.
    if context.json && !is_stream {
        for image in &saved.images {
            let names = image.names.iter().map(ToString::to_string);
            render::json(&json!({
                "event": "image", "id": image.id, "names": names.collect::<Vec<_>>(), "manifest": image.manifest,
                "same_manifest": image.same_manifest,
            }));
        }
        render::json(&json!({"event": "saved", "layers": saved.layers, "bytes": saved.bytes}));
        return;
    }
    let count = |count: usize, one: &str| match count {
        1 => format!("1 {one}"),
        count => format!("{count} {one}s"),
    };
    context.say(&format!(
        "saved {}: {} in {}",
        count(saved.images.len(), "image"),
        render::bytes(saved.bytes),
        count(saved.layers, "layer"),
    ));
}
