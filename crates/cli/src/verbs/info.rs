//! `lapstrake info`.

use std::process::ExitCode;

use lapstrake_engine::StorageInfo;
use serde_json::json;

use crate::context::Context;
use crate::failure::Result;
use crate::render;

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
        show(&engine.storage()?, context.json);
        Ok(ExitCode::SUCCESS)
    }
}

/// Prints what is used and why.
fn show(info: &StorageInfo, as_json: bool) {
    let choice = &info.choice;
    if as_json {
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
    render::line(&format!("Images: {}", info.images));
    render::line(&format!("Layers in use: {}", info.layers_in_use));
}
