//! Taking names away, and images with their last.

use std::time::SystemTime;

use lapstrake_bridge::blocking;
use lapstrake_engine::{IfUsed, Removed};
use serde_json::{Value, json};

use crate::answer::{self, Answered};
use crate::call::Call;
use crate::error;
use crate::images::name;

/// `DELETE /images/NAME`.
pub(super) async fn delete(call: Call, wanted: String) -> Answered {
    let named = name::here(&wanted)?;
    let if_used = if call.query.flag("force") {
        IfUsed::TakeNames
    } else {
        IfUsed::Refuse
    };
    let engine = call.daemon.engine.clone();
    let removing = move || engine.remove_images(&[named], if_used, SystemTime::now());
    let removed = blocking(removing).await?;
    let runs = |container: &str| {
        let record = call.daemon.containers.record(container);
        record.is_ok_and(|record| record.state.phase.has_process())
    };
    let removed = removed.map_err(|error| error::of_removal(error, &wanted, runs))?;
    answer::ok(&told(&removed))
}

/// What is gone: names, then images, each with its layers.
pub(super) fn told(removed: &Removed) -> Vec<Value> {
    let names = removed
        .names
        .iter()
        .filter(|name| !name.starts_with("localhost/unnamed@"))
        .map(|name| json!({ "Untagged": name }));
    let deleted = removed.deleted.iter().flat_map(|image| {
        let image_itself = json!({ "Deleted": image.id });
        let layers = image.layers.iter().map(|layer| json!({ "Deleted": layer }));
        std::iter::once(image_itself).chain(layers)
    });
    names.chain(deleted).collect()
}
