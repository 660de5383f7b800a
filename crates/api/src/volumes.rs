//! Volumes.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::{Method, StatusCode};
use lapstrake_bridge::blocking;
use lapstrake_engine::events::{Action, Kind};
use lapstrake_engine::{Doing, NewVolume, PruneVolumes, VolumeDetails, VolumeError, rfc3339};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::answer::{self, Answered};
use crate::call::Call;
use crate::daemon::Daemon;
use crate::error::Failure;
use crate::filters::Filters;
use crate::router::{Answering, now};

/// A nameless volume gets this many hex digits.
const NAME_BYTES: usize = 32;

/// Routes below `/volumes`.
pub(crate) fn route(call: Call) -> Answering {
    let (method, path) = call.line();
    let path: Vec<_> = path.iter().map(String::as_str).collect();
    match (&method, &path[1..]) {
        (&Method::GET, []) => Box::pin(list(call)),
        (&Method::POST, ["create"]) => Box::pin(create(call)),
        (&Method::POST, ["prune"]) => Box::pin(prune(call)),
        (&Method::GET, [name]) => now(inspect(&call, name)),
        (&Method::DELETE, [name]) => Box::pin(remove(call, (*name).to_owned())),
        (&Method::PUT, [_name]) => now(Err(Failure::unavailable(
            "Lapstrake has no cluster volumes: this node is not a swarm manager",
        ))),
        _ => now(Err(Failure::no_page())),
    }
}

/// As Docker writes a volume.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Volume {
    created_at: String,
    driver: String,
    labels: Option<BTreeMap<String, String>>,
    mountpoint: String,
    name: String,
    options: Option<BTreeMap<String, String>>,
    scope: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_data: Option<UsageData>,
}

/// What a volume takes, and how many containers use it.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "PascalCase")]
struct UsageData {
    ref_count: i64,
    size: i64,
}

impl Volume {
    fn of(details: VolumeDetails) -> Self {
        Self {
            created_at: rfc3339(details.created),
            driver: details.driver,
            labels: Some(details.labels).filter(|labels| !labels.is_empty()),
            mountpoint: details.mountpoint.display().to_string(),
            name: details.name,
            options: Some(details.options).filter(|options| !options.is_empty()),
            scope: "local",
            usage_data: None,
        }
    }
}

/// Every volume that is kept here, with what it takes.
pub(crate) fn with_usage(daemon: &Daemon) -> Vec<Volume> {
    let containers = &daemon.containers;
    let volumes = containers.volumes();
    let users = containers.volume_users();
    let sizes = volumes.sizes();
    let sizes: BTreeMap<_, _> = (sizes.into_iter())
        .map(|size| (size.volume.name, size.bytes))
        .collect();
    let all = volumes.list().into_iter();
    // Of those whose options name a file system, Docker tells no size either.
    let own = all.filter(|details| details.options.is_empty() || sizes.contains_key(&details.name));
    let with_usage = own.map(|details| {
        let users = users.get(&details.name).copied().unwrap_or(0);
        let bytes = sizes.get(&details.name).copied();
        let usage = UsageData {
            ref_count: i64::try_from(users).unwrap_or(i64::MAX),
            size: bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
        };
        Volume {
            usage_data: Some(usage),
            ..Volume::of(details)
        }
    });
    with_usage.collect()
}

async fn list(call: Call) -> Answered {
    let filters = Filters::of(&call.query, &["dangling", "driver", "label", "name"])?;
    let dangling = filters.flag("dangling")?;
    let labels = filters.labels("label");
    let daemon = Arc::clone(&call.daemon);
    let listing = move || {
        let containers = &daemon.containers;
        let users = containers.volume_users();
        let all = containers.volumes().list().into_iter();
        let passes = |volume: &VolumeDetails| {
            let is_unused = || !users.contains_key(&volume.name);
            filters.any("name", |wanted| volume.name.contains(wanted))
                && filters.any("driver", |wanted| volume.driver == wanted)
                && labels.iter().all(|label| label.is_one_of(&volume.labels))
                && dangling.is_none_or(|yes| yes == is_unused())
        };
        all.filter(passes).map(Volume::of).collect::<Vec<_>>()
    };
    let volumes = blocking(listing).await?;
    answer::ok(&json!({ "Volumes": volumes, "Warnings": null }))
}

