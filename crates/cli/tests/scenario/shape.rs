//! What a request is answered with, as far as clients rely on it: the status, and the names and kinds of all that is in
//! the JSON, one on a line.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::daemon::Daemon;

/// Members of these are named by users or by the machine: their names are not looked at.
const NAMED_FREELY: [&str; 11] = [
    "Attributes",
    "Data",
    "Details",
    "IndexConfigs",
    "Labels",
    "Networks",
    "Options",
    "Runtimes",
    "Volumes",
    "networks",
    "status",
];
/// What control groups say, which is the kernel's matter.
const OF_THE_KERNEL: [&str; 3] = ["memory_stats", "blkio_stats", "percpu_usage"];

/// Sends a request, `METHOD PATH [BODY]`, and tells the shape of the answer. `EXEC` in it is the `Id` that was answered
/// last, and `NOW` this second.
pub(crate) fn answer(daemon: &Daemon, request: &str, last_id: &mut String) -> Vec<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let request = request.replace("NOW", &now.as_secs().to_string());
    let request = request.replace("EXEC", last_id);
    let (method, rest) = request.split_once(' ').unwrap();
    let (path, body) = rest.split_once(' ').unwrap_or((rest, ""));
    let (status, text) = ask(daemon, method, path, body);
    let mut lines = BTreeSet::new();
    for value in serde_json::Deserializer::from_str(&text).into_iter::<Value>() {
        let value = value.unwrap_or_else(|error| panic!("{request}: {error}: {text}"));
        if let Some(id) = value.get("Id").and_then(Value::as_str) {
            id.clone_into(last_id);
        }
        tell("", &value, &mut lines);
    }
    std::iter::once(status).chain(lines).collect()
}

/// HTTP 1.0, so that the body comes as it is and ends with the connection.
pub(crate) fn ask(daemon: &Daemon, method: &str, path: &str, body: &str) -> (String, String) {
    let mut connection = UnixStream::connect(daemon.path("docker.sock")).unwrap();
    let request = format!(
        "{method} /v1.50{path} HTTP/1.0\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap();
    (status.to_owned(), body.to_owned())
}

fn tell(path: &str, value: &Value, lines: &mut BTreeSet<String>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let shown = if path.is_empty() { "." } else { path };
    lines.insert(format!("{shown} {kind}"));
    match value {
        Value::Array(values) => {
            for value in values {
                tell(&format!("{path}[]"), value, lines);
            }
        }
        Value::Object(members) => {
            let freely = (path.rsplit('.').next()).is_some_and(|last| NAMED_FREELY.contains(&last));
            for (name, value) in members {
                if OF_THE_KERNEL.contains(&name.as_str()) {
                    continue;
                }
                let name = if freely { "*" } else { name };
                let dot = if path.is_empty() { "" } else { "." };
                tell(&format!("{path}{dot}{name}"), value, lines);
            }
        }
        _ => {}
    }
}
