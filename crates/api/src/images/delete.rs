//! Taking names away, and images with their last.

use std::collections::BTreeSet;
use std::time::SystemTime;

use lapstrake_bridge::blocking;
use lapstrake_engine::{IfUsed, Removed};
use serde_json::{Value, json};

use crate::answer::{self, Answered};
use crate::call::Call;
use crate::error::{self, Failure};
use crate::images::{find, name};

/// `DELETE /images/NAME`.
pub(super) async fn delete(call: Call, wanted: String) -> Answered {
    let named = name::here(&wanted)?;
    let force = call.query.flag("force");
    let running = running(&call);
    let runs = |container: &str| running.contains(container);
    if force {
        refuse_running(&call, &wanted, runs).await?;
    }
    let (engine, running) = (call.daemon.engine.clone(), running.clone());
    let removing = move || {
        let if_used = if force {
            IfUsed::TakeNames { running: &running }
        } else {
            IfUsed::Refuse
        };
        let removed = engine.remove_images(&[named], if_used, SystemTime::now())?;
        // Whoever removes an image wants its space.
        engine.empty_trash()?;
        Ok::<_, lapstrake_engine::Error>(removed)
    };
    let removed = blocking(removing).await?;
    let removed = removed.map_err(|error| error::of_removal(error, &wanted, runs))?;
    answer::ok(&told(&removed))
}

/// The containers that run.
fn running(call: &Call) -> BTreeSet<String> {
    let records = call.daemon.containers.records().into_iter();
    let running = records.filter(|record| record.state.phase.has_process());
    running.map(|record| record.id).collect()
}

/// An image that is called by its id and that a running container uses is not removed, even by force.
async fn refuse_running(
    call: &Call,
    wanted: &str,
    runs: impl Fn(&str) -> bool,
) -> Result<(), Failure> {
    let (engine, name) = (call.daemon.engine.clone(), wanted.to_owned());
    let image = blocking(move || find(&engine, &name)).await??;
    let hex = wanted.strip_prefix("sha256:").unwrap_or(wanted);
    let user = image.writables.iter().find(|user| runs(user));
    match user {
        Some(user) if image.id.hex().starts_with(hex) => Err(Failure::conflict(format!(
            "conflict: unable to delete {} (cannot be forced) - image is being used by running container {}",
            &image.id.hex()[..12],
            &user[..user.len().min(12)]
        ))),
        _ => Ok(()),
    }
}

/// What is gone: names, then images, each with its layers.
pub(super) fn told(removed: &Removed) -> Vec<Value> {
    let names = removed
        .names
        .iter()
        .filter(|name| !lapstrake_engine::is_unnamed(name))
        .map(|name| json!({ "Untagged": name }));
    let deleted = removed.deleted.iter().flat_map(|image| {
        let image_itself = json!({ "Deleted": image.id });
        let layers = image.layers.iter().map(|layer| json!({ "Deleted": layer }));
        std::iter::once(image_itself).chain(layers)
    });
    names.chain(deleted).collect()
}
