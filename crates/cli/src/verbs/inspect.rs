//! `lapstrake inspect`.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use lapstrake_engine::{
    Engine, Error, ImageDetails, ImageName, LayerDetails, LayerState, WritableDetails, rfc3339,
};
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::render;

/// Show all that is known of images and writable layers, as a JSON array with Docker's names where Docker
/// has one, and the rest under "Lapstrake".
#[derive(Debug, clap::Args)]
pub(crate) struct Inspect {
    /// Writable layers by name; images by name, id or its beginning.
    #[arg(required = true)]
    names: Vec<String>,
    /// Look for only one kind. Without this, a writable layer comes before an image.
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    kind: Option<Kind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    Image,
    Container,
}

impl Inspect {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode> {
        let engine = context.read()?;
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for name in &self.names {
            match self.look(&engine, name) {
                Ok(value) => found.push(value),
                Err(failure) => missing.push(failure),
            }
        }
        // What was found is shown also if something else was not.
        render::document(&Value::Array(found));
        let last = missing.pop();
        for failure in &missing {
            render::error(failure, context.json);
        }
        last.map_or(Ok(ExitCode::SUCCESS), Err)
    }

    fn look(&self, engine: &Engine, name: &str) -> Result<Value> {
        if self.kind != Some(Kind::Image)
            && let Some(layer) = engine.inspect_writable(name)?
        {
            return Ok(writable(&layer, engine.root()));
        }
        if self.kind == Some(Kind::Container) {
            return Err(Failure::NoWritable(name.to_owned()));
        }
        let image: ImageName = name.parse().map_err(Error::Name)?;
        Ok(self::image(&engine.inspect_image(&image)?))
    }
}

fn image(image: &ImageDetails) -> Value {
    let config = &image.config;
    let size: u64 = (image.layers.iter())
        .filter_map(|layer| layer.record.as_ref())
        .map(|record| record.tar_len)
        .sum();
    let last = config.history.last();
    json!({
        "Id": image.id,
        "RepoTags": image.tags,
        "RepoDigests": image.digests,
        "Parent": "",
        "Comment": last.and_then(|step| step.comment.as_deref()).unwrap_or_default(),
        "Created": config.created,
        "DockerVersion": config.docker_version.as_deref().unwrap_or_default(),
        "Author": config.author.as_deref().unwrap_or_default(),
        "Config": config.config,
        "Architecture": config.platform.architecture,
        "Variant": config.platform.variant,
        "Os": config.platform.os,
        "Size": size,
        "RootFS": {
            "Type": "layers",
            "Layers": image.layers.iter().map(|layer| &layer.diff_id).collect::<Vec<_>>(),
        },
        "Lapstrake": {
            "Manifest": image.manifest,
            "WritableLayers": image.writables,
            "DiskBytes": image.layers.iter().map(|layer| layer.held.bytes).sum::<u64>(),
            "Layers": image.layers.iter().map(layer).collect::<Vec<_>>(),
        },
    })
}

fn layer(layer: &LayerDetails) -> Value {
    let (record, files) = (layer.record.as_ref(), layer.files.as_ref());
    let sources = layer.sources.iter().map(|source| {
        json!({
            "Repository": source.repository, "Blob": source.blob, "Bytes": source.blob_len,
            "MediaType": source.media_type,
        })
    });
    json!({
        "DiffId": layer.diff_id,
        "ChainId": layer.chain_id,
        "State": match layer.state() {
            Some(LayerState::Proved) => "proved",
            Some(LayerState::Present) => "present",
            Some(LayerState::Doubtful) => "doubtful",
            None => "missing",
        },
        "TarBytes": record.map(|record| record.tar_len),
        "DataBytes": record.map(|record| record.data_len),
        "DiskBytes": layer.held.bytes,
        "Inodes": layer.held.inodes,
        "Mounted": layer.mounted,
        "Files": files.map(|files| json!({
            "Data": files.data, "Skeleton": files.skeleton, "Spans": files.spans,
            "Index": layer.index,
        })),
        "Sources": sources.collect::<Vec<_>>(),
    })
}

fn writable(layer: &WritableDetails, root: &Path) -> Value {
    let (record, usage) = (&layer.record, layer.usage);
    let mounted = !layer.mounted_at.is_empty();
    json!({
        "Id": record.name,
        "Name": format!("/{}", record.name),
        "Created": rfc3339(UNIX_EPOCH + Duration::from_secs(record.created)),
        "Image": record.image.config,
        "Driver": record.driver,
        "GraphDriver": {
            "Name": record.driver,
            "Data": { "Room": layer.room, "Root": root },
        },
        "State": { "Status": if mounted { "mounted" } else { "idle" } },
        "Mounts": layer.mounted_at,
        "SizeRw": usage.map(|usage| usage.bytes),
        "Config": { "Image": record.image.reference },
        "HostConfig": {
            "StorageOpt": {
                "size": usage.and_then(|usage| usage.limit.bytes),
                "inodes": usage.and_then(|usage| usage.limit.inodes),
            },
        },
        "Lapstrake": {
            "Manifest": record.image.manifest,
            "InodesRw": usage.and_then(|usage| usage.inodes),
        },
    })
}
