//! Results and errors as text: results on standard output, all else on standard error.

use std::io::{self, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use lapstrake_engine::{Doing, Removed, WritableSummary, rfc3339};

use crate::context::Context;
use crate::failure::Failure;
use crate::table::{self, Column};

/// What standard output refused first.
static REFUSED: Mutex<Option<io::Error>> = Mutex::new(None);

fn put(text: &str) {
    put_as_it_is(&format!("{text}\n"));
}

/// Prints text that ends its lines itself.
pub(crate) fn put_as_it_is(text: &str) {
    if let Err(error) = io::stdout().lock().write_all(text.as_bytes()) {
        let mut refused = REFUSED.lock().unwrap_or_else(PoisonError::into_inner);
        refused.get_or_insert(error);
    }
}

/// Prints one JSON object.
pub(crate) fn json(value: &serde_json::Value) {
    put(&value.to_string());
}

/// Prints a JSON document for people, on many lines.
pub(crate) fn document(value: &serde_json::Value) {
    put(&format!("{value:#}"));
}

/// Prints a line.
pub(crate) fn line(text: &str) {
    put(text);
}

/// Whether all results went out. A command goes on without a reader, but does not succeed.
///
/// # Errors
/// What standard output refused first.
pub(crate) fn finish() -> io::Result<()> {
    let flushed = io::stdout().lock().flush();
    match REFUSED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take()
    {
        Some(refused) => Err(refused),
        None => flushed,
    }
}

/// Tells a person, on standard error. If nobody listens, that is no failure.
pub(crate) fn say(text: &str) {
    // In one piece, so that lines of several processes stay lines.
    drop(io::stderr().write_all(format!("{text}\n").as_bytes()));
}

/// Prints what went wrong.
pub(crate) fn error(failure: &Failure, as_json: bool) {
    if as_json {
        error_object(&failure.to_string(), failure.exit_code(), failure.class());
    } else {
        say(&format!("lapstrake: {failure}"));
    }
}

/// Prints what went wrong, as an object.
pub(crate) fn error_object(text: &str, code: u8, class: &str) {
    let object = serde_json::json!({ "error": text, "code": code, "class": class });
    say(&object.to_string());
}

/// Prints a table, as wide as it may be.
pub(crate) fn table(columns: &[Column], rows: &[Vec<String>]) {
    for text in table::lines(columns, rows, table::width()) {
        put(&text);
    }
}

/// Prints what was removed, or would be.
pub(crate) fn removed(removed: &Removed, doing: Doing, context: &Context) {
    let dry_run = doing == Doing::Nothing;
    if context.json {
        json(&serde_json::json!({
            "dry_run": dry_run, "names": removed.names, "images": removed.images,
            "layers": removed.layers, "bytes": removed.bytes,
        }));
        return;
    }
    let (untag, delete, free) = if dry_run {
        ("would untag", "would delete", "would free")
    } else {
        ("untagged", "deleted", "freed")
    };
    for name in &removed.names {
        put(&format!("{untag}: {name}"));
    }
    for id in &removed.images {
        put(&format!("{delete}: {id}"));
    }
    context.say(&format!(
        "{free}: {} in {} layers",
        bytes(removed.bytes),
        removed.layers
    ));
}

/// Prints what of a kind would go.
pub(crate) fn would_go(kind: &str, names: &[String], freed: u64, context: &Context) {
    if context.json {
        json(&serde_json::json!({
            "dry_run": true, "kind": kind, "names": names, "bytes": freed,
        }));
        return;
    }
    for name in names {
        put(&format!("would remove {kind}: {name}"));
    }
    context.say(&format!("would free: {}", bytes(freed)));
}

/// Prints the list of writable layers.
pub(crate) fn writables(layers: &[WritableSummary]) {
    let width = |of: fn(&WritableSummary) -> usize, least: usize| {
        layers.iter().map(of).max().unwrap_or(0).max(least)
    };
    let name = width(|layer| layer.record.name.len(), 4);
    let image = width(|layer| layer.record.image.reference.len(), 5);
    put(&format!(
        "{:name$}  {:image$}  {:20}  {:7}  {:>9}  {:>8}",
        "NAME", "IMAGE", "CREATED", "STATE", "SIZE", "INODES"
    ));
    for layer in layers {
        let size = layer
            .usage
            .map_or("-".to_owned(), |usage| bytes(usage.bytes));
        let inodes = layer.usage.and_then(|usage| usage.inodes);
        put(&format!(
            "{:name$}  {:image$}  {:20}  {:7}  {size:>9}  {:>8}",
            layer.record.name,
            layer.record.image.reference,
            created(layer),
            if layer.mounted { "mounted" } else { "idle" },
            inodes.map_or("-".to_owned(), |inodes| inodes.to_string()),
        ));
    }
}

/// When a writable layer was made, as text.
pub(crate) fn created(layer: &WritableSummary) -> String {
    rfc3339(UNIX_EPOCH + Duration::from_secs(layer.record.created))
}

/// A size in decimal units with at most four digits, as Docker shows sizes.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let (mut whole, mut rest, mut unit) = (count, 0, 0);
    while whole >= 1000 && unit + 1 < UNITS.len() {
        rest = whole % 1000;
        whole /= 1000;
        unit += 1;
    }
    if unit == 0 {
        format!("{whole}B")
    } else {
        format!("{whole}.{}{}", rest / 100, UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (count, text) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1.0kB"),
            (1_060_000_000, "1.0GB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }
}
