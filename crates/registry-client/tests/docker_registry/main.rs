//! Pushes to and pulls from Debian's docker-registry: open, with users, with TLS, over a network that
//! breaks. What was pushed, skopeo reads too. Skipped, loudly, where a program is not installed.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod cutter;
mod server;
#[path = "../shared/mod.rs"]
mod shared;

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lapstrake_oci::{
    Algorithm, Descriptor, Digest, Document, Manifest, Reference, Repo, media_type,
};
use lapstrake_registry_client::{
    Certificates, Class, Client, Credentials, Error, FromRead, Options, Pushing, Way,
};

use cutter::Cutter;
use server::{Kind, Server};

const LAYER: usize = 3 << 20;

fn options() -> Options {
    Options::of("lapstrake-test")
}

fn trusting(certificates: PathBuf) -> Options {
    Options {
        certificates: Certificates::below(vec![certificates]),
        ..options()
    }
}

fn repo(host: &str) -> Repo {
    format!("{host}/team/app").parse().unwrap()
}

fn tagged(host: &str) -> Reference {
    format!("{host}/team/app:v1").parse().unwrap()
}

/// Pushes an image: a config, a layer that has a name, and one that gets it on the way.
async fn push_image(client: &Client, host: &str) -> Result<Vec<Descriptor>, Error> {
    let repo = repo(host);
    let named = shared::noise(LAYER);
    let unnamed = named[1..].to_vec();
    let mut layers = Vec::new();
    let digest = Algorithm::Sha256.digest(&named);
    client
        .push_blob(&repo, Some(&digest), &[], &mut Bytes::from(named))
        .await?;
    layers.push(descriptor(media_type::OCI_LAYER, digest, LAYER));
    let mut source = FromRead::new(None, |from| {
        let mut cursor = Cursor::new(unnamed.clone());
        cursor.set_position(from);
        Ok(cursor)
    });
    let pushed = client.push_blob(&repo, None, &[], &mut source).await?;
    layers.push(descriptor(media_type::OCI_LAYER, pushed.digest, LAYER - 1));
    let ids: Vec<_> = layers
        .iter()
        .map(|layer| layer.digest.to_string())
        .collect();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": ids },
    });
    let config = Bytes::from(config.to_string());
    let digest = Algorithm::Sha256.digest(&config);
    let length = config.len();
    client
        .push_blob(&repo, Some(&digest), &[], &mut config.clone())
        .await?;
    let manifest = serde_json::to_vec(&Manifest {
        schema_version: 2,
        media_type: Some(media_type::OCI_MANIFEST.to_owned()),
        artifact_type: None,
        config: descriptor(media_type::OCI_CONFIG, digest, length),
        layers: layers.clone(),
        subject: None,
        annotations: std::collections::BTreeMap::new(),
    });
    let manifest = Bytes::from(manifest.unwrap());
    client
        .push_manifest(&tagged(host), media_type::OCI_MANIFEST, manifest)
        .await?;
    Ok(layers)
}

fn descriptor(media_type: &str, digest: Digest, length: usize) -> Descriptor {
    Descriptor::new(media_type, digest, length as u64)
}

/// What was pushed comes back, and what was not is told.
async fn pull_image(client: &Client, host: &str, layers: &[Descriptor]) {
    let resolved = client.resolve(&tagged(host)).await.unwrap();
    let Document::Manifest(manifest) = resolved.document else {
        panic!("an index");
    };
    let repo = repo(host);
    let config = client.small_blob(&repo, &manifest.config, 1 << 20).await;
    assert!(config.unwrap().starts_with(b"{"));
    for layer in layers {
        let (bytes, error) = shared::read(client, &repo, layer).await;
        assert!(error.is_none(), "{error:?}");
        layer.verify(&bytes).unwrap();
    }
    let missing: Reference = format!("{repo}:v2").parse().unwrap();
    let error = client.resolve(&missing).await.unwrap_err();
    assert_eq!(error.class(), Class::NotFound, "{error}");
}

