//! For tests: a daemon over a store of its own, asked without a socket.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::{HeaderMap, Request, StatusCode};
use lapstrake_engine::containers::{ContainerOptions, Containers};
use lapstrake_engine::settings::LogSettings;
use lapstrake_engine::{ClientOptions, Engine, Opening, Surroundings, Volumes};
use percent_encoding::{AsciiSet, utf8_percent_encode};
use serde_json::Value;

use crate::answer::Said;
use crate::daemon::{Daemon, Settings};
use crate::router;

const ENCODED: &AsciiSet = &AsciiSet::EMPTY.add(b'{').add(b'}').add(b'"').add(b' ');

/// A daemon, and where its store is.
pub(crate) struct Asked {
    pub(crate) daemon: Arc<Daemon>,
    _dir: tempfile::TempDir,
}

/// What was answered.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Asked {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let around = Surroundings {
            root: dir.path().join("root"),
            run: dir.path().join("run"),
            hostname: "host".to_owned(),
            boot_id: "boot".to_owned(),
        };
        let engine = Engine::open(&around, Opening::Own(None)).expect("a store");
        let settings = Settings {
            registries: ClientOptions::of("test"),
            parallel: 2,
            runtime: PathBuf::from("/no/such/runc").display().to_string(),
            log_driver: "json-file".to_owned(),
            hostname: "host".to_owned(),
            log: Arc::new(|_line| {}),
        };
        let engine = Arc::new(engine);
        let containers = containers(Arc::clone(&engine));
        Self {
            daemon: Daemon::new(engine, containers, settings),
            _dir: dir,
        }
    }

    /// Asks as `GET /info`, without a body.
    pub(crate) async fn ask(&self, line: &str) -> Answer {
        self.say(line, &[], "").await
    }

    /// Asks with headers and a body.
    pub(crate) async fn say(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let (method, target) = line.split_once(' ').expect("METHOD PATH");
        // Filters are written as they are read; clients encode them.
        let target = utf8_percent_encode(target, ENCODED).to_string();
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body: Said = Full::new(body.to_owned().into())
            .map_err(|never| match never {})
            .boxed();
        let request = request.body(body).expect("a request");
        let response = router::answer(&self.daemon, request).await;
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        Answer {
            status: head.status,
            headers: head.headers,
            body: String::from_utf8(body.to_vec()).expect("text"),
        }
    }
}

/// No containers yet; none can be started.
fn containers(engine: Arc<Engine>) -> Containers {
    let options = ContainerOptions {
        monitor: (PathBuf::from("/no/such/monitor"), Vec::new()),
        runtimes: [("runc".to_owned(), "/no/such/runc".to_owned())].into(),
        default_runtime: "runc".to_owned(),
        log: LogSettings {
            driver: "json-file".to_owned(),
            ..LogSettings::default()
        },
        stop_timeout: Duration::from_secs(1),
        tell: |_line| {},
    };
    // A test's own runtime can't wait in here.
    let open = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let volumes = Arc::new(Volumes::open(&engine).expect("volumes"));
        let opened = Containers::open(engine, volumes, options);
        runtime.block_on(opened).expect("containers").0
    };
    std::thread::spawn(open).join().expect("containers")
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("text"))
    }
}
