//! Images.

mod config;
mod delete;
mod history;
mod inspect;
mod list;
mod load;
mod name;
mod prune;
mod pull;
mod push;
mod registry;
mod tag;

pub(crate) use inspect::find;
pub(crate) use list::summaries;
pub(crate) use load::platform_of;
pub(crate) use name::no_such;
pub(crate) use registry::distribution;

use hyper::Method;

use crate::call::Call;
use crate::error::Failure;
use crate::router::{Answering, now};

/// Routes below `/images`. Names of images have slashes.
pub(crate) fn route(call: Call) -> Answering {
    let (method, path) = call.line();
    let path: Vec<_> = path.iter().map(String::as_str).collect();
    match (&method, &path[1..]) {
        (&Method::GET, ["json"]) => Box::pin(list::list(call)),
        (&Method::GET, ["get"]) => Box::pin(load::save_all(call)),
        (&Method::GET, ["search"]) => now(Err(Failure::not_implemented(
            "Lapstrake can't search registries: there is no such thing in the registry protocol",
        ))),
        (&Method::POST, ["create"]) if call.query.get("fromSrc").is_some() => {
            Box::pin(load::import(call))
        }
        (&Method::POST, ["create"]) => Box::pin(pull::pull(call)),
        (&Method::POST, ["load"]) => Box::pin(load::load(call)),
        (&Method::POST, ["prune"]) => Box::pin(prune::prune(call)),
        (&Method::GET, [name @ .., "json"]) => Box::pin(inspect::inspect(call, name.join("/"))),
        (&Method::GET, [name @ .., "history"]) => Box::pin(history::history(call, name.join("/"))),
        (&Method::GET, [name @ .., "get"]) => Box::pin(load::save_one(call, name.join("/"))),
        (&Method::POST, [name @ .., "push"]) => Box::pin(push::push(call, name.join("/"))),
        (&Method::POST, [name @ .., "tag"]) => Box::pin(tag::tag(call, name.join("/"))),
        (&Method::DELETE, name) if !name.is_empty() => {
            Box::pin(delete::delete(call, name.join("/")))
        }
        _ => now(Err(Failure::no_page())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::asking::Asked;

    /// An empty tar.
    const TAR: &str = match std::str::from_utf8(&[0; 1024]) {
        Ok(text) => text,
        Err(_) => "",
    };

    async fn with_images() -> Asked {
        let asked = Asked::new();
        for (name, changes) in [("a:1", "changes=LABEL+k%3Dv"), ("b:1", "changes=CMD+x")] {
            let line = format!("POST /images/create?fromSrc=-&repo={name}&{changes}");
            let answer = asked
                .say(&line, &[("content-type", "text/plain")], TAR)
                .await;
            assert!(
                answer.body.starts_with("{\"status\":\"sha256:"),
                "{}",
                answer.body
            );
            assert!(answer.body.ends_with("\"}\r\n"), "{}", answer.body);
        }
        asked
    }

    fn names(list: &Value) -> Vec<&str> {
        let images = list.as_array().expect("a list").iter();
        let mut names: Vec<_> = images
            .flat_map(|image| image["RepoTags"].as_array().expect("names"))
            .filter_map(Value::as_str)
            .collect();
        names.sort_unstable();
        names
    }

    #[tokio::test]
    async fn images_are_listed_as_filters_and_versions_want_it() {
        let asked = with_images().await;
        for (query, want) in [
            ("", &["a:1", "b:1"][..]),
            ("filters={\"label\":[\"k=v\"]}", &["a:1"]),
            ("filters={\"label\":{\"k=w\":true}}", &[]),
            ("filters={\"reference\":[\"b\"]}", &["b:1"]),
            ("filters={\"dangling\":[\"true\"]}", &[]),
            ("filters={\"dangling\":{\"0\":true}}", &["a:1", "b:1"]),
            ("filters={\"until\":[\"1h\"]}", &[]),
        ] {
            let list = asked.ask(&format!("GET /images/json?{query}")).await.json();
            assert_eq!(names(&list), want, "{query}");
        }
        let newest = asked.ask("GET /images/json").await.json();
        let image = &newest[0];
        assert_eq!(
            (&image["SharedSize"], &image["Containers"]),
            (&json!(-1), &json!(-1))
        );
        assert!(image.get("VirtualSize").is_none());
        let old = asked
            .ask("GET /v1.40/images/json?filter=a&shared-size=1")
            .await
            .json();
        assert_eq!(names(&old), ["a:1"]);
        assert!(old[0]["VirtualSize"].is_number());
        for bad in [
            "{\"colour\":[]}",
            "{\"dangling\":[\"x\"]}",
            "{\"until\":[\"x\"]}",
        ] {
            let line = format!("GET /images/json?filters={bad}");
            assert_eq!(asked.ask(&line).await.status, 400, "{bad}");
        }
        let unknown = asked
            .ask("GET /images/json?filters={\"before\":[\"zz\"]}")
            .await;
        assert_eq!(unknown.status, 404);
    }

    #[tokio::test]
    async fn an_image_is_found_and_shown() {
        let asked = with_images().await;
        let image = asked.ask("GET /images/a:1/json").await.json();
        assert_eq!(image["RepoTags"], json!(["a:1"]));
        assert_eq!(image["Config"], json!({ "Labels": { "k": "v" } }));
        assert_eq!(image["Comment"], "Imported from -");
        assert_eq!(image["RootFS"]["Layers"].as_array().map(Vec::len), Some(1));
        let id = image["Id"].as_str().expect("an id");
        for line in [
            format!("GET /images/{id}/json"),
            format!("GET /images/{}/json", &id[7..19]),
            "GET /images/docker.io/library/a:1/json".to_owned(),
        ] {
            assert_eq!(asked.ask(&line).await.json()["Id"], image["Id"], "{line}");
        }
        let old = asked.ask("GET /v1.43/images/a:1/json").await.json();
        assert_eq!(old["Config"]["Tty"], false);
        assert!(old["VirtualSize"].is_number() && old["ContainerConfig"].is_object());
        let history = asked.ask("GET /images/a:1/history").await.json();
        assert_eq!(history[0]["Id"], image["Id"]);
        assert_eq!(history[0]["Tags"], json!(["a:1"]));
        let none = asked.ask("GET /images/no/such/json").await;
        assert_eq!(none.status, 404);
        assert_eq!(
            none.body,
            "{\"message\":\"No such image: no/such:latest\"}\n"
        );
    }

    #[tokio::test]
    async fn names_come_and_go_and_images_with_their_last() {
        let asked = with_images().await;
        let tagged = asked.ask("POST /images/a:1/tag?repo=me/c&tag=2").await;
        assert_eq!((tagged.status.as_u16(), &*tagged.body), (201, ""));
        let id = asked.ask("GET /images/a:1/json").await.json()["Id"].clone();
        let short = &id.as_str().expect("an id")[7..19];
        let refused = asked.ask(&format!("DELETE /images/{short}")).await;
        assert_eq!(refused.status, 409);
        let words = format!(
            "conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
        );
        assert_eq!(refused.json()["message"], words);
        let untagged = asked.ask("DELETE /images/a:1").await.json();
        assert_eq!(untagged, json!([{ "Untagged": "a:1" }]));
        let deleted = asked.ask("DELETE /images/me/c:2").await.json();
        assert_eq!(deleted[0], json!({ "Untagged": "me/c:2" }));
        assert_eq!(deleted[1], json!({ "Deleted": id }));
        assert_eq!(asked.ask("DELETE /images/a:1").await.status, 404);
        for (line, status) in [
            ("POST /images/b:1/tag?repo=BAD", 400),
            ("POST /images/b:1/tag?repo=x&tag=a+b", 400),
            ("POST /images/none/tag?repo=x", 404),
        ] {
            assert_eq!(asked.ask(line).await.status, status, "{line}");
        }
    }

    #[tokio::test]
    async fn what_nobody_needs_is_pruned() {
        let asked = with_images().await;
        let nothing = asked.ask("POST /images/prune").await;
        assert_eq!(
            nothing.body,
            "{\"ImagesDeleted\":null,\"SpaceReclaimed\":0}\n"
        );
        let but_a = "POST /images/prune?filters={\"dangling\":[\"false\"],\"label!\":[\"k\"]}";
        let pruned = asked.ask(but_a).await.json();
        assert_eq!(pruned["ImagesDeleted"][0], json!({ "Untagged": "b:1" }));
        assert!(pruned["SpaceReclaimed"].as_u64() > Some(0));
        let left = asked.ask("GET /images/json").await.json();
        assert_eq!(names(&left), ["a:1"]);
        let usage = asked.ask("GET /system/df").await.json();
        assert_eq!(usage["Images"][0]["Containers"], 0);
        assert_eq!(usage["LayersSize"], usage["Images"][0]["Size"]);
        let part = asked.ask("GET /system/df?type=volume").await.json();
        assert_eq!(
            (&part["Images"], &part["Volumes"]),
            (&Value::Null, &json!([]))
        );
        assert_eq!(asked.ask("GET /system/df?type=x").await.status, 400);
    }

    #[tokio::test]
    async fn what_is_no_archive_is_refused_and_what_is_not_here_not_saved() {
        let asked = with_images().await;
        let tar = ("content-type", "application/x-tar");
        let loaded = asked.say("POST /images/load?quiet=1", &[tar], TAR).await;
        assert_eq!(loaded.status, 200);
        assert!(loaded.json()["errorDetail"]["message"].is_string());
        let none = asked.ask("GET /images/get?names=none").await;
        assert_eq!(none.body, "{\"message\":\"No such image: none:latest\"}\n");
        let change = "POST /images/create?fromSrc=-&changes=RUN+x";
        assert_eq!(asked.say(change, &[], TAR).await.status, 400);
        let url = "POST /images/create?fromSrc=http://localhost/x.tar";
        assert_eq!(asked.ask(url).await.status, 501);
        let nowhere = "POST /images/create?fromImage=localhost:1/x&tag=1";
        let pulled = asked.ask(nowhere).await;
        assert_eq!(pulled.status, 500, "{}", pulled.body);
    }
}
