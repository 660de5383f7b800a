//! A container in a list: `docker ps`, `docker system df`.

use std::collections::{BTreeMap, HashMap};

use lapstrake_engine::containers::{Nanoseconds, Record, Sizes, now};
use lapstrake_oci::Digest;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::status;
use super::view::{self, Endpoint};
use crate::daemon::Daemon;
use crate::error::Failure;
use crate::time;

/// As Docker writes one.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Line<'a> {
    id: &'a str,
    names: [String; 1],
    image: &'a str,
    #[serde(rename = "ImageID")]
    image_id: &'a str,
    command: String,
    created: i64,
    ports: [(); 0],
    labels: &'a BTreeMap<String, String>,
    state: &'static str,
    status: String,
    host_config: HostConfig,
    network_settings: NetworkSettings,
    mounts: Value,
    /// As in Docker, what is nothing is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    size_rw: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_root_fs: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    network_mode: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings {
    networks: BTreeMap<String, Endpoint>,
}

/// The lines of these containers.
pub(super) fn plain(daemon: &Daemon, records: &[Record]) -> Result<Box<RawValue>, Failure> {
    let (now, images) = (now(), images(daemon, records)?);
    let lines = records.iter().map(|record| {
        let image = image(record, &images);
        line(daemon, record, image, now, None)
    });
    written(lines)
}

/// The lines of these containers with their sizes. It may look at rooms, and so wait. One that went meanwhile is
/// left out.
pub(super) fn sized(daemon: &Daemon, records: &[Record]) -> Result<Box<RawValue>, Failure> {
    let (now, images) = (now(), images(daemon, records)?);
    let sizes = daemon.containers.sizes_of(records)?;
    let lines = records.iter().zip(sizes).filter_map(|(record, sizes)| {
        let sizes = sizes?;
        let image = image(record, &images);
        Some(line(daemon, record, image, now, Some(sizes)))
    });
    written(lines)
}

fn written<'a>(lines: impl Iterator<Item = Line<'a>>) -> Result<Box<RawValue>, Failure> {
    to_raw_value(&lines.collect::<Vec<_>>())
        .map_err(|error| Failure::internal(format!("cannot write the answer: {error}")))
}

/// Where the names lead now that containers were made by.
fn images<'a>(daemon: &Daemon, records: &'a [Record]) -> Result<HashMap<&'a str, Digest>, Failure> {
    let names = records.iter().map(|record| &*record.settings.image);
    Ok(daemon.engine.ids_of(&names.collect())?)
}

/// The name that a container was made by, or the image's id if that leads somewhere else now, or nowhere.
fn image<'a>(record: &'a Record, images: &HashMap<&str, Digest>) -> &'a str {
    let name = &record.settings.image;
    match images.get(&**name) {
        Some(id) if id.to_string() == record.image => name,
        _ => &record.image,
    }
}

fn line<'a>(
    daemon: &Daemon,
    record: &'a Record,
    image: &'a str,
    now: Nanoseconds,
    sizes: Option<Sizes>,
) -> Line<'a> {
    Line {
        id: &record.id,
        names: [format!("/{}", record.name)],
        image,
        image_id: &record.image,
        command: command(&record.settings.arguments()),
        created: time::seconds(record.created),
        ports: [],
        labels: &record.settings.execution.labels,
        state: record.state.phase.name(),
        status: status::words(&record.state, now),
        host_config: HostConfig {
            network_mode: view::network_name(record),
        },
        network_settings: NetworkSettings {
            networks: view::networks(daemon, record),
        },
        mounts: view::mounts(daemon, record),
        size_rw: sizes.map(|sizes| sizes.writable).filter(|bytes| *bytes > 0),
        size_root_fs: sizes.map(|sizes| sizes.root),
    }
}

/// A command as one line: words with spaces are quoted.
fn command(arguments: &[String]) -> String {
    let quoted = |(at, word): (usize, &String)| {
        if at > 0 && word.contains(' ') {
            format!("'{}'", word.replace('\'', "'\\''"))
        } else {
            word.clone()
        }
    };
    let words: Vec<_> = arguments.iter().enumerate().map(quoted).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_one_line() {
        let words = |words: &[&str]| -> Vec<String> {
            words.iter().map(|word| (*word).to_owned()).collect()
        };
        assert_eq!(command(&words(&["true"])), "true");
        let line = command(&words(&["sh", "-c", "echo out; sleep 600"]));
        assert_eq!(line, "sh -c 'echo out; sleep 600'");
    }
}
