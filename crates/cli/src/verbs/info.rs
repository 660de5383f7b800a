//! `lapstrake info`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use lapstrake_engine::StorageInfo;
use serde_json::json;

use crate::context::Context;
use crate::failure::Result;
use crate::render;
use crate::surroundings::{self, Kernel};

/// Say which storage driver is used and why, and what else there is to know of the store.
#[derive(Debug, clap::Args)]
pub(crate) struct Info {}

impl Info {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode> {
        // What can be known of a store is asked before there is one, too.
        let engine = if context.around.root.join("state").exists() {
            context.read()?
        } else {
            context.own()?
        };
        let storage = engine.storage()?;
        // What the driver tried may have loaded modules: the kernel is asked after that.
        show(&storage, &surroundings::kernel()?, context);
        Ok(ExitCode::SUCCESS)
    }
}

/// Prints what is used and why.
fn show(info: &StorageInfo, kernel: &Kernel, context: &Context) {
    let choice = &info.choice;
    if context.json {
        let candidates = choice
            .candidates
            .iter()
            .map(|candidate| match &candidate.verdict {
                Ok(notes) => {
                    json!({ "driver": candidate.driver.as_str(), "works": true, "notes": notes })
                }
                Err(problem) => json!({
                    "driver": candidate.driver.as_str(), "works": false,
                    "why": problem.why, "instead": problem.instead,
                }),
            });
        let status = info.status.iter().map(|(name, value)| json!([name, value]));
        render::json(&json!({
            "Driver": choice.driver.as_str(), "DriverStatus": status.collect::<Vec<_>>(),
            "Why": choice.why, "Candidates": candidates.collect::<Vec<_>>(),
            "Notes": choice.notes, "OptionsWithoutEffect": info.without_effect,
            "KernelVersion": kernel.release, "KernelFeatures": features(kernel),
            "Images": info.images, "LayersInUse": info.layers_in_use,
        }));
        return;
    }
    render::line(&format!("Storage Driver: {}", choice.driver));
    for (name, value) in &info.status {
        render::line(&format!(" {name}: {value}"));
    }
    render::line(&format!(" Chosen because: {}", choice.why));
    for candidate in &choice.candidates {
        let notes = match &candidate.verdict {
            Ok(notes) if notes.is_empty() => "works".to_owned(),
            Ok(notes) => format!("works; {}", notes.join("; ")),
            Err(problem) => format!("does not work: {problem}"),
        };
        render::line(&format!(" {}: {notes}", candidate.driver));
    }
    for note in choice.notes.iter() {
        render::line(&format!(" Note: {note}"));
    }
    for option in &info.without_effect {
        render::line(&format!(" Option without effect: {option}"));
    }
    let features = features(kernel);
    let text = |has: bool| {
        let these = features.iter().filter(|(_, there)| **there == has);
        these.map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    };
    render::line(&format!("Kernel Version: {}", kernel.release));
    render::line(&format!(" Features: {}", text(true)));
    if !text(false).is_empty() {
        render::line(&format!(
            " Not there, or modules not loaded: {}",
            text(false)
        ));
    }
    render::line(&format!("Images: {}", info.images));
    render::line(&format!("Layers in use: {}", info.layers_in_use));
}

/// What of the kernel is of use here, and whether it is there.
fn features(kernel: &Kernel) -> BTreeMap<&'static str, bool> {
    let filesystem = |name: &str| kernel.filesystems.iter().any(|known| known == name);
    BTreeMap::from([
        ("EROFS", filesystem("erofs")),
        ("FUSE", filesystem("fuse") && kernel.has_fuse_device),
        ("loop devices", kernel.has_loop_devices),
        ("overlay", filesystem("overlay")),
    ])
}
