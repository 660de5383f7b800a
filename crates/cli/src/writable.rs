//! The verbs of writable layers.

use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lapstrake_engine::{
    ChangeKind, CommitOptions, Engine, Error, RoomLimit, Surroundings, WritableSummary, rfc3339,
};
use serde_json::json;

use crate::arguments::{Committing, Creating, Removing};
use crate::render;

type Result<T> = std::result::Result<T, Error>;

pub(crate) fn create(engine: &Engine, how: &Creating, as_json: bool) -> Result<()> {
    engine.create(&how.reference, &how.name, limit(&how.storage_opt)?)?;
    if as_json {
        render::json(&json!({"name": how.name}));
    } else {
        render::line(&how.name);
    }
    Ok(())
}

/// The limit that storage options say.
pub(crate) fn limit(options: &[String]) -> Result<RoomLimit> {
    Ok(RoomLimit::from_options(options.iter().map(String::as_str))?)
}

pub(crate) fn list(engine: &Engine, as_json: bool) -> Result<()> {
    let layers = engine.writables()?;
    if !as_json {
        render::writables(&layers);
        return Ok(());
    }
    for layer in &layers {
        let (record, usage) = (&layer.record, layer.usage);
        render::json(&json!({
            "name": record.name, "image": record.image.reference, "id": record.image.config,
            "manifest": record.image.manifest, "driver": record.driver,
            "created": created(layer), "mounted": layer.mounted,
            "bytes": usage.map(|usage| usage.bytes),
            "inodes": usage.and_then(|usage| usage.inodes),
            "limit_bytes": usage.and_then(|usage| usage.limit.bytes),
            "limit_inodes": usage.and_then(|usage| usage.limit.inodes),
        }));
    }
    Ok(())
}

/// When a layer was made, as text.
pub(crate) fn created(layer: &WritableSummary) -> String {
    rfc3339(UNIX_EPOCH + Duration::from_secs(layer.record.created))
}

pub(crate) fn diff(engine: &Engine, name: &str, as_json: bool) -> Result<()> {
    for change in engine.changes(name)?.list {
        let kind = match change.kind {
            ChangeKind::Modified => "C",
            ChangeKind::Added => "A",
            ChangeKind::Deleted => "D",
        };
        let path = format!("/{}", String::from_utf8_lossy(&change.path));
        if as_json {
            render::json(&json!({"kind": kind, "path": path}));
        } else {
            render::line(&format!("{kind} {path}"));
        }
    }
    Ok(())
}

pub(crate) fn commit(engine: &Engine, how: &Committing, as_json: bool) -> Result<()> {
    let options = CommitOptions {
        changes: how.change.clone(),
        author: how.author.clone(),
        message: how.message.clone(),
        now: SystemTime::now(),
    };
    let made = engine.commit(&how.name, &how.reference, &options)?;
    let layer = made.layer.as_ref();
    if as_json {
        render::json(&json!({
            "reference": made.image.reference, "id": made.image.config,
            "manifest": made.image.manifest, "layer": layer.map(|layer| &layer.diff_id),
            "layer_bytes": layer.map(|layer| layer.tar_len), "skipped_sockets": made.skipped.len(),
        }));
        return Ok(());
    }
    match layer {
        Some(layer) => eprintln!("a layer of {}", render::bytes(layer.tar_len)),
        None => eprintln!("nothing had changed: no layer was added"),
    }
    for path in &made.skipped {
        eprintln!("left out: the socket /{}", String::from_utf8_lossy(path));
    }
    render::line(&made.image.config.to_string());
    Ok(())
}

pub(crate) fn remove(
    engine: &Engine,
    around: &Surroundings,
    how: &Removing,
    as_json: bool,
) -> Result<()> {
    let mut failed = None;
    for name in &how.names {
        match engine.remove_writable(name) {
            Ok(()) if as_json => render::json(&json!({"removed": name})),
            Ok(()) => render::line(name),
            // The others go all the same; the last failure is the one that decides the exit code.
            Err(error) => {
                if let Some(before) = failed.replace(error) {
                    eprintln!("lapstrake: {before}");
                }
            }
        }
    }
    if how.wait {
        engine.settle()?;
    } else {
        free_in_background(around);
    }
    failed.map_or(Ok(()), Err)
}

/// Lets another process free what was removed, so that the caller need not wait. If it can't be
/// started, the next command frees it.
pub(crate) fn free_in_background(around: &Surroundings) {
    use std::os::unix::process::CommandExt as _;
    let Ok(program) = std::env::current_exe() else {
        return;
    };
    let child = Command::new(program)
        .arg("--root")
        .arg(&around.root)
        .arg("--run-dir")
        .arg(&around.run)
        .arg("free-removed")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A signal to the caller's group is not meant for it.
        .process_group(0)
        .spawn();
    drop(child);
}
