//! All that is known of an image.

use std::path::Path;

use lapstrake_bridge::blocking;
use lapstrake_engine::{Engine, Error, ImageDetails, LayerDetails};
use serde_json::{Map, Value, json};

use crate::answer::{self, Answered};
use crate::call::Call;
use crate::error::Failure;
use crate::images::{config, name};
use crate::version::Version;

/// `GET /images/NAME/json`.
pub(super) async fn inspect(call: Call, wanted: String) -> Answered {
    let engine = call.daemon.engine.clone();
    let details = blocking(move || find(&engine, &wanted)).await??;
    let fixed = crate::system::fixed(&call.daemon).await?;
    let driver = fixed.storage.choice.driver.as_str();
    answer::ok(&document(&details, driver, call.version))
}

/// An image, and Docker's words if it is not here.
pub(crate) fn find(engine: &Engine, wanted: &str) -> Result<ImageDetails, Failure> {
    let name = name::here(wanted)?;
    engine
        .inspect_image(name)
        .map_err(|error| told(error, wanted))
}

/// An error about an image that was asked for by this name.
pub(super) fn told(error: Error, wanted: &str) -> Failure {
    match error {
        Error::NoImage(_) | Error::Misspelt { .. } => name::no_such(wanted),
        error => error.into(),
    }
}

fn document(image: &ImageDetails, driver: &str, version: Version) -> Value {
    let config = &image.config;
    let size: u64 = image
        .layers
        .iter()
        .filter_map(|layer| layer.record.as_ref())
        .map(|record| record.tar_len)
        .sum();
    let last_comment = config.history.last().and_then(|step| step.comment.clone());
    let digests = image
        .digests
        .iter()
        .filter(|digest| !lapstrake_engine::is_unnamed(digest));
    let layers: Vec<_> = image.layers.iter().map(|layer| &layer.diff_id).collect();
    let layer_dirs = image.layers.iter().rev().filter_map(LayerDetails::dir);
    let mut document = json!({
        "Id": image.id,
        "RepoTags": image.tags,
        "RepoDigests": digests.collect::<Vec<_>>(),
        "Parent": "",
        "Comment": config.comment.clone().or(last_comment).unwrap_or_default(),
        "Created": config.created,
        "DockerVersion": config.docker_version.clone().unwrap_or_default(),
        "Author": config.author.clone().unwrap_or_default(),
        "Config": config::config(&config.config, version),
        "Architecture": config.platform.architecture,
        "Os": config.platform.os,
        "Size": size,
        "GraphDriver": { "Data": dirs(layer_dirs), "Name": driver },
        "RootFS": { "Type": "layers", "Layers": layers },
        "Metadata": { "LastTagTime": "0001-01-01T00:00:00Z" },
    });
    if let Some(variant) = &config.platform.variant {
        document["Variant"] = json!(variant);
    }
    if !version.from(1, 44) {
        document["VirtualSize"] = json!(size);
        document["Created"] = json!(config.created.clone().unwrap_or_default());
    }
    if !version.from(1, 45) {
        document["Container"] = json!("");
        document["ContainerConfig"] = config::config(&lapstrake_oci::Execution::default(), version);
    }
    document
}

/// Where the layers lie, given the highest first, as Docker's `LowerDir` has them. The name is another one: what is there is
/// a layer's files, not a tree that could be entered.
fn dirs<'a>(layers: impl Iterator<Item = &'a Path>) -> Map<String, Value> {
    let dirs: Vec<_> = layers.map(|dir| dir.display().to_string()).collect();
    let named = (!dirs.is_empty()).then(|| ("LayerDirs".to_owned(), json!(dirs.join(":"))));
    named.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_the_directories_of_its_layers_or_none_and_never_null() {
        for (layers, want) in [
            (&[][..], json!({})),
            (&["/l/1"], json!({"LayerDirs": "/l/1"})),
            (&["/l/2", "/l/1"], json!({"LayerDirs": "/l/2:/l/1"})),
        ] {
            let dirs = dirs(layers.iter().map(Path::new));
            assert_eq!(Value::Object(dirs), want);
        }
    }
}
