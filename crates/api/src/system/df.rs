//! What takes room, as `docker system df` shows it.

use std::collections::BTreeSet;
use std::sync::Arc;

use lapstrake_bridge::blocking;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::{Mutex, OnceCell};

use crate::answer::{self, Answered};
use crate::call::Call;
use crate::containers;
use crate::daemon::Daemon;
use crate::error::Failure;
use crate::images::summaries;
use crate::version::NEWEST;
use crate::volumes;

const KINDS: [&str; 4] = ["container", "image", "volume", "build-cache"];

/// What takes room of one kind, written once for all who ask.
#[derive(Debug)]
struct Part {
    list: Box<RawValue>,
    /// Of images, bytes of tar in all layers.
    layers: u64,
}

/// Reckonings that go on, for each kind one. Whoever asks while one goes on shares it; whoever asks later gets a new one.
#[derive(Debug, Default)]
pub(crate) struct Reckonings {
    images: Reckoning,
    containers: Reckoning,
    volumes: Reckoning,
}

/// One that goes on, and who waits for it.
#[derive(Debug, Default)]
struct Reckoning(Mutex<Option<Arc<OnceCell<Arc<Part>>>>>);

impl Reckoning {
    /// What takes room, if that is wanted.
    async fn part(
        &self,
        wanted: bool,
        daemon: &Arc<Daemon>,
        reckon: fn(&Daemon) -> Result<Part, Failure>,
    ) -> Result<Option<Arc<Part>>, Failure> {
        if !wanted {
            return Ok(None);
        }
        let mine = {
            let mut current = self.0.lock().await;
            Arc::clone(current.get_or_insert_default())
        };
        let asking = Arc::clone(daemon);
        let reckoned = || async move {
            let part = blocking(move || reckon(&asking)).await??;
            Ok::<_, Failure>(Arc::new(part))
        };
        let part = mine.get_or_try_init(reckoned).await.map(Arc::clone);
        let mut current = self.0.lock().await;
        if current.as_ref().is_some_and(|one| Arc::ptr_eq(one, &mine)) {
            *current = None;
        }
        part.map(Some)
    }
}

fn images(daemon: &Daemon) -> Result<Part, Failure> {
    let mut images = summaries(&daemon.engine, NEWEST)?;
    let users = daemon.containers.image_users();
    for image in &mut images {
        let users = users.get(&image.id).copied().unwrap_or_default();
        image.containers = i64::try_from(users).unwrap_or(i64::MAX);
    }
    Ok(Part {
        list: written(&images)?,
        layers: daemon.engine.layer_bytes()?,
    })
}

fn containers(daemon: &Daemon) -> Result<Part, Failure> {
    let list = containers::with_sizes(daemon)?;
    Ok(Part { list, layers: 0 })
}

fn volumes(daemon: &Daemon) -> Result<Part, Failure> {
    let list = written(&volumes::with_usage(daemon))?;
    Ok(Part { list, layers: 0 })
}

fn written(list: &impl Serialize) -> Result<Box<RawValue>, Failure> {
    to_raw_value(list)
        .map_err(|error| Failure::internal(format!("cannot write the answer: {error}")))
}

/// As Docker writes it; what was not asked for is null.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Answer<'a> {
    layers_size: u64,
    images: Option<&'a RawValue>,
    containers: Option<&'a RawValue>,
    volumes: Option<&'a RawValue>,
    build_cache: Option<[(); 0]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    builder_size: Option<u64>,
}

/// `GET /system/df`.
pub(super) async fn df(call: Call) -> Answered {
    let kinds: BTreeSet<_> = call.query.all("type").map(str::to_owned).collect();
    if let Some(other) = kinds.iter().find(|kind| !KINDS.contains(&&***kind)) {
        return Err(Failure::invalid(format!("unknown object type: {other}")));
    }
    let gated = call.version.from(1, 42);
    let wants = |kind: &str| !gated || kinds.is_empty() || kinds.contains(kind);
    let (daemon, all) = (&call.daemon, &call.daemon.reckonings);
    let (images, containers, volumes) = tokio::try_join!(
        all.images.part(wants("image"), daemon, images),
        all.containers.part(wants("container"), daemon, containers),
        all.volumes.part(wants("volume"), daemon, volumes),
    )?;
    answer::ok(&Answer {
        layers_size: images.as_ref().map_or(0, |part| part.layers),
        images: images.as_ref().map(|part| &*part.list),
        containers: containers.as_ref().map(|part| &*part.list),
        volumes: volumes.as_ref().map(|part| &*part.list),
        build_cache: wants("build-cache").then_some([]),
        builder_size: (!call.version.from(1, 44)).then_some(0),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::asking::Asked;

    #[tokio::test]
    async fn only_what_is_asked_for_is_there() {
        let asked = Asked::new();
        let (none, nothing) = (json!([]), Value::Null);
        for (path, want) in [
            ("", [&none, &none, &none, &none]),
            ("?type=image", [&none, &nothing, &nothing, &nothing]),
            (
                "?type=container&type=volume",
                [&nothing, &none, &none, &nothing],
            ),
            ("?type=build-cache", [&nothing, &nothing, &nothing, &none]),
        ] {
            let answer = asked.ask(&format!("GET /system/df{path}")).await.json();
            let parts = ["Images", "Containers", "Volumes", "BuildCache"];
            assert_eq!(parts.map(|part| &answer[part]), want, "{path}");
            assert_eq!(answer["LayersSize"], 0);
        }
        let old = asked.ask("GET /v1.41/system/df?type=image").await.json();
        assert_eq!((&old["Volumes"], &old["BuilderSize"]), (&none, &json!(0)));
        let wrong = asked.ask("GET /system/df?type=images").await;
        assert_eq!(wrong.status, 400, "{}", wrong.body);
    }
}
