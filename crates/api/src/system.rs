//! The daemon itself: whether it is there, what it is, what happens in it.

mod auth;
mod df;
mod events;
mod info;
mod machine;
mod ping;
mod version;

use hyper::Method;

pub(crate) use auth::Told;
pub(crate) use df::Reckonings;
pub(crate) use info::{Fixed, fixed};

use crate::call::Call;
use crate::error::Failure;
use crate::router::{Answering, now};

/// Routes of the daemon itself.
pub(crate) fn route(call: Call) -> Answering {
    let (method, path) = call.line();
    let path: Vec<_> = path.iter().map(String::as_str).collect();
    match (&method, &path[..]) {
        (&Method::GET | &Method::HEAD, ["_ping"]) => now(Ok(ping::ping(&call))),
        (&Method::GET, ["version"]) => Box::pin(version::version(call)),
        (&Method::GET, ["info"]) => Box::pin(info::info(call)),
        (&Method::GET, ["events"]) => now(events::events(&call)),
        (&Method::POST, ["auth"]) => Box::pin(auth::auth(call)),
        (&Method::GET, ["system", "df"]) => Box::pin(df::df(call)),
        _ => now(Err(Failure::no_page())),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lapstrake_engine::events::{Action, Kind};

    use crate::asking::Asked;

    #[tokio::test]
    async fn somebody_is_there() {
        let asked = Asked::new();
        let get = asked.ask("GET /_ping").await;
        assert_eq!((get.status.as_u16(), &*get.body), (200, "OK"));
        let head = asked.ask("HEAD /v1.41/_ping").await;
        assert_eq!((head.status.as_u16(), &*head.body), (200, ""));
        for answer in [get, head] {
            assert_eq!(answer.header("swarm"), "inactive");
            assert_eq!(answer.header("builder-version"), "1");
            assert_eq!(answer.header("pragma"), "no-cache");
            assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        }
    }

    #[tokio::test]
    async fn what_is_running_is_told() {
        let asked = Asked::new();
        let version = asked.ask("GET /version").await.json();
        assert_eq!(version["ApiVersion"], "1.50");
        assert_eq!(version["MinAPIVersion"], "1.24");
        assert_eq!(version["Components"][0]["Name"], "Engine");
        let info = asked.ask("GET /v1.48/info").await.json();
        assert_eq!(info["Images"], 0);
        assert_eq!(info["Name"], "host");
        assert_eq!(info["Swarm"]["LocalNodeState"], "inactive");
        assert_eq!(info["RuncCommit"]["Expected"], info["RuncCommit"]["ID"]);
        assert!(info["BridgeNfIptables"].is_boolean());
        let newest = asked.ask("GET /info").await.json();
        assert!(newest["BridgeNfIptables"].is_null());
        assert!(newest["RuncCommit"].get("Expected").is_none());
        assert_eq!(newest["ID"], info["ID"]);
    }

    #[tokio::test]
    async fn what_happened_is_told_until_the_end_that_was_asked_for() {
        let asked = Asked::new();
        let publish = |id: &str| {
            let events = asked.daemon.engine.events();
            events.publish(Kind::Image, Action::Tag, id, BTreeMap::new());
        };
        publish("a");
        publish("b");
        let line = "GET /events?since=0&until=5";
        let (answer, ()) = tokio::join!(
            asked.ask("GET /events?since=0&until=9999999999&filters={\"event\":[\"tag\"]}"),
            async {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                publish("c");
                asked.daemon.stop();
            }
        );
        assert_eq!(answer.header("content-type"), "application/json");
        let ids = |body: &str| -> Vec<String> {
            let events = body.lines().map(serde_json::from_str::<serde_json::Value>);
            events
                .filter_map(|event| Some(event.ok()?["id"].as_str()?.to_owned()))
                .collect()
        };
        assert!(ids(&answer.body).starts_with(&["a".to_owned(), "b".to_owned()]));
        assert!(asked.ask(line).await.body.is_empty(), "nothing in 1970");
        for line in [
            "GET /events?since=soon",
            "GET /events?since=10&until=5",
            "GET /events?filters={\"colour\":[]}",
        ] {
            assert_eq!(asked.ask(line).await.status, 400, "{line}");
        }
    }

    #[tokio::test]
    async fn a_document_must_be_one_and_be_called_one() {
        let asked = Asked::new();
        let json = ("Content-Type", "application/json");
        for (headers, body, want) in [
            (
                &[][..],
                "{}",
                "unsupported Content-Type header (): must be 'application/json'",
            ),
            (
                &[("Content-Type", "text/plain")][..],
                "{}",
                "unsupported Content-Type header (text/plain): must be 'application/json'",
            ),
            (
                &[json][..],
                "",
                "invalid JSON: got EOF while reading request body",
            ),
            (&[json][..], "{", "invalid JSON: "),
            (&[json][..], "{} {}", "unexpected content after JSON"),
        ] {
            let answer = asked.say("POST /auth", headers, body).await;
            assert_eq!(answer.status, 400, "{body}");
            let message = answer.json()["message"].to_string();
            assert!(message.contains(want), "{message}");
        }
    }
}
