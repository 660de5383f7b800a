//! What takes room, as `docker system df` shows it.

use std::collections::BTreeSet;
use std::sync::Arc;

use lapstrake_bridge::blocking;
use serde_json::{Value, json};
use tokio::sync::{Mutex, OnceCell};

use crate::answer::{self, Answered};
use crate::call::Call;
use crate::daemon::Daemon;
use crate::error::Failure;
use crate::images::{Summary, summaries};
use crate::version::NEWEST;

/// One reckoning, and who waits for it.
type Reckoning = Arc<OnceCell<Arc<Usage>>>;

/// Reckonings that go on. Whoever asks while one goes on shares it; whoever asks later gets a new one.
#[derive(Debug, Default)]
pub(crate) struct Reckonings(Mutex<Option<Reckoning>>);

/// What takes room.
#[derive(Debug)]
struct Usage {
    images: Vec<Summary>,
    layers: u64,
}

impl Reckonings {
    async fn usage(&self, daemon: &Arc<Daemon>) -> Result<Arc<Usage>, Failure> {
        let mine = {
            let mut current = self.0.lock().await;
            Arc::clone(current.get_or_insert_with(Reckoning::default))
        };
        let asking = Arc::clone(daemon);
        let usage = mine.get_or_try_init(move || reckon(asking)).await;
        let usage = usage.map(Arc::clone);
        let mut current = self.0.lock().await;
        if current.as_ref().is_some_and(|one| Arc::ptr_eq(one, &mine)) {
            *current = None;
        }
        usage
    }
}

async fn reckon(daemon: Arc<Daemon>) -> Result<Arc<Usage>, Failure> {
    let reckon = move || {
        Ok::<_, Failure>(Usage {
            images: summaries(&daemon.engine, NEWEST)?,
            layers: daemon.engine.layer_bytes()?,
        })
    };
    Ok(Arc::new(blocking(reckon).await??))
}

/// `GET /system/df`.
pub(super) async fn df(call: Call) -> Answered {
    let kinds: BTreeSet<_> = call.query.all("type").collect();
    let known = ["container", "image", "volume", "build-cache"];
    if let Some(other) = kinds.iter().find(|kind| !known.contains(kind)) {
        return Err(Failure::invalid(format!("unknown object type: {other}")));
    }
    let gated = call.version.from(1, 42);
    let wants = |kind| !gated || kinds.is_empty() || kinds.contains(kind);
    let mut document = json!({
        "LayersSize": 0, "Images": null, "Containers": null, "Volumes": null, "BuildCache": null,
    });
    let (images, containers) = (wants("image"), wants("container"));
    let (volumes, cache) = (wants("volume"), wants("build-cache"));
    let usage = call.daemon.reckonings.usage(&call.daemon).await?;
    if images {
        document["LayersSize"] = json!(usage.layers);
        document["Images"] = listed(&usage.images);
    }
    for (is_wanted, part) in [
        (containers, "Containers"),
        (volumes, "Volumes"),
        (cache, "BuildCache"),
    ] {
        if is_wanted {
            document[part] = json!([]);
        }
    }
    if !call.version.from(1, 44) {
        document["BuilderSize"] = json!(0);
    }
    answer::ok(&document)
}

fn listed(images: &[Summary]) -> Value {
    let images = images.iter().map(|image| Summary {
        containers: 0,
        ..image.clone()
    });
    json!(images.collect::<Vec<_>>())
}
