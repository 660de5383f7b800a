//! Requests that make no sense: each is refused as dockerd does it, and the daemon goes on.

use crate::daemon::Daemon;
use crate::shape::ask;

/// Method, path, body; status and a part of the words.
type Case = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

const CREATE: &str = "/containers/create";
const CASES: [Case; 23] = [
    (
        "POST",
        CREATE,
        "",
        "400",
        "got EOF while reading request body",
    ),
    (
        "POST",
        CREATE,
        "[]",
        "400",
        "invalid JSON: invalid type: sequence",
    ),
    (
        "POST",
        CREATE,
        "{\"Image\":",
        "400",
        "invalid JSON: EOF while parsing",
    ),
    (
        "POST",
        CREATE,
        "{}{}",
        "400",
        "unexpected content after JSON",
    ),
    (
        "POST",
        CREATE,
        r#"{"Image":"busybox","HostConfig":5}"#,
        "400",
        "expected an object",
    ),
    (
        "POST",
        CREATE,
        r#"{"Image":"busybox","HostConfig":{"Memory":-1}}"#,
        "400",
        "Minimum memory limit allowed is 6MB",
    ),
    (
        "POST",
        CREATE,
        r#"{"Image":"busybox","HostConfig":{"PortBindings":{"x":[{}]}}}"#,
        "400",
        "invalid port specification: \\\"x\\\"",
    ),
    (
        "POST",
        CREATE,
        r#"{"Image":"busybox","HostConfig":{"DeviceRequests":[{}]}}"#,
        "400",
        "could not select device driver",
    ),
    (
        "POST",
        CREATE,
        r#"{"Image":"busybox","HostConfig":{"Binds":["../x:/y"]}}"#,
        "400",
        "use absolute path",
    ),
    (
        "POST",
        "/volumes/create",
        "[]",
        "400",
        "invalid JSON: invalid type: sequence",
    ),
    (
        "POST",
        "/volumes/create",
        r#"{"Name":"a\u0000b"}"#,
        "400",
        "invalid characters for a local volume name",
    ),
    (
        "POST",
        "/auth",
        r#"{"serveraddress":"a b"}"#,
        "400",
        "unable to parse server address",
    ),
    (
        "POST",
        "/images/busybox/tag?repo=sha256&tag=1",
        "",
        "400",
        "refusing to create an ambiguous tag",
    ),
    (
        "GET",
        "/containers/json?limit=x",
        "",
        "400",
        "strconv.ParseInt: parsing",
    ),
    (
        "GET",
        "/containers/json?filters=%5B%5D",
        "",
        "400",
        "invalid filter: give an object",
    ),
    ("GET", "/containers/json?filters=null", "", "200", "[]"),
    (
        "GET",
        "/containers/json?filters=%7B%22is-task%22%3A%5B%22x%22%5D%7D",
        "",
        "400",
        "invalid filter 'is-task=[x]'",
    ),
    (
        "GET",
        "/images/json?filters=%7B%22before%22%3A%5B%22nosuch%22%5D%7D",
        "",
        "404",
        "No such image: nosuch:latest",
    ),
    ("GET", "/events?since=x&until=1", "", "400", "invalid since"),
    (
        "GET",
        "/system/df?type=x",
        "",
        "400",
        "unknown object type: x",
    ),
    (
        "GET",
        "/containers/%00/json",
        "",
        "404",
        "No such container",
    ),
    (
        "POST",
        "/containers/none/stop?t=x",
        "",
        "400",
        "strconv.ParseInt: parsing",
    ),
    ("GET", "/v1.50/info", "", "404", "page not found"),
];

#[test]
fn privileged_scenario_docker_requests_that_make_no_sense_are_refused_in_its_words() {
    let Some(daemon) = Daemon::start("careless") else {
        return;
    };
    daemon.import("busybox", "words");
    for (method, path, body, status, words) in CASES {
        let (got, text) = ask(&daemon, method, path, body);
        assert_eq!(got, status, "{method} {path} {body}: {text}");
        assert!(text.contains(words), "{method} {path} {body}: {text}");
    }
    // Deep enough to end a careless parser's stack.
    let deep = format!(
        "{{\"Image\":\"busybox\",\"Zzz\":{}{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let (status, text) = ask(&daemon, "POST", CREATE, &deep);
    assert_eq!(status, "400", "{text}");
    assert!(text.contains("recursion limit exceeded"), "{text}");
    assert!(daemon.done(&["ps", "-aq"]).is_empty());
}
