//! `lapstrake df`.

mod object;
mod tree;

use std::process::ExitCode;
use std::time::SystemTime;

use lapstrake_engine::{Area, ContainerUse, DiskUsage, Held};
use serde_json::json;

use crate::context::Context;
use crate::failure::Result;
use crate::render::{self, bytes};
use crate::table::Column;

/// Show what the store takes of the disk, and what pruning would free.
///
/// RECLAIMABLE is what pruning a kind would free: prune --all, docker container prune, docker volume prune
/// --all. Other writable layers are freed by rm alone, trash by itself.
#[derive(Debug, clap::Args)]
pub(crate) struct Df {
    /// Show who holds what: images and their layers, containers and what they wrote, volumes and who uses
    /// them, and the rest. What each has alone comes back when it goes; these add up to what du says.
    #[arg(long)]
    tree: bool,
}

/// A line of the table.
struct Row {
    kind: &'static str,
    total: Option<usize>,
    active: Option<usize>,
    held: Held,
    reclaimable: u64,
}

impl Df {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode> {
        let engine = context.read()?;
        let usage = engine.disk_usage(SystemTime::now())?;
        if self.tree {
            match context.json {
                true => render::json(&object::of(&usage, engine.root())),
                false => tree::print(&usage, engine.root()),
            }
            return Ok(ExitCode::SUCCESS);
        }
        let rows = rows(&usage);
        if context.json {
            rows.iter().for_each(print_object);
            return Ok(ExitCode::SUCCESS);
        }
        print_table(&rows);
        context.say(&format!(
            "prune would free {}, prune --all {}",
            bytes(usage.prunable),
            bytes(usage.prunable_all)
        ));
        Ok(ExitCode::SUCCESS)
    }
}

fn rows(usage: &DiskUsage) -> Vec<Row> {
    let in_use = usage.images.iter().filter(|image| image.is_active());
    let running = (usage.containers.iter()).filter(|container| container.phase.is_active());
    let idle = (usage.containers.iter()).filter(|container| !container.phase.is_active());
    let mounted = usage.writables.iter().filter(|layer| layer.mounted);
    let used = (usage.volumes.iter()).filter(|volume| !volume.containers.is_empty());
    let unused = (usage.volumes.iter()).filter(|volume| volume.containers.is_empty());
    let mut rows = vec![
        Row {
            kind: "images",
            total: Some(usage.images.len()),
            active: Some(in_use.count()),
            held: usage.content(),
            reclaimable: usage.prunable_all - usage.prunable_quarantine - usage.prunable_unfinished,
        },
        Row {
            kind: "containers",
            total: Some(usage.containers.len()),
            active: Some(running.count()),
            held: usage.contained(),
            reclaimable: Held::sum(idle.map(ContainerUse::alone)).bytes,
        },
        Row {
            kind: "writable layers",
            total: Some(usage.writables.len()),
            active: Some(mounted.count()),
            held: usage.written(),
            reclaimable: 0,
        },
        Row {
            kind: "volumes",
            total: Some(usage.volumes.len()),
            active: Some(used.count()),
            held: usage.in_volumes(),
            reclaimable: Held::sum(unused.map(|volume| volume.held)).bytes,
        },
    ];
    rows.extend(usage.areas.iter().map(|(area, held)| Row {
        kind: area.name(),
        total: None,
        active: None,
        held: *held,
        reclaimable: match area {
            Area::Quarantine => usage.prunable_quarantine,
            Area::Trash => held.bytes,
            Area::Staged => usage.prunable_unfinished,
            _ => 0,
        },
    }));
    rows.push(Row {
        kind: "unknown",
        total: None,
        active: None,
        held: usage.unexplained(),
        reclaimable: 0,
    });
    rows.push(Row {
        kind: "all",
        total: None,
        active: None,
        held: usage.total,
        reclaimable: rows.iter().map(|row| row.reclaimable).sum(),
    });
    rows
}

fn print_table(rows: &[Row]) {
    let columns = [
        Column::text("TYPE"),
        Column::number("TOTAL"),
        Column::number("ACTIVE"),
        Column::number("SIZE"),
        Column::number("INODES"),
        Column::number("RECLAIMABLE"),
    ];
    let count = |count: Option<usize>| count.map_or(String::new(), |count| count.to_string());
    let row = |row: &Row| {
        vec![
            row.kind.to_owned(),
            count(row.total),
            count(row.active),
            bytes(row.held.bytes),
            row.held.inodes.to_string(),
            bytes(row.reclaimable),
        ]
    };
    render::table(&columns, &rows.iter().map(row).collect::<Vec<_>>());
}

fn print_object(row: &Row) {
    render::json(&json!({
        "type": row.kind, "total": row.total, "active": row.active, "bytes": row.held.bytes,
        "inodes": row.held.inodes, "reclaimable": row.reclaimable,
    }));
}
