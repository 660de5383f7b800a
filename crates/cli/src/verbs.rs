//! Each verb: from what was typed to what the engine is asked, and its answer shown.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lapstrake_engine::{
    Access, Client, Doing, Engine, Error, IfUsed, Limits, Opening, Patience, Platform, Prune,
    PullOptions, Reference, RunOptions, Surroundings, Which,
};
use serde_json::json;

use crate::arguments::{Arguments, Pulling, Verb};
use crate::filter::Filter;
use crate::network::{self, Network};
use crate::progress::Progress;
use crate::{check, render, storage, surroundings, writable};

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The machine can't be asked.
    #[error(transparent)]
    Surroundings(#[from] std::io::Error),
    /// A filter with a time that is none.
    #[error(
        "until={0}: give a date (2026-11-24), a time (2026-11-24T07:00:00Z), seconds since 1970, or a duration (24h)"
    )]
    NoTime(String),
    /// More than one such filter.
    #[error("give until= only once")]
    SeveralTimes,
    /// What was asked of the storage makes no sense.
    #[error(transparent)]
    Storage(#[from] crate::storage::Error),
    /// The engine says.
    #[error(transparent)]
    Engine(#[from] Error),
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let around = surroundings::look(&arguments.root, arguments.run_dir.as_deref())?;
    if let Verb::Check { how } = &arguments.verb {
        // A store that can't be opened can still be checked.
        return check::run(&around, how, arguments.json);
    }
    if let Verb::FreeRemoved = arguments.verb {
        // Whoever owns the store has other things to do.
        lapstrake_engine::free_removed(&around.root, &around.run)?;
        return Ok(ExitCode::SUCCESS);
    }
    let storage = storage::request(&arguments.storage)?;
    // What can be known of a store is asked before there is one, too.
    let is_new = matches!(arguments.verb, Verb::Info) && !around.root.join("state").exists();
    let engine = if changes_the_store(&arguments.verb) || is_new {
        own(&around, PATIENCE)?
    } else {
        Engine::open(&around, Opening::ReadOnly)?
    };
    let engine = engine.with_storage(storage.clone());
    match &arguments.verb {
        Verb::Check { .. } | Verb::FreeRemoved => {}
        Verb::Create { how } => writable::create(&engine, how, arguments.json)?,
        Verb::Containers => writable::list(&engine, arguments.json)?,
        Verb::Diff { name } => writable::diff(&engine, name, arguments.json)?,
        Verb::Commit { how } => writable::commit(&engine, how, arguments.json)?,
        Verb::Resize { name, storage_opt } => {
            engine.resize_writable(name, writable::limit(storage_opt)?)?;
        }
        Verb::Rm { how } => writable::remove(&engine, &around, how, arguments.json)?,
        Verb::Pull { reference, how } => pull(&engine, reference, how, arguments.json)?,
        Verb::Images => images(&engine, arguments.json)?,
        Verb::Info => storage::show(&engine.storage()?, arguments.json),
        Verb::Rmi { images, force } => {
            let if_used = if *force {
                IfUsed::TakeNames
            } else {
                IfUsed::Refuse
            };
            let removed = engine.remove_images(images, if_used, SystemTime::now())?;
            engine.empty_trash()?;
            render::removed(&removed, Doing::It, arguments.json);
        }
        Verb::Prune {
            all,
            dry_run,
            filter,
        } => prune(&engine, *all, *dry_run, filter, arguments.json)?,
        Verb::Mount {
            reference,
            mountpoint,
            writable,
            storage_opt,
        } => {
            let writable = writable.as_deref();
            if let (Some(name), false) = (writable, storage_opt.is_empty()) {
                engine.create(reference, name, writable::limit(storage_opt)?)?;
            }
            mount(&engine, reference, mountpoint, writable, arguments.json)?;
        }
        Verb::Umount { mountpoint } => engine.unmount(&std::path::absolute(mountpoint)?)?,
        Verb::Run {
            reference,
            command,
            name,
            runtime,
            storage_opt,
            how,
        } => {
            let limit = writable::limit(storage_opt)?;
            if !engine.has_image(reference)? {
                pull(&engine, reference, how, arguments.json)?;
            }
            let name = name
                .clone()
                .unwrap_or_else(|| format!("run-{}", std::process::id()));
            let options = RunOptions {
                name,
                command: command.clone(),
                runtime: runtime.clone(),
                limit,
            };
            let bundle = engine.bundle(reference, &options)?;
            // Others may own the store while the command runs.
            drop(engine);
            let status = bundle.run();
            own(&around, PATIENCE_TO_CLEAN_UP)?
                .with_storage(storage)
                .discard(&bundle)?;
            writable::free_in_background(&around);
            let status = status?;
            // As shells do for a command that a signal ended.
            let code = status
                .code()
                .and_then(|code| u8::try_from(code).ok())
                .unwrap_or(128);
            return Ok(ExitCode::from(code));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// How long a command waits for another one that changes the same store.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// A command that gives up here leaves a mount and a writable layer.
const PATIENCE_TO_CLEAN_UP: Duration = Duration::from_secs(600);

/// Whether a verb needs the store for itself. `umount` does not: it changes the run directory,
/// which has a lock of its own.
fn changes_the_store(verb: &Verb) -> bool {
    match verb {
        Verb::Check { .. }
        | Verb::Containers
        | Verb::Diff { .. }
        | Verb::FreeRemoved
        | Verb::Images
        | Verb::Info
        | Verb::Umount { .. } => false,
        Verb::Commit { .. }
        | Verb::Create { .. }
        | Verb::Pull { .. }
        | Verb::Resize { .. }
        | Verb::Rm { .. }
        | Verb::Rmi { .. }
        | Verb::Prune { .. }
        | Verb::Mount { .. }
        | Verb::Run { .. } => true,
    }
}

pub(crate) fn own(around: &Surroundings, at_most: Duration) -> std::result::Result<Engine, Error> {
    let patience = Patience {
        at_most,
        tell: &mut |refusal| render::waiting(refusal, at_most),
    };
    Engine::open(around, Opening::Own(Some(patience)))
}

/// A client that reaches registries so.
pub(crate) fn client(network: &Network) -> Result<Client> {
    Ok(network::client(network).map_err(Error::from)?)
}

/// Where clients run.
pub(crate) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
}

fn pull(engine: &Engine, reference: &Reference, how: &Pulling, json: bool) -> Result<()> {
    let client = client(&how.network)?;
    let options = PullOptions {
        platform: how.platform.clone().unwrap_or_else(Platform::host),
        parallel: usize::from(how.parallel),
        limits: Limits::DEFAULT,
    };
    let progress = Arc::new(Progress::new(json));
    let runtime = runtime()?;
    let shown = Arc::clone(&progress);
    let pulled = runtime.block_on(engine.pull(&client, reference, &options, move |event| {
        shown.tell(&event)
    }))?;
    let (ready, durable) = (
        progress.millis(pulled.ready),
        progress.millis(pulled.durable),
    );
    if json {
        render::json(&json!({
            "event": "pulled", "reference": pulled.image.reference, "id": pulled.image.config,
            "manifest": pulled.image.manifest, "fetched_bytes": pulled.fetched_bytes,
            "tar_bytes": pulled.tar_bytes, "ready_ms": ready, "durable_ms": durable,
        }));
    } else {
        eprintln!(
            "{}: {} fetched, {} of layers; usable after {:.2} s, on disk after {:.2} s",
            reference.familiar(),
            render::bytes(pulled.fetched_bytes),
            render::bytes(pulled.tar_bytes),
            ready / 1e3,
            durable / 1e3,
        );
        render::line(&pulled.image.config.to_string());
    }
    Ok(())
}

fn prune(engine: &Engine, all: bool, dry_run: bool, filters: &[Filter], json: bool) -> Result<()> {
    let now = SystemTime::now();
    let mut prune = Prune {
        which: if all { Which::Unused } else { Which::Dangling },
        labels: Vec::new(),
        not_labels: Vec::new(),
        until: None,
    };
    for filter in filters {
        match filter {
            Filter::Label(label) => prune.labels.push(label.clone()),
            Filter::NotLabel(label) => prune.not_labels.push(label.clone()),
            Filter::Until(_) if prune.until.is_some() => return Err(Failure::SeveralTimes),
            Filter::Until(time) => {
                let until = lapstrake_engine::until(time, now);
                prune.until = Some(until.ok_or_else(|| Failure::NoTime(time.clone()))?);
            }
        }
    }
    let doing = if dry_run { Doing::Nothing } else { Doing::It };
    let removed = engine.prune(&prune, doing, now)?;
    if doing == Doing::It {
        engine.empty_trash()?;
    }
    render::removed(&removed, doing, json);
    Ok(())
}

fn images(engine: &Engine, json: bool) -> Result<()> {
    let images = engine.images()?;
    if !json {
        render::images(&images);
        return Ok(());
    }
    for image in images {
        render::json(&json!({
            "reference": image.reference, "id": image.id, "manifest": image.manifest,
            "layers": image.layers, "bytes": image.bytes,
        }));
    }
    Ok(())
}

fn mount(
    engine: &Engine,
    reference: &Reference,
    at: &Path,
    writable: Option<&str>,
    json: bool,
) -> Result<()> {
    let access = writable.map_or(Access::ReadOnly, |name| Access::Writable(name.to_owned()));
    let root = engine.mount(reference, &std::path::absolute(at)?, &access)?;
    let millis = root.took.as_secs_f64() * 1e3;
    if json {
        render::json(&json!({
            "mountpoint": root.target, "fresh": root.fresh, "shared": root.shared, "mount_ms": millis,
        }));
    } else {
        eprintln!(
            "{} layers mounted, {} shared, in {millis:.1} ms",
            root.fresh, root.shared
        );
    }
    Ok(())
}
