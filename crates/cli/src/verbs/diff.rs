//! `lapstrake diff`.

use std::process::ExitCode;

use lapstrake_engine::ChangeKind;
use serde_json::json;

use crate::context::Context;
use crate::failure::Result;
use crate::render;

/// List what a writable layer changed of its image: A added, C changed, D deleted.
#[derive(Debug, clap::Args)]
pub(crate) struct Diff {
    /// The writable layer.
    name: String,
}

impl Diff {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode> {
        for change in context.read()?.changes(&self.name)?.list {
            let kind = match change.kind {
                ChangeKind::Modified => "C",
                ChangeKind::Added => "A",
                ChangeKind::Deleted => "D",
            };
            let path = format!("/{}", String::from_utf8_lossy(&change.path));
            if context.json {
                render::json(&json!({"kind": kind, "path": path}));
            } else {
                render::line(&format!("{kind} {path}"));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
