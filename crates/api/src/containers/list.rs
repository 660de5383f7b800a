//! `GET /containers/json`.

use std::sync::Arc;

use lapstrake_bridge::blocking;
use lapstrake_engine::containers::{Phase, Record};
use lapstrake_engine::settings::{HealthStatus, MountKind};
use serde_json::value::RawValue;

use super::{line, view};
use crate::answer::{self, Answered};
use crate::call::Call;
use crate::daemon::Daemon;
use crate::error::Failure;
use crate::filters::Filters;

const FILTERS: [&str; 15] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];
const STATES: [&str; 7] = [
    "created",
    "running",
    "paused",
    "restarting",
    "exited",
    "removing",
    "dead",
];

/// Lists containers, the newest first.
pub(super) async fn list(call: &Call) -> Answered {
    let filters = Filters::of(&call.query, &FILTERS)?;
    let limit = call.query.number("limit")?.filter(|limit| *limit > 0);
    let choice = Choice::of(call, &filters, limit)?;
    let mut records = call.daemon.containers.records();
    records.sort_by(|a, b| (b.created, &b.id).cmp(&(a.created, &a.id)));
    let limit = limit
        .and_then(|limit| usize::try_from(limit).ok())
        .unwrap_or(usize::MAX);
    let chosen: Vec<_> = (records.into_iter())
        .filter(|record| choice.takes(record))
        .take(limit)
        .collect();
    let sized = call.query.flag("size");
    let daemon = Arc::clone(&call.daemon);
    let write = move || match sized {
        true => line::sized(&daemon, &chosen),
        false => line::plain(&daemon, &chosen),
    };
    let lines = blocking(write).await??;
    answer::ok(&lines)
}

/// Every container with its sizes, the newest first, for `docker system df`. It may look at rooms, and so wait.
/// One that went meanwhile is left out.
pub(crate) fn with_sizes(daemon: &Daemon) -> Result<Box<RawValue>, Failure> {
    let mut records = daemon.containers.records();
    records.sort_by(|a, b| (b.created, &b.id).cmp(&(a.created, &a.id)));
    line::sized(daemon, &records)
}

/// Which containers are listed.
struct Choice<'a> {
    filters: &'a Filters,
    all: bool,
    before: Option<Record>,
    since: Option<Record>,
    /// Whether only those of services are asked for, of which there are none.
    is_task: Option<bool>,
    ancestors: Vec<String>,
}

impl<'a> Choice<'a> {
    fn of(call: &Call, filters: &'a Filters, limit: Option<i64>) -> Result<Self, Failure> {
        for status in filters.all("status") {
            if !STATES.contains(&status) {
                return Err(Failure::invalid(format!(
                    "invalid filter 'status={status}'"
                )));
            }
        }
        for health in filters.all("health") {
            if !["none", "starting", "healthy", "unhealthy"].contains(&health) {
                return Err(Failure::invalid(format!(
                    "invalid filter 'health={health}'"
                )));
            }
        }
        for code in filters.all("exited") {
            code.parse::<i32>()
                .map_err(|_| Failure::invalid(format!("invalid filter 'exited={code}'")))?;
        }
        let is_task = filters.flag("is-task")?;
        let containers = &call.daemon.containers;
        let other = |name: &str| match filters.single(name)? {
            Some(other) => Ok::<_, Failure>(Some(containers.record(other)?)),
            None => Ok(None),
        };
        let (before, since) = (other("before")?, other("since")?);
        let asks = ["status", "exited", "health"]
            .iter()
            .any(|name| filters.has(name));
        Ok(Self {
            filters,
            all: call.query.flag("all")
                || limit.is_some()
                || asks
                || before.is_some()
                || since.is_some(),
            before,
            since,
            is_task,
            ancestors: filters
                .all("ancestor")
                .filter_map(|name| containers.image_id(name))
                .collect(),
        })
    }

    fn takes(&self, record: &Record) -> bool {
        let filters = self.filters;
        let state = &record.state;
        let labels = &record.settings.execution.labels;
        let has_label = |label: &lapstrake_engine::Label| label.is_one_of(labels);
        let health = match &state.health {
            None => "none",
            Some(health) => match health.status {
                HealthStatus::Starting => "starting",
                HealthStatus::Healthy => "healthy",
                HealthStatus::Unhealthy => "unhealthy",
            },
        };
        let uses = |volume: &str| {
            record.settings.host.mounts.iter().any(|point| {
                (point.kind == MountKind::Volume && point.name.as_deref() == Some(volume))
                    || point.destination == std::path::Path::new(volume)
            })
        };
        let named = |wanted: &str| {
            let name = &record.name;
            let bare = wanted.trim_start_matches('/');
            name.contains(bare) || matches_pattern(wanted, name)
        };
        let network = view::network_name(record);
        (self.all
            || matches!(
                state.phase,
                Phase::Running | Phase::Paused | Phase::Restarting
            ))
            && filters.any("status", |status| status == state.phase.name())
            && filters.any("health", |wanted| wanted == health)
            && filters.any("exited", |code| {
                state.finished.is_some() && code.parse() == Ok(state.code)
            })
            && filters.any("id", |id| {
                record.id.starts_with(id) || record.id.contains(id)
            })
            && filters.any("name", named)
            && filters.any("volume", uses)
            && filters.any("network", |wanted| wanted == network)
            && self.is_task != Some(true)
            && filters.any("isolation", |wanted| matches!(wanted, "default" | ""))
            && !filters.has("publish")
            && filters.any("expose", |port| exposes(record, port))
            && filters.labels("label").iter().all(has_label)
            && (!filters.has("ancestor") || self.ancestors.contains(&record.image))
            && (self.before.as_ref()).is_none_or(|before| record.created < before.created)
            && (self.since.as_ref()).is_none_or(|since| record.created > since.created)
    }
}

fn exposes(record: &Record, port: &str) -> bool {
    let ports = &record.settings.execution.exposed_ports;
    ports.contains(port) || ports.contains(&format!("{port}/tcp"))
}

/// The anchors that clients use in names: `^/name$`.
fn matches_pattern(pattern: &str, name: &str) -> bool {
    let (start, rest) = match pattern.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, pattern),
    };
    let (end, rest) = match rest.strip_suffix('$') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let bare = rest.strip_prefix('/').unwrap_or(rest);
    match (start, end) {
        (true, true) => name == bare,
        (true, false) => name.starts_with(bare),
        (false, true) => name.ends_with(bare),
        (false, false) => name.contains(bare),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_chosen_by_their_parts_and_anchors() {
        for (pattern, name, takes) in [
            ("^/c1$", "c1", true),
            ("^c1$", "c11", false),
            ("^/c", "c1", true),
            ("1$", "c1", true),
            ("2$", "c1", false),
        ] {
            assert_eq!(matches_pattern(pattern, name), takes, "{pattern} {name}");
        }
    }
}
