//! What happens, told as it happens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::StatusCode;
use lapstrake_engine::events::{Action, Happened, Kind, Listening, Rest};
use serde::Serialize;

use crate::answer::{self, Answered, JSON};
use crate::call::Call;
use crate::error::Failure;
use crate::filters::Filters;
use crate::stream::{Sink, channel};

const FILTERS: [&str; 14] = [
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];

/// `GET /events`.
pub(super) fn events(call: &Call) -> Answered {
    let since = moment(call, "since")?;
    let until = moment(call, "until")?;
    if let (Some(since), Some(until)) = (since, until)
        && until < since
    {
        return Err(Failure::invalid(format!(
            "`since` time ({}) cannot be after `until` time ({})",
            call.query.get("since").unwrap_or_default(),
            call.query.get("until").unwrap_or_default()
        )));
    }
    let filters = Filters::of(&call.query, &FILTERS)?;
    let listening = call.daemon.engine.events().listen(since);
    let (sink, body) = channel(64);
    let stopping = call.daemon.stopping();
    tokio::spawn(async move {
        let told = tell(listening, until, &filters, &sink);
        tokio::select! {
            () = told => {}
            () = sink.gone() => {}
            () = stopping => {}
        }
    });
    Ok(answer::with_body(StatusCode::OK, JSON, body))
}

/// Seconds since 1970, with a fraction or without.
fn moment(call: &Call, name: &str) -> Result<Option<SystemTime>, Failure> {
    let Some(text) = call.query.get(name) else {
        return Ok(None);
    };
    let wrong = || Failure::invalid(format!("invalid {name}: {text:?} is no time"));
    let time = lapstrake_engine::until(text, SystemTime::now());
    time.map(Some).ok_or_else(wrong)
}

async fn tell(mut listening: Listening, until: Option<SystemTime>, filters: &Filters, sink: &Sink) {
    let mut past = std::mem::take(&mut listening.past).into_iter();
    loop {
        let happened = match past.next() {
            Some(happened) => Some(happened),
            None => next(&mut listening.rest, until).await,
        };
        let Some(happened) = happened else {
            return;
        };
        if until.is_some_and(|until| happened.at > until) {
            return;
        }
        let event = Event::of(&happened);
        if passes(filters, &event) && sink.send(event.line()).await.is_err() {
            return;
        }
    }
}

/// What happens next; nothing, if that was to be the end.
async fn next(rest: &mut Rest, until: Option<SystemTime>) -> Option<Arc<Happened>> {
    let Some(until) = until else {
        return rest.next().await;
    };
    let left = until.duration_since(SystemTime::now()).unwrap_or_default();
    let next = tokio::time::timeout(left, rest.next()).await;
    next.unwrap_or_default()
}

/// As Docker writes it.
#[derive(Serialize)]
struct Event {
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(rename = "Type")]
    kind: &'static str,
    #[serde(rename = "Action")]
    action: String,
    #[serde(rename = "Actor")]
    actor: Actor,
    scope: &'static str,
    time: u64,
    #[serde(rename = "timeNano")]
    time_nano: u128,
}

#[derive(Serialize)]
struct Actor {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Attributes")]
    attributes: BTreeMap<String, String>,
}

impl Event {
    fn of(happened: &Happened) -> Self {
        let since = happened.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let action = word(&happened.action);
        // The fields of old are only for what events of old were about.
        let of_old = matches!(happened.kind, Kind::Container | Kind::Image);
        Self {
            status: of_old.then(|| action.clone()),
            id: of_old.then(|| happened.id.clone()),
            from: (happened.kind == Kind::Container)
                .then(|| happened.attributes.get("image").cloned())
                .flatten(),
            kind: match happened.kind {
                Kind::Container => "container",
                Kind::Image => "image",
                Kind::Volume => "volume",
                Kind::Network => "network",
                Kind::Daemon => "daemon",
                Kind::Builder => "builder",
            },
            action,
            actor: Actor {
                id: happened.id.clone(),
                attributes: happened.attributes.clone(),
            },
            scope: "local",
            time: since.as_secs(),
            time_nano: since.as_nanos(),
        }
    }

