//! What takes room, as `docker system df` shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lapstrake_bridge::blocking;
use serde_json::{Value, json};
use tokio::sync::{Mutex, OnceCell};

use crate::answer::{self, Answered};
use crate::call::Call;
use crate::containers;
use crate::daemon::Daemon;
use crate::error::Failure;
use crate::images::{Summary, summaries};
use crate::version::NEWEST;
use crate::volumes::{self, Volume};

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
    containers: Vec<Value>,
    volumes: Vec<Volume>,
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
        let mut images = summaries(&daemon.engine, NEWEST)?;
        let sizes: BTreeMap<_, _> = (images.iter())
            .map(|image| (image.id.clone(), image.size))
            .collect();
        let records = daemon.containers.records();
        let mut users: BTreeMap<_, i64> = BTreeMap::new();
        for record in &records {
            *users.entry(&record.image).or_default() += 1;
        }
        for image in &mut images {
            image.containers = users.get(&image.id).copied().unwrap_or_default();
        }
        Ok::<_, Failure>(Usage {
            images,
            layers: daemon.engine.layer_bytes()?,
            containers: containers::summaries(&daemon, &sizes),
            volumes: volumes::with_usage(&daemon),
        })
    };
    Ok(Arc::new(blocking(reckon).await??))
}

/// `GET /system/df`.
pub(super) async fn df(call: Call) -> Answered {
    let kinds: BTreeSet<_> = call.query.all("type").map(str::to_owned).collect();
    let known = ["container", "image", "volume", "build-cache"];
    if let Some(other) = kinds.iter().find(|kind| !known.contains(&&***kind)) {
        return Err(Failure::invalid(format!("unknown object type: {other}")));
    }
    let gated = call.version.from(1, 42);
    let wants = |kind: &str| !gated || kinds.is_empty() || kinds.contains(kind);
    let usage = call.daemon.reckonings.usage(&call.daemon).await?;
    let part = |kind, value: Value| if wants(kind) { value } else { Value::Null };
    let mut document = json!({
        "LayersSize": if wants("image") { usage.layers } else { 0 },
        "Images": part("image", json!(usage.images)),
        "Containers": part("container", json!(usage.containers)),
        "Volumes": part("volume", json!(usage.volumes)),
        "BuildCache": part("build-cache", json!([])),
    });
    if !call.version.from(1, 44) {
        document["BuilderSize"] = json!(0);
    }
    answer::ok(&document)
}