/// The other client reads all of it, and checks each digest.
fn skopeo_reads(host: &str, arguments: &[&str]) {
    const SKOPEO: &str = "/usr/bin/skopeo";
    if !Path::new(SKOPEO).exists() {
        eprintln!("SKIPPED: {SKOPEO} is not installed");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(SKOPEO)
        .args(["--insecure-policy", "copy"])
        .args(arguments)
        .arg(format!("docker://{}", tagged(host)))
        .arg(format!("dir:{}", directory.path().display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
async fn an_open_docker_registry() {
    let Some(server) = Server::start(Kind::Open) else {
        return;
    };
    let client = Client::new(options()).unwrap();
    let layers = push_image(&client, &server.host).await.unwrap();
    pull_image(&client, &server.host, &layers).await;
    skopeo_reads(&server.host, &["--src-tls-verify=false"]);
    let (from, to) = (repo(&server.host), format!("{}/other", server.host));
    let (to, digest) = (to.parse().unwrap(), &layers[0].digest);
    assert_eq!(client.blob_exists(&to, digest).await.unwrap(), None);
    let elsewhere = [from.clone()];
    let mut nothing = Bytes::new();
    let pushed = client.push_blob(&to, Some(digest), &elsewhere, &mut nothing);
    assert_eq!(pushed.await.unwrap().way, Way::Mounted(from.clone()));
    let size = client.blob_exists(&to, digest).await.unwrap();
    assert_eq!(size, Some(LAYER as u64));
    assert!(
        client
            .mount_blob(&to, &layers[1].digest, &from)
            .await
            .unwrap()
    );
    let nowhere = Algorithm::Sha256.digest(b"nowhere");
    assert!(!client.mount_blob(&to, &nowhere, &from).await.unwrap());
}

#[tokio::test]
async fn a_docker_registry_in_pieces() {
    let Some(server) = Server::start(Kind::Open) else {
        return;
    };
    let client = Client::new(Options {
        pushing: Pushing::Pieces(1_000_000),
        ..options()
    });
    let client = client.unwrap();
    let layers = push_image(&client, &server.host).await.unwrap();
    pull_image(&client, &server.host, &layers).await;
    skopeo_reads(&server.host, &["--src-tls-verify=false"]);
}

#[tokio::test]
async fn a_docker_registry_behind_a_network_that_breaks() {
    let Some(server) = Server::start(Kind::Open) else {
        return;
    };
    for pushing in [Pushing::Whole, Pushing::Pieces(700_000)] {
        let network = Cutter::before(&server.host, &[2_000_000, 500_000, 1_000_000]);
        let options = Options {
            pushing,
            ..options()
        };
        let client = Client::new(options).unwrap();
        let repo: Repo = format!("{}/broken", network.host).parse().unwrap();
        let bytes = shared::noise(LAYER + usize::from(pushing == Pushing::Whole));
        let digest = Algorithm::Sha256.digest(&bytes);
        let mut source = Bytes::from(bytes.clone());
        let pushed = client.push_blob(&repo, None, &[], &mut source).await;
        assert_eq!(pushed.unwrap().digest, digest);
        let blob = descriptor("", digest, bytes.len());
        let (read, error) = shared::read(&client, &repo, &blob).await;
        assert!(error.is_none() && read == bytes, "{error:?}");
    }
}

#[tokio::test]
async fn a_docker_registry_with_users() {
    let Some(server) = Server::start(Kind::Users) else {
        return;
    };
    let client = shared::known(&server.host, "hush");
    let layers = push_image(&client, &server.host).await.unwrap();
    pull_image(&client, &server.host, &layers).await;
    let credentials = ["--src-tls-verify=false", "--src-creds=me:hush"];
    skopeo_reads(&server.host, &credentials);
    for client in [shared::anonymous(), shared::known(&server.host, "wrong")] {
        let error = client.resolve(&tagged(&server.host)).await.unwrap_err();
        assert_eq!(error.class(), Class::PermissionDenied, "{error}");
        let error = push_image(&client, &server.host).await.unwrap_err();
        assert_eq!(error.class(), Class::PermissionDenied, "{error}");
    }
}

#[tokio::test]
async fn a_docker_registry_with_an_authority_of_its_own() {
    let Some(server) = Server::start(Kind::Tls) else {
        return;
    };
    let certificates = server.certificates(&[("ca.crt", "ca.crt")]);
    let client = Client::new(trusting(certificates.clone())).unwrap();
    let layers = push_image(&client, &server.host).await.unwrap();
    pull_image(&client, &server.host, &layers).await;
    let directory = certificates.join(&server.host);
    skopeo_reads(
        &server.host,
        &[&format!("--src-cert-dir={}", directory.display())],
    );
}

/// It fails for want of trust, at once, and the error says what to do.
async fn is_not_trusted(options: Options, host: &str) {
    let client = Client::new(options).unwrap();
    let start = Instant::now();
    let error = client.resolve(&tagged(host)).await.unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    assert_eq!(error.class(), Class::Invalid);
    let message = error.to_string();
    assert!(
        message.contains(&format!("certs.d/{host}/ca.crt")),
        "{message}"
    );
    assert!(
        start.elapsed() < Duration::from_secs(3),
        "it was tried again"
    );
}

#[tokio::test]
async fn a_bad_certificate_is_no_outage() {
    let Some(server) = Server::start(Kind::Tls) else {
        return;
    };
    let other = server.certificates(&[("other.crt", "ca.crt")]);
    is_not_trusted(trusting(other), &server.host).await;
    let Some(plain) = Server::start(Kind::Open) else {
        return;
    };
    // A directory for it, even an empty one, says that it speaks TLS.
    is_not_trusted(trusting(plain.certificates(&[])), &plain.host).await;
}

#[tokio::test]
async fn a_docker_registry_that_wants_to_know_clients_by_certificate() {
    let Some(server) = Server::start(Kind::MutualTls) else {
        return;
    };
    let ours = [
        ("ca.crt", "ca.crt"),
        ("client.crt", "client.cert"),
        ("client.key", "client.key"),
    ];
    let certificates = server.certificates(&ours);
    let client = Client::new(trusting(certificates.clone())).unwrap();
    let layers = push_image(&client, &server.host).await.unwrap();
    pull_image(&client, &server.host, &layers).await;
    let directory = certificates.join(&server.host);
    skopeo_reads(
        &server.host,
        &[&format!("--src-cert-dir={}", directory.display())],
    );
    let unknown = server.certificates(&ours[..1]);
    is_not_trusted(trusting(unknown), &server.host).await;
}

#[tokio::test]
async fn a_certificate_file_that_is_none_is_named() {
    let Some(server) = Server::start(Kind::Tls) else {
        return;
    };
    let wrong = server.certificates(&[("server.ext", "ca.crt")]);
    let client = Client::new(trusting(wrong)).unwrap();
    let error = client.resolve(&tagged(&server.host)).await.unwrap_err();
    assert!(error.to_string().contains("ca.crt"), "{error}");
    assert!(matches!(error, Error::Config { .. }), "{error:?}");
}

#[tokio::test]
async fn a_file_of_credentials_and_a_helper() {
    let Some(server) = Server::start(Kind::Users) else {
        return;
    };
    let text = format!(
        r#"{{"auths":{{"{}":{{"auth":"bWU6aHVzaA=="}}}}}}"#,
        server.host
    );
    let file = lapstrake_registry_client::AuthFile::parse(text.as_bytes()).unwrap();
    let client = shared::client(Credentials::none().with_file(file));
    push_image(&client, &server.host).await.unwrap();
    let text = format!(r#"{{"credHelpers":{{"{}":"of-nobody"}}}}"#, server.host);
    let file = lapstrake_registry_client::AuthFile::parse(text.as_bytes()).unwrap();
    let client = shared::client(Credentials::none().with_file(file));
    let error = client.resolve(&tagged(&server.host)).await.unwrap_err();
    assert!(
        error.to_string().contains("docker-credential-of-nobody"),
        "{error}"
    );
}

/// Seconds of processor that this process has used.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks: f64 = fields[11..13]
        .iter()
        .map(|ticks| ticks.parse::<f64>().unwrap())
        .sum();
    ticks / 100.0
}

#[tokio::test]
#[ignore = "a measurement, not a check"]
async fn half_a_gigabyte_to_a_docker_registry() {
    let Some(server) = Server::start(Kind::Open) else {
        return;
    };
    let client = Client::new(options()).unwrap();
    for (name, has_name) in [("named", true), ("named on the way", false)] {
        let bytes = Bytes::from(shared::noise((512 << 20) + usize::from(has_name)));
        let digest = Algorithm::Sha256.digest(&bytes);
        let want = has_name.then_some(&digest);
        let (start, before) = (Instant::now(), processor());
        let mut source = FromRead::new(has_name.then_some(bytes.len() as u64), |from| {
            let mut cursor = Cursor::new(bytes.clone());
            cursor.set_position(from);
            Ok(cursor)
        });
        let repo = repo(&server.host);
        let pushed = client.push_blob(&repo, want, &[], &mut source);
        assert_eq!(pushed.await.unwrap().digest, digest);
        println!(
            "512 MiB, {name}: {:.2} s, {:.2} s of processor here",
            start.elapsed().as_secs_f64(),
            processor() - before
        );
    }
}
