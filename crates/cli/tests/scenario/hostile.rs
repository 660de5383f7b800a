//! Requests that no client sends: the daemon answers each of them, or closes the connection, and goes on.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::daemon::Daemon;

/// With `LAPSTRAKE_HOSTILE_REQUESTS`, another count; with `LAPSTRAKE_HOSTILE_SEED`, others.
const REQUESTS: u64 = 3000;

/// How long an answer is waited for: some of these are streams without an end.
const PATIENCE: Duration = Duration::from_millis(300);

/// A request as clients send it, for others to be made of.
struct Model {
    method: &'static str,
    path: &'static str,
    query: &'static [(&'static str, &'static str)],
    body: Value,
}

const fn model(
    method: &'static str,
    path: &'static str,
    query: &'static [(&'static str, &'static str)],
) -> Model {
    let body = Value::Null;
    Model {
        method,
        path,
        query,
        body,
    }
}

fn models() -> Vec<Model> {
    let mut models = vec![
        model("GET", "/_ping", &[]),
        model("GET", "/info", &[]),
        model("GET", "/system/df", &[("type", "image"), ("verbose", "1")]),
        model(
            "GET",
            "/events",
            &[
                ("since", "1"),
                ("until", "2.5"),
                ("filters", r#"{"type":["image"]}"#),
            ],
        ),
        model(
            "GET",
            "/containers/json",
            &[
                ("all", "1"),
                ("limit", "3"),
                ("size", "1"),
                ("filters", r#"{"label":{"a=b":true},"before":["cc"]}"#),
            ],
        ),
        model("GET", "/containers/cc/json", &[("size", "1")]),
        model(
            "GET",
            "/containers/cc/logs",
            &[
                ("stdout", "1"),
                ("stderr", "1"),
                ("tail", "all"),
                ("since", "1.5"),
                ("follow", "0"),
            ],
        ),
        model("GET", "/containers/cc/top", &[("ps_args", "-ef")]),
        model(
            "GET",
            "/containers/cc/stats",
            &[("stream", "0"), ("one-shot", "1")],
        ),
        model("GET", "/containers/cc/changes", &[]),
        model("GET", "/containers/cc/export", &[]),
        model("GET", "/containers/cc/archive", &[("path", "/etc/passwd")]),
        model("HEAD", "/containers/cc/archive", &[("path", "/bin")]),
        model(
            "PUT",
            "/containers/cc/archive",
            &[
                ("path", "/tmp"),
                ("noOverwriteDirNonDir", "true"),
                ("copyUIDGID", "1"),
            ],
        ),
        model("POST", "/containers/cc/kill", &[("signal", "SIGTERM")]),
        model(
            "POST",
            "/containers/cc/stop",
            &[("t", "0"), ("signal", "9")],
        ),
        model(
            "POST",
            "/containers/cc/wait",
            &[("condition", "not-running")],
        ),
        model("POST", "/containers/cc/rename", &[("name", "cc")]),
        model("POST", "/containers/cc/resize", &[("h", "24"), ("w", "80")]),
        model(
            "POST",
            "/containers/cc/attach",
            &[
                ("stream", "1"),
                ("logs", "1"),
                ("stdin", "1"),
                ("detachKeys", "ctrl-p,ctrl-q"),
            ],
        ),
        model(
            "POST",
            "/containers/prune",
            &[("filters", r#"{"until":["24h"],"label":["x"]}"#)],
        ),
        model(
            "DELETE",
            "/containers/none",
            &[("v", "1"), ("force", "1"), ("link", "0")],
        ),
        model(
            "GET",
            "/images/json",
            &[
                ("all", "1"),
                ("digests", "1"),
                ("filters", r#"{"reference":["b*"],"since":["busybox"]}"#),
            ],
        ),
        model(
            "GET",
            "/images/busybox/json",
            &[("platform", r#"{"os":"linux","architecture":"amd64"}"#)],
        ),
        model("GET", "/images/busybox/history", &[]),
        model("GET", "/images/get", &[("names", "busybox")]),
        model("POST", "/images/load", &[("quiet", "1")]),
        model(
            "POST",
            "/images/create",
            &[
                ("fromSrc", "-"),
                ("repo", "made"),
                ("tag", "1"),
                ("changes", "CMD [\"x\"]"),
                ("message", "m"),
            ],
        ),
        model(
            "POST",
            "/images/create",
            &[
                ("fromImage", "127.0.0.1:1/none"),
                ("tag", "1"),
                ("platform", "linux/arm64/v8"),
            ],
        ),
        model(
            "POST",
            "/images/busybox/tag",
            &[("repo", "other"), ("tag", "1")],
        ),
        model(
            "DELETE",
            "/images/other",
            &[("force", "0"), ("noprune", "1")],
        ),
        model(
            "POST",
            "/images/prune",
            &[("filters", r#"{"dangling":["true"],"label!":["x=y"]}"#)],
        ),
        model("POST", "/images/busybox/push", &[("tag", "1")]),
        model(
            "POST",
            "/commit",
            &[
                ("container", "cc"),
                ("repo", "made"),
                ("tag", "2"),
                ("changes", "ENV a=b"),
                ("pause", "0"),
            ],
        ),
        model(
            "GET",
            "/volumes",
            &[("filters", r#"{"dangling":["true"],"name":["v"]}"#)],
        ),
        model("DELETE", "/volumes/v", &[("force", "1")]),
        model("POST", "/volumes/prune", &[("filters", r#"{"all":["1"]}"#)]),
        model(
            "GET",
            "/networks",
            &[("filters", r#"{"driver":["bridge"]}"#)],
        ),
        model("POST", "/build/prune", &[("keep-storage", "1")]),
    ];
    models.extend(models_with_bodies());
    models
}

fn models_with_bodies() -> Vec<Model> {
    let with = |path, query, body| Model {
        body,
        ..model("POST", path, query)
    };
    vec![
        with(
            "/containers/create",
            &[("name", "made"), ("platform", "linux/amd64")],
            json!({
                "Image": "busybox", "Cmd": ["true"], "Env": ["A=b"], "User": "0:0", "WorkingDir": "/x",
                "Labels": {"a": "b"}, "Volumes": {"/v": {}}, "ExposedPorts": {"80/tcp": {}},
                "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1_000_000_000, "Retries": 3},
                "StopSignal": "SIGTERM", "StopTimeout": 1,
                "HostConfig": {
                    "Binds": ["v:/w:ro,z"], "NetworkMode": "none", "Memory": 8_388_608, "CpuShares": 2,
                    "NanoCpus": 500_000_000, "CpusetCpus": "0-1", "PidsLimit": 10, "ShmSize": 65536,
                    "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
                    "LogConfig": {"Type": "json-file", "Config": {"max-size": "10k"}},
                    "Mounts": [{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 4096, "Mode": 448}}],
                    "CapAdd": ["NET_ADMIN"], "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "rwm"}],
                    "Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}], "Tmpfs": {"/u": "size=1m"},
                    "SecurityOpt": ["no-new-privileges", "seccomp=unconfined"], "StorageOpt": {"size": "1g"},
                    "ExtraHosts": ["a:1.2.3.4"], "Sysctls": {"net.core.somaxconn": "1"}, "GroupAdd": ["1"],
                    "BlkioWeightDevice": [{"Path": "/dev/null", "Weight": 10}], "VolumesFrom": ["cc:ro"],
                    "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "80"}]}, "ConsoleSize": [24, 80],
                    "DeviceRequests": null, "IpcMode": "private", "PidMode": "host", "CgroupnsMode": "private"
                },
                "NetworkingConfig": {"EndpointsConfig": {"none": {}}}
            }),
        ),
        with(
            "/containers/cc/update",
            &[],
            json!({"Memory": 16_777_216, "CpuQuota": 1000, "RestartPolicy": {"Name": "no"}}),
        ),
        with(
            "/containers/cc/exec",
            &[],
            json!({"Cmd": ["true"], "Env": ["A=b"], "User": "0", "Tty": false, "AttachStdout": true, "DetachKeys": "a"}),
        ),
        with(
            "/volumes/create",
            &[],
            json!({"Name": "v", "Driver": "local", "DriverOpts": {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}, "Labels": {"a": "b"}}),
        ),
        with(
            "/auth",
            &[],
            json!({"username": "a", "password": "b", "serveraddress": "127.0.0.1:1"}),
        ),
    ]
}

/// Chances, the same for the same seed (xorshift64*).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let scaled = u128::from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)) * bound as u128;
        usize::try_from(scaled >> 64).unwrap()
    }

    fn of<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// A text to put where another was.
    fn text(&mut self) -> String {
        let long = "x".repeat(70_000);
        let texts = [
            "",
            "\0",
            "..",
            "../../etc",
            "/",
            "//",
            "a b",
            "é\u{202e}",
            "-1",
            "0",
            "1e400",
            "99999999999999999999",
            "null",
            "{}",
            "[",
            "{\"a\":{\"b\":true}}",
            "{\"\":[]}",
            "%",
            "\r\nX: y",
            ":",
            "@",
            "a:b:c:d",
            "sha256:0",
            "2020-13-45T99:99:99Z",
            "-1h",
            "1.2.3",
            "=",
            ",",
            &long,
        ];
        (*self.of(&texts)).to_owned()
    }

    fn value(&mut self) -> Value {
        match self.below(8) {
            0 => Value::Null,
            1 => json!(true),
            2 => json!(*self.of(&[-1_i64, 0, 1, i64::MIN, i64::MAX])),
            3 => json!(u64::MAX),
            4 => json!(*self.of(&[1e308, -0.5])),
            5 => json!([self.text()]),
            6 => json!({ self.text(): self.text() }),
            _ => json!(self.text()),
        }
    }

    /// Replaces something in a document.
    fn spoil(&mut self, at: &mut Value) {
        let count = match at {
            Value::Object(map) => map.len(),
            Value::Array(list) => list.len(),
            _ => 0,
        };
        if count == 0 || self.below(6) == 0 {
            *at = self.value();
            return;
        }
        let chosen = self.below(count);
        let below = match at {
            Value::Object(map) => map.values_mut().nth(chosen),
            Value::Array(list) => list.get_mut(chosen),
            _ => None,
        };
        self.spoil(below.unwrap());
    }

    /// A request made of a model, with something wrong in it.
    fn request(&mut self, model: &Model) -> Vec<u8> {
        let mut path: Vec<String> = model.path.split('/').map(str::to_owned).collect();
        let mut query: Vec<_> = model.query.to_vec();
        let mut body = model.body.clone();
        let spoilt;
        match self.below(4) {
            0 => *path.last_mut().unwrap() = escaped(&self.text()),
            1 if !query.is_empty() => {
                spoilt = self.text();
                let at = self.below(query.len());
                query[at].1 = &spoilt;
            }
            _ if body.is_null() => body = self.value(),
            _ => self.spoil(&mut body),
        }
        let version = self.of(&["", "/v1.24", "/v1.41", "/v1.50"]);
        let query: Vec<_> = (query.iter())
            .map(|(name, value)| format!("{name}={}", escaped(value)))
            .collect();
        let (path, query) = (path.join("/"), query.join("&"));
        let body = match self.below(10) {
            // Half of it.
            0 => body.to_string().chars().step_by(2).collect(),
            _ => body.to_string(),
        };
        let kind = self.of(&["application/json", "text/plain", "application/x-tar"]);
        let head = format!(
            "{} {version}{path}?{query} HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Type: {kind}\r\n\
             Content-Length: {}\r\n\r\n",
            model.method,
            body.len()
        );
        let mut request = head.into_bytes();
        request.extend(body.bytes());
        if self.below(8) == 0 {
            for _ in 0..=self.below(4) {
                let at = self.below(request.len());
                request[at] ^= 1 << self.below(8);
            }
        }
        request
    }
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// What comes back: the status, if there is one.
fn answer(daemon: &Daemon, request: &[u8]) -> Option<u16> {
    let mut connection = UnixStream::connect(daemon.socket()).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    // It may have been refused, and closed, before all is written.
    drop(connection.write_all(request));
    let mut head = [0; 12];
    connection.read_exact(&mut head).ok()?;
    std::str::from_utf8(&head[9..]).ok()?.parse().ok()
}

fn number(variable: &str, otherwise: u64) -> u64 {
    let given = std::env::var(variable).ok();
    given.map_or(otherwise, |text| text.parse().unwrap())
}

#[test]
fn privileged_scenario_daemon_answers_whatever_is_asked() {
    let Some(mut daemon) = Daemon::start("hostile") else {
        return;
    };
    if !daemon.busybox("hostile") {
        return;
    }
    daemon.done(&[
        "create",
        "--name",
        "cc",
        "--network",
        "none",
        "busybox",
        "true",
    ]);
    let models = models();
    let mut chance = Chance(number("LAPSTRAKE_HOSTILE_SEED", 1).wrapping_mul(0x9E37_79B9) | 1);
    let mut answered = 0;
    for nth in 0..number("LAPSTRAKE_HOSTILE_REQUESTS", REQUESTS) {
        let request = {
            let model = chance.below(models.len());
            chance.request(&models[model])
        };
        let status = answer(&daemon, &request);
        answered += u64::from(status.is_some());
        if status.is_none_or(|status| status == 500) {
            let log = daemon.log();
            let shown = String::from_utf8_lossy(&request);
            let shown: String = shown.chars().take(2000).collect();
            assert!(!log.contains("panicked"), "request {nth}: {shown}\n{log}");
        }
    }
    eprintln!("{answered} answers; the daemon said:\n{}", daemon.log());
    assert!(answered > 100, "{answered}");
    assert_eq!(daemon.raw("GET /_ping").1, "OK");
    let all = daemon.done(&["ps", "-aq"]);
    for id in all.split_whitespace() {
        daemon.done(&["rm", "-f", "-v", id]);
    }
    assert!(daemon.processes().is_empty(), "{:?}", daemon.processes());
    let checked = daemon.stop_and_check();
    assert!(
        checked.status.success(),
        "{}",
        String::from_utf8_lossy(&checked.stdout)
    );
}
