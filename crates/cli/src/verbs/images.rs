//! `lapstrake images`.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::SystemTime;

use lapstrake_engine::{ImageFilter, ImageSummary, Reference, rfc3339};
use serde_json::json;

use super::filter::{ListFilter, until};
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::render;
use crate::table::{Column, ago};

/// List the images, those first that were built last.
#[derive(Debug, clap::Args)]
pub(crate) struct Images {
    /// Only images of this name; with a tag or without, * and ? stand for what isn't a /.
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<String>,
    /// Only images to which this applies: dangling=true or false, label=KEY, label=KEY=VALUE,
    /// before=IMAGE, since=IMAGE (built before or after that one), reference=PATTERN, or until=TIME.
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<ListFilter>,
    /// Print ids alone, each once. --quiet does too.
    #[arg(short = 'q')]
    ids: bool,
    /// Print the digests of manifests, or of the indexes that led to them.
    #[arg(long)]
    digests: bool,
    /// Print ids and digests whole.
    #[arg(long)]
    no_trunc: bool,
    /// List all images; it is done without this too, for no image is only a step to another.
    #[arg(short, long)]
    all: bool,
}

impl Images {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode> {
        let now = SystemTime::now();
        let images = context.read()?.list_images(&self.which(now)?)?;
        if context.json {
            images.iter().for_each(print_object);
        } else if self.ids || context.quiet {
            self.print_ids(&images);
        } else {
            self.print_table(&images, now);
        }
        Ok(ExitCode::SUCCESS)
    }

    fn which(&self, now: SystemTime) -> Result<ImageFilter> {
        let mut which = ImageFilter::default();
        which.references.extend(self.name.clone());
        for filter in &self.filter {
            match filter {
                ListFilter::Dangling(wanted)
                    if which.dangling.is_some_and(|was| was != *wanted) =>
                {
                    return Err(Failure::Contradiction("dangling=true", "dangling=false"));
                }
                ListFilter::Dangling(wanted) => which.dangling = Some(*wanted),
                ListFilter::Label(label) => which.labels.push(label.clone()),
                ListFilter::Before(image) => which.before.push(image.clone()),
                ListFilter::Since(image) => which.since.push(image.clone()),
                ListFilter::Reference(pattern) => which.references.push(pattern.clone()),
                ListFilter::Until(_) if which.until.is_some() => return Err(Failure::SeveralTimes),
                ListFilter::Until(time) => which.until = Some(until(time, now)?),
            }
        }
        Ok(which)
    }

    fn print_ids(&self, images: &[ImageSummary]) {
        let mut seen = BTreeSet::new();
        for image in images.iter().filter(|image| seen.insert(&image.id)) {
            render::line(&self.id(image));
        }
    }

    fn id(&self, image: &ImageSummary) -> String {
        if self.no_trunc {
            image.id.to_string()
        } else {
            image.id.hex()[..12].to_owned()
        }
    }

    fn print_table(&self, images: &[ImageSummary], now: SystemTime) {
        let mut columns = vec![Column::long("REPOSITORY", 12), Column::long("TAG", 6)];
        if self.digests {
            columns.push(Column::text("DIGEST"));
        }
        columns.extend([
            Column::text("IMAGE ID"),
            Column::text("CREATED"),
            Column::number("SIZE"),
            Column::number("SHARED"),
        ]);
        let rows: Vec<_> = images.iter().map(|image| self.row(image, now)).collect();
        render::table(&columns, &rows);
    }

    fn row(&self, image: &ImageSummary, now: SystemTime) -> Vec<String> {
        let none = || "<none>".to_owned();
        let name = image.reference.parse::<Reference>();
        let mut row = match &name {
            Ok(name) => {
                let tag = name.tag().map(ToString::to_string);
                vec![name.repo().familiar(), tag.unwrap_or_else(none)]
            }
            Err(_) => vec![image.reference.clone(), none()],
        };
        if self.digests {
            let digest = &image.target;
            row.push(if self.no_trunc {
                digest.to_string()
            } else {
                format!("sha256:{}", &digest.hex()[..12])
            });
        }
        row.extend([
            self.id(image),
            ago(image.created, now),
            render::bytes(image.bytes),
            render::bytes(image.shared_bytes),
        ]);
        row
    }
}

fn print_object(image: &ImageSummary) {
    let name = image.reference.parse::<Reference>().ok();
    let tag = name.as_ref().and_then(Reference::tag);
    render::json(&json!({
        "reference": image.reference,
        "repository": name.as_ref().map(|name| name.repo().to_string()),
        "tag": tag.map(ToString::to_string),
        "id": image.id, "manifest": image.manifest, "digest": image.target,
        "created": image.created.map(rfc3339), "labels": image.labels,
        "layers": image.layers, "bytes": image.bytes, "shared_bytes": image.shared_bytes,
    }));
}
