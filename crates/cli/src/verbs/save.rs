//! `lapstrake save`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use lapstrake_engine::{ImageName, SaveAs, SaveEvent, Saved, Target};
use serde_json::json;

use crate::context::Context;
use crate::failure::{Failure, Result};
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
    pub(crate) fn run(&self, context: &Context<'_>) -> Result<ExitCode> {
        let what = match (self.format, &self.output) {
            (Format::Archive, output) => SaveAs::Archive(output::target(output.as_deref())?),
            (Format::OciDir, Some(path)) if path.as_os_str() != "-" => SaveAs::Directory(path),
            (Format::OciDir, _) => return Err(Failure::NoDirectory),
        };
        let bar = Bar::default();
        let saved = context
            .read()?
            .save(&self.images, &what, &|event| bar.tell(&event));
        bar.clear();
        let is_stream = matches!(what, SaveAs::Archive(Target::Stream(_)));
        output::done(saved, |saved| tell(&saved, is_stream, context.json))
    }
}

fn tell(saved: &Saved, is_stream: bool, as_json: bool) {
    // There, the archive is the result.
    if as_json && !is_stream {
        for image in &saved.images {
            let names = image.names.iter().map(ToString::to_string);
            render::json(&json!({
                "id": image.id, "names": names.collect::<Vec<_>>(), "manifest": image.manifest,
                "same_manifest": image.same_manifest,
            }));
        }
        render::json(&json!({"layers": saved.layers, "bytes": saved.bytes}));
        return;
    }
    let count = |count: usize, one: &str| match count {
        1 => format!("1 {one}"),
        count => format!("{count} {one}s"),
    };
    eprintln!(
        "saved {}: {} in {}",
        count(saved.images.len(), "image"),
        render::bytes(saved.bytes),
        count(saved.layers, "layer"),
    );
}

/// How much was written, on a terminal.
#[derive(Default)]
struct Bar(Mutex<Option<ProgressBar>>);

impl Bar {
    fn tell(&self, event: &SaveEvent) {
        let mut bar = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (event, &*bar) {
            (SaveEvent::Started { bytes }, _) => {
                let style = ProgressStyle::with_template(
                    "saving {bar:30} {bytes:>10}/{total_bytes} {bytes_per_sec}",
                );
                let new = ProgressBar::new(*bytes);
                *bar = Some(style.map_or(new.clone(), |style| new.with_style(style)));
            }
            (SaveEvent::Written { bytes }, Some(bar)) => bar.inc(*bytes),
            (SaveEvent::Written { .. } | SaveEvent::Layer { .. }, _) => {}
        }
    }

    fn clear(&self) {
        let mut bar = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = bar.take() {
            bar.finish_and_clear();
        }
    }
}
