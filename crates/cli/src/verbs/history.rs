//! `lapstrake history`.

use std::process::ExitCode;
use std::time::SystemTime;

use lapstrake_engine::{self as engine, ImageName, Step, parse_rfc3339};
use serde_json::json;

use crate::context::Context;
use crate::failure::Result;
use crate::render;
use crate::table::{Column, ago, elide, plain};

/// The most characters of a command that are shown.
const COMMAND: usize = 45;

/// Show how an image was built: its steps, the last first, and what their layers hold.
#[derive(Debug, clap::Args)]
pub(crate) struct History {
    /// The image: a name, or an id or its beginning.
    image: ImageName,
    /// Print commands, ids and times whole.
    #[arg(long)]
    no_trunc: bool,
    /// Print the ids of layers alone, the last first.
    #[arg(short = 'q')]
    ids: bool,
}

impl History {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode> {
        let history = context.read()?.history(&self.image)?;
        if context.json {
            history.steps.iter().for_each(print_object);
        } else if self.ids || context.quiet {
            for layer in history.steps.iter().filter_map(|step| step.layer.as_ref()) {
                render::line(&layer.to_string());
            }
        } else {
            self.print_table(&history);
        }
        Ok(ExitCode::SUCCESS)
    }

    fn print_table(&self, history: &engine::History) {
        let columns = [
            Column::text("IMAGE"),
            Column::text("CREATED"),
            if self.no_trunc {
                Column::text("CREATED BY")
            } else {
                Column::long("CREATED BY", 20)
            },
            Column::number("SIZE"),
            Column::long("COMMENT", 7),
        ];
        let now = SystemTime::now();
        let mut rows: Vec<_> = history
            .steps
            .iter()
            .map(|step| self.row(step, now))
            .collect();
        // As with Docker, the last step is the image; those below were never images here.
        if let Some(id) = rows.first_mut().and_then(|row| row.first_mut()) {
            *id = if self.no_trunc {
                history.id.to_string()
            } else {
                history.id.hex()[..12].to_owned()
            };
        }
        render::table(&columns, &rows);
    }

    fn row(&self, step: &Step, now: SystemTime) -> Vec<String> {
        let created = step.created.as_deref();
        let command = plain(&step.created_by);
        vec![
            "<missing>".to_owned(),
            if self.no_trunc {
                created.unwrap_or("-").to_owned()
            } else {
                ago(created.and_then(parse_rfc3339), now)
            },
            if self.no_trunc {
                command
            } else {
                elide(&command, COMMAND)
            },
            render::bytes(step.bytes),
            step.comment.clone(),
        ]
    }
}

fn print_object(step: &Step) {
    render::json(&json!({
        "created": step.created, "created_by": step.created_by, "comment": step.comment,
        "layer": step.layer, "bytes": step.bytes, "empty_layer": step.layer.is_none(),
    }));
}
