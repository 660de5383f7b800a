//! Networks. There are three, which every engine has; making more is not possible yet.

use hyper::Method;
use serde_json::{Value, json};

use lapstrake_engine::rfc3339;
use lapstrake_oci::Algorithm;

use crate::answer::{self, Answered};
use crate::call::Call;
use crate::daemon::Daemon;
use crate::error::Failure;
use crate::filters::Filters;

/// Name and driver, in Docker's order.
const NETWORKS: [(&str, &str); 3] = [("none", "null"), ("host", "host"), ("bridge", "bridge")];

/// Routes below `/networks`.
pub(crate) fn route(call: &Call) -> Answered {
    let path: Vec<_> = call.path.iter().map(String::as_str).collect();
    match (&call.method, &path[1..]) {
        (&Method::GET, []) => list(call),
        (&Method::GET, [name]) => inspect(call, name),
        (&Method::POST, ["prune"]) => {
            Filters::of(&call.query, &["label", "label!", "until"])?;
            answer::ok(&json!({ "NetworksDeleted": null }))
        }
        (&Method::POST, ["create"]) => Err(Failure::not_implemented(
            "Lapstrake can't make networks yet: use bridge, host or none (in a compose file, `network_mode` of each service)",
        )),
        (&Method::POST, [name, "connect" | "disconnect"]) => {
            find(call, name)?;
            Err(Failure::not_implemented(
                "Lapstrake can't change the networks of a container yet",
            ))
        }
        (&Method::DELETE, [name]) => {
            let (name, _) = find(call, name)?;
            Err(Failure::forbidden(format!(
                "{name} is a pre-defined network and cannot be removed"
            )))
        }
        _ => Err(Failure::no_page()),
    }
}

fn list(call: &Call) -> Answered {
    let known = ["dangling", "driver", "id", "label", "name", "scope", "type"];
    let filters = Filters::of(&call.query, &known)?;
    let unused = filters.flag("dangling")?;
    if let Some(other) = filters
        .all("type")
        .find(|kind| !["builtin", "custom"].contains(kind))
    {
        return Err(Failure::invalid(format!(
            "invalid filter: 'type'='{other}'"
        )));
    }
    let passes = |(name, driver): &&(&str, &str)| {
        filters.any("name", |wanted| name.contains(wanted))
            && filters.any("driver", |wanted| *driver == wanted)
            && filters.any("id", |wanted| id(&call.daemon, name).starts_with(wanted))
            && filters.any("scope", |wanted| wanted == "local")
            && filters.any("type", |wanted| wanted == "builtin")
            && !filters.has("label")
            // Those that are always there are never left over.
            && unused != Some(true)
    };
    let networks: Vec<_> = NETWORKS
        .iter()
        .filter(passes)
        .map(|(name, driver)| document(&call.daemon, name, driver))
        .collect();
    answer::ok(&networks)
}

fn inspect(call: &Call, name: &str) -> Answered {
    let (name, driver) = find(call, name)?;
    answer::ok(&document(&call.daemon, name, driver))
}

fn find(call: &Call, wanted: &str) -> Result<(&'static str, &'static str), Failure> {
    let by_name = NETWORKS.into_iter().find(|(name, _)| *name == wanted);
    let by_id = || {
        let is = |(name, _): &(&str, &str)| id(&call.daemon, name).starts_with(wanted);
        NETWORKS.into_iter().find(is)
    };
    by_name
        .or_else(by_id)
        .ok_or_else(|| Failure::not_found(format!("network {wanted} not found")))
}

/// The same for the same store.
pub(crate) fn id(daemon: &Daemon, name: &str) -> String {
    let text = format!("network {name} of {}", daemon.engine.root().display());
    Algorithm::Sha256.digest(text.as_bytes()).hex().to_owned()
}

fn document(daemon: &Daemon, name: &str, driver: &str) -> Value {
    json!({
        "Name": name,
        "Id": id(daemon, name),
        "Created": rfc3339(daemon.started),
        "Scope": "local",
        "Driver": driver,
        "EnableIPv4": true,
        "EnableIPv6": false,
        "IPAM": { "Driver": "default", "Options": null, "Config": null },
        "Internal": false,
        "Attachable": false,
        "Ingress": false,
        "ConfigFrom": { "Network": "" },
        "ConfigOnly": false,
        "Containers": {},
        "Options": {},
        "Labels": {},
    })
}

#[cfg(test)]
mod tests {
    use crate::asking::Asked;

    async fn check(line: &str, want: &[&str]) {
        let answer = Asked::new().ask(line).await.json();
        let names = answer.as_array().expect("a list").iter();
        let names: Vec<_> = names
            .filter_map(|network| network["Name"].as_str())
            .collect();
        assert_eq!(names, want, "{line}");
    }

    #[tokio::test]
    async fn three_are_always_there() {
        check("GET /networks", &["none", "host", "bridge"]).await;
        check(
            "GET /networks?filters={\"name\":[\"o\"]}",
            &["none", "host"],
        )
        .await;
        check(
            "GET /networks?filters={\"driver\":{\"null\":true}}",
            &["none"],
        )
        .await;
        check("GET /networks?filters={\"dangling\":[\"true\"]}", &[]).await;
        check("GET /networks?filters={\"type\":[\"custom\"]}", &[]).await;
    }

    #[tokio::test]
    async fn one_is_found_by_name_and_by_the_beginning_of_its_id() {
        let asked = Asked::new();
        let bridge = asked.ask("GET /networks/bridge").await.json();
        let id = bridge["Id"].as_str().expect("an id");
        let by_id = asked.ask(&format!("GET /networks/{}", &id[..12])).await;
        assert_eq!(by_id.json()["Name"], "bridge");
        for (line, status) in [
            ("GET /networks/other", 404),
            ("DELETE /networks/other", 404),
            ("DELETE /networks/host", 403),
            ("POST /networks/create", 501),
            ("POST /networks/bridge/connect", 501),
            ("POST /networks/prune", 200),
            ("GET /networks?filters={\"x\":[]}", 400),
        ] {
            assert_eq!(asked.ask(line).await.status, status, "{line}");
        }
    }
}