fn inspect(call: &Call, name: &str) -> Answered {
    let found = call.daemon.containers.volumes().get(name);
    answer::ok(&Volume::of(found?))
}

/// What a client sends to make one.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Create {
    name: Option<String>,
    driver: Option<String>,
    driver_opts: Option<BTreeMap<String, String>>,
    labels: Option<BTreeMap<String, String>>,
    cluster_volume_spec: Option<serde_json::Value>,
}

async fn create(mut call: Call) -> Answered {
    let asked: Create = call.needed_json().await?;
    if asked.cluster_volume_spec.is_some() {
        return Err(Failure::unavailable(
            "Lapstrake has no cluster volumes: this node is not a swarm manager",
        ));
    }
    let name = asked.name.filter(|name| !name.is_empty());
    let new = NewVolume {
        anonymous: name.is_none(),
        name: match name {
            Some(name) => name,
            None => made_up()?,
        },
        driver: asked.driver,
        options: asked.driver_opts.unwrap_or_default(),
        labels: asked.labels.unwrap_or_default(),
        made_for: None,
    };
    let daemon = Arc::clone(&call.daemon);
    let making = move || daemon.containers.volumes().create(&new);
    let (volume, is_new) = blocking(making).await??;
    if is_new {
        tell(&call.daemon, Action::Create, &volume.name, &volume.driver);
    }
    answer::json(StatusCode::CREATED, &Volume::of(volume))
}

