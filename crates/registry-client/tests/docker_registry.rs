//! A pull from Debian's docker-registry, open and with users. Skipped where it is not installed.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod shared;

use std::fs::File;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lapstrake_oci::{Algorithm, Descriptor, Document, Manifest, Reference, media_type};
use lapstrake_registry_client::{Class, Client};

const PROGRAM: &str = "/usr/bin/docker-registry";
/// `me`, with bcrypt of `hush`.
const HTPASSWD: &str = "me:$2y$05$abcdefghijklmnopqrstuulzd.YqjLDl8lvpSmVj3De/fioSBHnUa\n";

struct Server {
    child: Child,
    host: String,
    _directory: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Server {
    /// Starts one, unless there is none.
    fn start(has_users: bool) -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            eprintln!("SKIPPED: {PROGRAM} is not installed");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = free.local_addr().unwrap().to_string();
        drop(free);
        let root = directory.path().display();
        let mut config = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {root}/data\nhttp:\n  addr: {host}\n"
        );
        if has_users {
            write(&directory.path().join("users"), HTPASSWD);
            config.push_str(&format!(
                "auth:\n  htpasswd:\n    realm: test\n    path: {root}/users\n"
            ));
        }
        let path = directory.path().join("config.yml");
        write(&path, &config);
        let child = Command::new(PROGRAM)
            .arg("serve")
            .arg(path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self {
            child,
            host,
            _directory: directory,
        };
        let start = Instant::now();
        while TcpStream::connect(&server.host).is_err() {
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "it does not start"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(server)
    }

    async fn put(&self, url: reqwest::Url, media_type: &str, body: Vec<u8>) {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = http.put(url).header("Authorization", shared::BASIC);
        let request = request.header("Content-Type", media_type).body(body);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 201);
    }

    async fn push_blob(&self, bytes: Vec<u8>, media_type: &str) -> Descriptor {
        let digest = Algorithm::Sha256.digest(&bytes);
        let descriptor = Descriptor::new(media_type, digest.clone(), bytes.len() as u64);
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("http://{}/v2/team/app/blobs/uploads/", self.host);
        let request = http.post(&url).header("Authorization", shared::BASIC);
        let answer = request.send().await.unwrap();
        let location = answer.headers()["Location"].to_str().unwrap();
        let mut url = reqwest::Url::parse(&url).unwrap().join(location).unwrap();
        url.query_pairs_mut()
            .append_pair("digest", &digest.to_string());
        self.put(url, "application/octet-stream", bytes).await;
        descriptor
    }

    async fn push_image(&self) -> (Reference, Descriptor) {
        let config = self.push_blob(b"{}".to_vec(), media_type::OCI_CONFIG).await;
        let layer = shared::noise(3 << 20);
        let layer = self.push_blob(layer, media_type::OCI_LAYER).await;
        let manifest = serde_json::to_vec(&Manifest {
            schema_version: 2,
            media_type: Some(media_type::OCI_MANIFEST.to_owned()),
            artifact_type: None,
            config,
            layers: vec![layer.clone()],
            subject: None,
            annotations: std::collections::BTreeMap::new(),
        });
        let url = format!("http://{}/v2/team/app/manifests/v1", self.host);
        let url = reqwest::Url::parse(&url).unwrap();
        self.put(url, media_type::OCI_MANIFEST, manifest.unwrap())
            .await;
        let reference = format!("{}/team/app:v1", self.host).parse().unwrap();
        (reference, layer)
    }
}

fn write(path: &Path, text: &str) {
    File::create(path)
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
}

async fn check(client: &Client, reference: &Reference, layer: &Descriptor) {
    let resolved = client.resolve(reference).await.unwrap();
    let Document::Manifest(manifest) = resolved.document else {
        panic!("an index");
    };
    let repo = reference.repo();
    let config = client.small_blob(repo, &manifest.config, 100).await;
    assert_eq!(config.unwrap(), b"{}");
    let (bytes, error) = shared::read(client, repo, layer).await;
    assert!(error.is_none(), "{error:?}");
    layer.verify(&bytes).unwrap();
    let missing: Reference = format!("{repo}:v2").parse().unwrap();
    let error = client.resolve(&missing).await.unwrap_err();
    assert_eq!(error.class(), Class::NotFound, "{error}");
}

#[tokio::test]
async fn an_open_docker_registry() {
    let Some(server) = Server::start(false) else {
        return;
    };
    let (reference, layer) = server.push_image().await;
    check(&shared::anonymous(), &reference, &layer).await;
}

#[tokio::test]
async fn a_docker_registry_with_users() {
    let Some(server) = Server::start(true) else {
        return;
    };
    let (reference, layer) = server.push_image().await;
    check(&shared::known(&server.host, "hush"), &reference, &layer).await;
    for client in [shared::anonymous(), shared::known(&server.host, "wrong")] {
        let error = client.resolve(&reference).await.unwrap_err();
        assert_eq!(error.class(), Class::PermissionDenied, "{error}");
    }
}