    fn line(&self) -> Vec<u8> {
        // Strings and numbers can always be written.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }

    fn attribute(&self, name: &str) -> &str {
        self.actor
            .attributes
            .get(name)
            .map_or("", |value| value.as_str())
    }
}

/// What Docker calls it.
fn word(action: &Action) -> String {
    let word = match action {
        Action::Attach => "attach",
        Action::Commit => "commit",
        Action::Connect => "connect",
        Action::Copy => "copy",
        Action::Create => "create",
        Action::Delete => "delete",
        Action::Destroy => "destroy",
        Action::Detach => "detach",
        Action::Die => "die",
        Action::Disconnect => "disconnect",
        Action::ExecCreate(command) => return format!("exec_create: {command}"),
        Action::ExecDetach => "exec_detach",
        Action::ExecDie => "exec_die",
        Action::ExecStart(command) => return format!("exec_start: {command}"),
        Action::Export => "export",
        Action::ExtractFrom => "archive-path",
        Action::ExtractTo => "extract-to-dir",
        Action::Health(status) => return format!("health_status: {status}"),
        Action::Import => "import",
        Action::Kill => "kill",
        Action::Load => "load",
        Action::Mount => "mount",
        Action::OutOfMemory => "oom",
        Action::Pause => "pause",
        Action::Prune => "prune",
        Action::Pull => "pull",
        Action::Push => "push",
        Action::Reload => "reload",
        Action::Rename => "rename",
        Action::Resize => "resize",
        Action::Restart => "restart",
        Action::Save => "save",
        Action::Start => "start",
        Action::Stop => "stop",
        Action::Tag => "tag",
        Action::Top => "top",
        Action::Unmount => "unmount",
        Action::Unpause => "unpause",
        Action::Untag => "untag",
        Action::Update => "update",
    };
    word.to_owned()
}

/// Whether all filters let an event through. Names and ids may be given by their beginnings.
fn passes(filters: &Filters, event: &Event) -> bool {
    let short = event.action.split(": ").next().unwrap_or_default();
    let is_action = |wanted: &str| wanted == event.action || wanted == short;
    let is_kind = |wanted: &str| wanted == event.kind;
    filters.any("event", is_action)
        && filters.any("type", is_kind)
        && filters.any("scope", |wanted| wanted == event.scope)
        && filters.any("label", |wanted| has_label(event, wanted))
        && ["daemon", "container", "plugin", "volume", "network"]
            .iter()
            .all(|kind| is_named(filters, kind, event))
        && ["service", "node", "secret", "config"]
            .iter()
            .all(|kind| !filters.has(kind))
        && filters.any("image", |wanted| is_image(event, wanted))
}

fn has_label(event: &Event, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => event.actor.attributes.get(key).map(String::as_str) == Some(value),
        None => event.actor.attributes.contains_key(wanted),
    }
}

fn is_named(filters: &Filters, kind: &str, event: &Event) -> bool {
    // What happened in a network or a volume to a container is about that too.
    let about = event.attribute(kind);
    !filters.has(kind)
        || (event.kind == kind
            && (filters.fuzzy(kind, &event.actor.id)
                || filters.fuzzy(kind, event.attribute("name"))))
        || (!about.is_empty() && filters.fuzzy(kind, about))
}

/// An image's events are found by id or name, a container's by the image that it runs.
fn is_image(event: &Event, wanted: &str) -> bool {
    let name = match event.kind {
        "image" => event.attribute("name"),
        _ => event.attribute("image"),
    };
    let repo = |text: &str| match text.rsplit_once(':') {
        Some((repo, tag)) if !tag.contains('/') => repo.to_owned(),
        _ => text.to_owned(),
    };
    [&*event.actor.id, name].contains(&wanted)
        || repo(&event.actor.id) == wanted
        || repo(name) == wanted
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::query::Query;

    fn event(kind: Kind, action: Action, id: &str, attributes: &[(&str, &str)]) -> Event {
        Event::of(&Happened {
            kind,
            action,
            id: id.to_owned(),
            attributes: (attributes.iter())
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            at: UNIX_EPOCH + Duration::new(5, 7),
        })
    }

    fn check(filters: &str, event: &Event, want: bool) {
        let text: String = form_urlencoded::byte_serialize(filters.as_bytes()).collect();
        let query = Query::parse(&format!("filters={text}"));
        let read = Filters::of(&query, &FILTERS).expect("filters");
        assert_eq!(passes(&read, event), want, "{filters}");
    }

    #[test]
    fn only_what_is_asked_for_is_told() {
        let die = event(
            Kind::Container,
            Action::Die,
            "abcdef",
            &[("name", "web"), ("image", "nginx:1"), ("a", "b")],
        );
        for (filters, want) in [
            ("{}", true),
            (r#"{"type":["container"]}"#, true),
            (r#"{"type":["image"]}"#, false),
            (r#"{"event":["die","start"]}"#, true),
            (r#"{"event":["start"]}"#, false),
            (r#"{"container":["abc"]}"#, true),
            (r#"{"container":["we"]}"#, true),
            (r#"{"container":["x"]}"#, false),
            (r#"{"volume":["web"]}"#, false),
            (r#"{"image":["nginx"]}"#, true),
            (r#"{"image":["nginx:1"]}"#, true),
            (r#"{"image":["nginx:2"]}"#, false),
            (r#"{"label":["a"]}"#, true),
            (r#"{"label":["a=b"]}"#, true),
            (r#"{"label":["a=c"]}"#, false),
            (r#"{"scope":["swarm"]}"#, false),
            (r#"{"service":["x"]}"#, false),
        ] {
            check(filters, &die, want);
        }
        let exec = event(
            Kind::Container,
            Action::ExecCreate("sh -c x".to_owned()),
            "abc",
            &[],
        );
        check(r#"{"event":["exec_create"]}"#, &exec, true);
    }

    #[test]
    fn an_event_is_written_as_docker_writes_it() {
        let tag = event(Kind::Image, Action::Tag, "sha256:1", &[("name", "x:1")]);
        assert_eq!(
            String::from_utf8(tag.line()).expect("text"),
            concat!(
                r#"{"status":"tag","id":"sha256:1","Type":"image","Action":"tag","#,
                r#""Actor":{"ID":"sha256:1","Attributes":{"name":"x:1"}},"#,
                r#""scope":"local","time":5,"timeNano":5000000007}"#,
                "\n"
            )
        );
        let volume = event(Kind::Volume, Action::Create, "v", &[("driver", "local")]);
        let line = String::from_utf8(volume.line()).expect("text");
        assert!(
            line.starts_with(r#"{"Type":"volume","Action":"create""#),
            "{line}"
        );
    }
}