fn made_up() -> Result<String, Failure> {
    use std::io::Read as _;
    let mut bytes = [0; NAME_BYTES];
    let file = std::fs::File::open("/dev/urandom");
    file.and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|error| Failure::internal(format!("cannot make up a name: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

async fn remove(call: Call, name: String) -> Answered {
    let force = call.query.flag("force");
    let daemon = Arc::clone(&call.daemon);
    let (wanted, removing) = (name.clone(), move || {
        let containers = &daemon.containers;
        let users = |volume: &str| containers.users_of(volume, None);
        containers.volumes().remove(&name, &users)
    });
    match blocking(removing).await? {
        Ok(()) => tell(&call.daemon, Action::Destroy, &wanted, "local"),
        // Who insists that it goes does not mind that it is gone.
        Err(VolumeError::Missing(_)) if force => {}
        Err(error) => return Err(error.into()),
    }
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

async fn prune(call: Call) -> Answered {
    let filters = Filters::of(&call.query, &["all", "label", "label!"])?;
    let all = filters.flag("all")?;
    let which = PruneVolumes {
        // Once, all were meant.
        named: all.unwrap_or(!call.version.from(1, 42)),
        labels: filters.labels("label"),
        not_labels: filters.labels("label!"),
    };
    let daemon = Arc::clone(&call.daemon);
    let pruning = move || {
        let containers = &daemon.containers;
        let users = |volume: &str| containers.users_of(volume, None);
        let volumes = containers.volumes();
        let pruned = volumes.prune(&which, Doing::It, &users)?;
        // What is said to be free is.
        volumes.free_removed()?;
        Ok::<_, VolumeError>(pruned)
    };
    let pruned = blocking(pruning).await??;
    for name in &pruned.volumes {
        tell(&call.daemon, Action::Destroy, name, "local");
    }
    let reclaimed = BTreeMap::from([("reclaimed".to_owned(), pruned.bytes.to_string())]);
    let events = call.daemon.engine.events();
    events.publish(Kind::Volume, Action::Prune, "", reclaimed);
    answer::ok(&json!({ "VolumesDeleted": pruned.volumes, "SpaceReclaimed": pruned.bytes }))
}

fn tell(daemon: &Daemon, action: Action, name: &str, driver: &str) {
    let attributes = BTreeMap::from([("driver".to_owned(), driver.to_owned())]);
    daemon
        .engine
        .events()
        .publish(Kind::Volume, action, name, attributes);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::asking::Asked;

    const JSON: (&str, &str) = ("content-type", "application/json");

    async fn with_volumes() -> Asked {
        let asked = Asked::new();
        for body in [
            r#"{"Name":"one","Labels":{"a":"b"}}"#,
            r#"{"Name":"two","Driver":"local","DriverOpts":{},"Labels":null}"#,
        ] {
            let made = asked.say("POST /volumes/create", &[JSON], body).await;
            assert_eq!(made.status, 201, "{}", made.body);
        }
        asked
    }

    #[tokio::test]
    async fn a_volume_is_made_once_and_shown() {
        let asked = with_volumes().await;
        let again = asked
            .say("POST /volumes/create", &[JSON], r#"{"Name":"one"}"#)
            .await;
        assert_eq!(again.status, 201);
        assert_eq!(again.json()["Labels"], json!({ "a": "b" }));
        let two = asked.ask("GET /volumes/two").await.json();
        assert_eq!(
            (&two["Labels"], &two["Options"]),
            (&json!(null), &json!(null))
        );
        assert_eq!(
            (&two["Driver"], &two["Scope"]),
            (&json!("local"), &json!("local"))
        );
        assert!(
            two["Mountpoint"]
                .as_str()
                .expect("a path")
                .ends_with("/two/_data")
        );
        let nameless = asked
            .say("POST /volumes/create", &[JSON], "{}")
            .await
            .json();
        assert_eq!(nameless["Name"].as_str().map(str::len), Some(64));
        assert_eq!(
            nameless["Labels"],
            json!({ "com.docker.volume.anonymous": "" })
        );
        for (body, status, words) in [
            ("", 400, "got EOF while reading request body"),
            (r#"{"Name":"x"}"#, 400, "volume name is too short"),
            (r#"{"Name":"a/b"}"#, 400, "includes invalid characters"),
            (
                r#"{"Name":"vol","Driver":"nfs"}"#,
                404,
                "plugin \"nfs\" not found",
            ),
            (
                r#"{"Name":"vol","DriverOpts":{"x":"y"}}"#,
                400,
                "invalid option",
            ),
        ] {
            let refused = asked.say("POST /volumes/create", &[JSON], body).await;
            assert_eq!(refused.status, status, "{body}");
            let message = refused.json()["message"].as_str().map(str::to_owned);
            assert!(
                message.is_some_and(|message| message.contains(words)),
                "{body}"
            );
        }
    }

    #[tokio::test]
    async fn volumes_are_listed_by_filters() {
        let asked = with_volumes().await;
        for (filters, want) in [
            ("{}", &["one", "two"][..]),
            (r#"{"label":["a"]}"#, &["one"]),
            (r#"{"label":["a=c"]}"#, &[]),
            (r#"{"name":["tw"]}"#, &["two"]),
            (r#"{"driver":["other"]}"#, &[]),
            (r#"{"dangling":["true"]}"#, &["one", "two"]),
            (r#"{"dangling":{"false":true}}"#, &[]),
        ] {
            let list = asked
                .ask(&format!("GET /volumes?filters={filters}"))
                .await
                .json();
            let volumes = list["Volumes"].as_array().expect("a list").iter();
            let names: Vec<_> = volumes
                .filter_map(|volume| volume["Name"].as_str())
                .collect();
            assert_eq!(names, want, "{filters}");
            assert_eq!(list["Warnings"], json!(null));
        }
        assert_eq!(
            asked.ask("GET /volumes?filters={\"x\":[]}").await.status,
            400
        );
    }

    #[tokio::test]
    async fn volumes_go_and_only_nameless_ones_are_pruned() {
        let asked = with_volumes().await;
        assert_eq!(asked.ask("DELETE /volumes/one").await.status, 204);
        let none = asked.ask("DELETE /volumes/one").await;
        assert_eq!(
            (none.status.as_u16(), &*none.body),
            (404, "{\"message\":\"get one: no such volume\"}\n")
        );
        assert_eq!(asked.ask("DELETE /volumes/one?force=1").await.status, 204);
        assert_eq!(asked.ask("GET /volumes/one").await.status, 404);
        let nothing = asked.ask("POST /volumes/prune").await;
        assert_eq!(
            nothing.body,
            "{\"SpaceReclaimed\":0,\"VolumesDeleted\":[]}\n"
        );
        let labelled = "POST /volumes/prune?filters={\"all\":[\"true\"],\"label\":[\"a\"]}";
        assert_eq!(
            asked.ask(labelled).await.json()["VolumesDeleted"],
            json!([])
        );
        let old = asked.ask("POST /v1.41/volumes/prune").await.json();
        assert_eq!(old["VolumesDeleted"], json!(["two"]));
        let until = "POST /volumes/prune?filters={\"until\":[\"1h\"]}";
        assert_eq!(asked.ask(until).await.status, 400);
        let usage = asked.ask("GET /system/df?type=volume").await.json();
        assert_eq!(usage["Volumes"], json!([]));
    }
}
