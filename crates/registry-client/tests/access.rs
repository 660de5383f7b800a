//! Who we are to a registry, and what nobody else learns.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod shared;

use lapstrake_oci::{Descriptor, Document, Reference};
use lapstrake_registry_client::{
    AuthFile, Class, Client, Credential, Credentials, Error, Mirror, Options, PlainHttp, Proxies,
    Resolved,
};
use lapstrake_testkit::registry::{Access, Added, Fault, Layer, Registry};

fn image(access: Access) -> (Registry, Added) {
    let registry = Registry::start(access);
    let layer = Layer::plain(shared::noise(5_000));
    let added = registry.add_image("team/app", "v1", &[layer]);
    (registry, added)
}

/// Pulls manifest, config and layer.
async fn pull(client: &Client, added: &Added) -> Result<(), Error> {
    let repo = added.reference.repo();
    let Resolved { digest, document } = client.resolve(&added.reference).await?;
    assert_eq!(digest, added.manifest.digest);
    let Document::Manifest(manifest) = document else {
        panic!("an index");
    };
    added.manifest.verify(manifest.raw()).unwrap();
    let config = client.small_blob(repo, &manifest.config, 1 << 20).await?;
    added.config.verify(&config).unwrap();
    for layer in &manifest.layers {
        let (bytes, error) = shared::read(client, repo, layer).await;
        if let Some(error) = error {
            return Err(error);
        }
        layer.verify(&bytes).unwrap();
    }
    Ok(())
}

fn targets(registry: &Registry) -> Vec<(String, bool)> {
    let requests = registry.requests().into_iter();
    requests
        .map(|request| {
            let target = request.target.split(['?', '@']).next().unwrap_or_default();
            let kind = target.rsplit('/').nth(1).unwrap_or_default().to_owned();
            (kind, request.authorization.is_some())
        })
        .collect()
}

#[tokio::test]
async fn an_open_registry_learns_nothing() {
    let (registry, added) = image(Access::Open);
    let client = shared::known(&registry.host(), "hush");
    pull(&client, &added).await.unwrap();
    assert!(
        registry
            .requests()
            .iter()
            .all(|r| r.authorization.is_none())
    );
}

#[tokio::test]
async fn basic() {
    let (registry, added) = image(Access::Basic(shared::BASIC.to_owned()));
    pull(&shared::known(&registry.host(), "hush"), &added)
        .await
        .unwrap();
    let sent: Vec<_> = targets(&registry)
        .into_iter()
        .map(|(_, sent)| sent)
        .collect();
    assert_eq!(sent, [false, true, true, true], "one refusal, then no more");
}

#[tokio::test]
async fn who_does_not_say_how_to_ask_is_asked_at_the_door() {
    let (registry, added) = image(Access::BasicAtTheDoor(shared::BASIC.to_owned()));
    pull(&shared::known(&registry.host(), "hush"), &added)
        .await
        .unwrap();
    let sent: Vec<_> = targets(&registry)
        .into_iter()
        .map(|(_, sent)| sent)
        .collect();
    assert_eq!(
        sent,
        [false, false, true, true, true],
        "two refusals, then no more"
    );
    let error = pull(&shared::anonymous(), &added).await.unwrap_err();
    assert_eq!(error.class(), Class::PermissionDenied);
}

#[tokio::test]
async fn a_token_is_had_without_credentials_and_kept() {
    let (registry, added) = image(Access::Token);
    pull(&shared::anonymous(), &added).await.unwrap();
    let expected = [
        ("manifests", false),
        ("", false),
        ("manifests", true),
        ("blobs", true),
        ("blobs", true),
    ];
    let expected = expected.map(|(kind, sent)| (kind.to_owned(), sent));
    assert_eq!(targets(&registry), expected);
}

#[tokio::test]
async fn a_token_is_had_with_credentials() {
    let (registry, added) = image(Access::TokenFor(shared::BASIC.to_owned()));
    pull(&shared::known(&registry.host(), "hush"), &added)
        .await
        .unwrap();
    for request in registry.requests() {
        let sent = request.authorization.unwrap_or_default();
        let is_for_token_server = request.target.starts_with("/token");
        assert_eq!(
            sent == shared::BASIC,
            is_for_token_server,
            "{}",
            request.target
        );
    }
}

#[tokio::test]
async fn wrong_or_no_credentials_are_denied_with_advice() {
    for access in [
        Access::Basic(shared::BASIC.to_owned()),
        Access::TokenFor(shared::BASIC.to_owned()),
    ] {
        let (registry, added) = image(access);
        let elsewhere = shared::known("other.example", "hush");
        for client in [shared::known(&registry.host(), "wrong"), elsewhere] {
            let error = pull(&client, &added).await.unwrap_err();
            assert_eq!(error.class(), Class::PermissionDenied, "{error}");
            let message = error.to_string();
            assert!(message.contains(&registry.host()), "{message}");
            assert!(message.contains("check the credentials"), "{message}");
            assert!(!message.contains("hush"), "{message}");
        }
    }
}

#[tokio::test]
async fn a_token_that_runs_out_in_the_middle_of_a_blob_is_replaced() {
    let (registry, added) = image(Access::Token);
    let layer = &added.layers[0];
    registry.fault(&layer.digest, Fault::CutAfter(100));
    let client = shared::anonymous();
    let repo = added.reference.repo();
    let mut stream = client.blob(repo, layer).await.unwrap();
    registry.expire_tokens();
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next_chunk().await.unwrap() {
        bytes.extend_from_slice(&chunk);
    }
    layer.verify(&bytes).unwrap();
}

#[tokio::test]
async fn a_redirect_takes_no_credentials_along() {
    for access in [Access::Basic(shared::BASIC.to_owned()), Access::Token] {
        let storage = Registry::start(Access::Open);
        let (registry, added) = image(access);
        let layer = &added.layers[0];
        storage.add_blob(shared::noise(5_000));
        registry.fault(&layer.digest, Fault::RedirectTo(storage.host()));
        pull(&shared::known(&registry.host(), "hush"), &added)
            .await
            .unwrap();
        let asked = storage.requests();
        assert_eq!(asked.len(), 1);
        assert_eq!(asked[0].authorization, None);
    }
}

#[tokio::test]
async fn damaged_manifests_and_configs_are_not_shown() {
    let (registry, added) = image(Access::Open);
    let client = shared::anonymous();
    let (repo, digest) = (added.reference.repo(), &added.manifest.digest);
    registry.fault(digest, Fault::WrongByte(20));
    let error = client.manifest(repo, digest).await.unwrap_err();
    assert!(
        matches!(&error, Error::Mismatch { want, .. } if want == digest),
        "{error}"
    );
    registry.fault(digest, Fault::WrongByte(20));
    let pinned = Reference::pinned(repo.clone(), digest.clone());
    let error = client.resolve(&pinned).await.unwrap_err();
    assert_eq!(error.class(), Class::DataLoss, "{error}");
    for fault in [
        Fault::WrongByte(20),
        Fault::ShortBody(20),
        Fault::LongBody(1),
    ] {
        registry.fault(&added.config.digest, fault.clone());
        let error = client.small_blob(repo, &added.config, 1 << 20).await;
        let error = error.unwrap_err();
        assert_eq!(error.class(), Class::DataLoss, "{fault:?}: {error}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let (registry, _) = image(Access::Open);
    let missing: Reference = format!("{}/team/app:v2", registry.host()).parse().unwrap();
    let error = shared::anonymous().resolve(&missing).await.unwrap_err();
    assert_eq!(error.class(), Class::NotFound);
    let message = error.to_string();
    assert!(message.contains("team/app:v2"), "{message}");
    assert!(
        message.contains("MANIFEST_UNKNOWN: manifest unknown"),
        "{message}"
    );
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_named() {
    let (registry, added) = image(Access::Open);
    drop(registry);
    let error = shared::anonymous()
        .resolve(&added.reference)
        .await
        .unwrap_err();
    assert_eq!(error.class(), Class::Unavailable);
    assert!(
        error.to_string().contains("cannot reach 127.0.0.1:"),
        "{error}"
    );
}

#[tokio::test]
async fn an_empty_blob_is_empty() {
    let registry = Registry::start(Access::Open);
    let empty = Descriptor::new("", registry.add_blob(*b""), 0);
    let (bytes, error) = shared::read(&shared::anonymous(), &registry.repo("a"), &empty).await;
    assert!(bytes.is_empty() && error.is_none(), "{error:?}");
}

#[tokio::test]
async fn an_identity_token_is_posted_and_an_access_token_had() {
    let (registry, added) = image(Access::TokenForIdentity("hush".to_owned()));
    let identity = Credential::Identity("hush".to_owned());
    let client = shared::client(Credentials::none().with(&registry.host(), identity));
    pull(&client, &added).await.unwrap();
    let asked = registry.requests();
    assert!(
        asked.iter().all(|r| !r.target.contains("hush")),
        "not where URLs are logged"
    );
    let wrong = Credential::Identity("wrong".to_owned());
    let client = shared::client(Credentials::none().with(&registry.host(), wrong));
    let error = pull(&client, &added).await.unwrap_err();
    assert_eq!(error.class(), Class::PermissionDenied, "{error}");
}

#[tokio::test]
async fn a_token_that_has_run_out_is_replaced_whatever_the_refusal() {
    for status in [None, Some(403), Some(401)] {
        let (registry, added) = image(Access::Token);
        if let Some(status) = status {
            registry.refuse_old_tokens_with(status);
        }
        let client = shared::anonymous();
        for _ in 0..3 {
            pull(&client, &added).await.unwrap();
            registry.expire_tokens();
        }
        let tokens = registry.requests().into_iter();
        let tokens = tokens.filter(|r| r.target.starts_with("/token")).count();
        assert_eq!(tokens, 3, "{status:?}");
    }
}

#[tokio::test]
async fn of_many_that_are_refused_one_fetches_a_token() {
    let (registry, added) = image(Access::Token);
    registry.slow_down(std::time::Duration::from_millis(30), 1 << 30);
    let client = shared::anonymous();
    let pulls = (0..8).map(|_| pull(&client, &added));
    for pulled in futures_util::future::join_all(pulls).await {
        pulled.unwrap();
    }
    let tokens = registry.requests().into_iter();
    assert_eq!(tokens.filter(|r| r.target.starts_with("/token")).count(), 1);
}

#[tokio::test]
async fn credentials_and_headers_come_from_a_file() {
    let (registry, added) = image(Access::Basic(shared::BASIC.to_owned()));
    let storage = Registry::start(Access::Open);
    storage.add_blob(shared::noise(5_000));
    let layer = &added.layers[0].digest;
    registry.fault(layer, Fault::RedirectTo(storage.host()));
    let text = format!(
        r#"{{"auths":{{"{}":{{"auth":"bWU6aHVzaA=="}}}},"HttpHeaders":{{"X-Meta-Test":"7"}}}}"#,
        registry.host()
    );
    let file = AuthFile::parse(text.as_bytes()).unwrap();
    let client = shared::client(Credentials::none().with_file(file));
    pull(&client, &added).await.unwrap();
    assert!(
        registry
            .requests()
            .iter()
            .all(|r| r.meta.as_deref() == Some("7"))
    );
    assert!(storage.requests().iter().all(|r| r.meta.is_none()));
}

/// A mirror of a registry, and a client that knows it.
fn mirrored(access: Access) -> (Registry, Registry, Added, Client) {
    let (origin, added) = image(Access::Open);
    let mirror = Registry::start(access);
    let mut options = Options::of("lapstrake-test");
    options.mirrors.insert(
        origin.host(),
        vec![Mirror {
            host: mirror.host(),
            prefix: "proxy/here".to_owned(),
        }],
    );
    options.credentials = Credentials::none().with(&mirror.host(), shared::me("hush"));
    let client = Client::new(options).unwrap();
    (origin, mirror, added, client)
}

#[tokio::test]
async fn what_a_mirror_has_is_not_asked_of_the_registry() {
    let (origin, mirror, added, client) = mirrored(Access::Basic(shared::BASIC.to_owned()));
    let layer = Layer::plain(shared::noise(5_000));
    mirror.add_image("proxy/here/team/app", "v1", &[layer]);
    pull(&client, &added).await.unwrap();
    assert_eq!(origin.requests(), []);
    for request in mirror.requests() {
        assert!(
            request.target.contains("ns=127.0.0.1%3A"),
            "{}",
            request.target
        );
    }
}

#[tokio::test]
async fn what_a_mirror_does_not_have_is_asked_of_the_registry_without_the_mirrors_credentials() {
    let (origin, mirror, added, client) = mirrored(Access::Basic(shared::BASIC.to_owned()));
    pull(&client, &added).await.unwrap();
    assert!(origin.requests().iter().all(|r| r.authorization.is_none()));
    assert!(mirror.requests().iter().any(|r| r.authorization.is_some()));
}

#[tokio::test]
async fn a_mirror_that_breaks_off_or_lies_is_left_for_the_registry() {
    let (origin, mirror, added, client) = mirrored(Access::Open);
    let layer = Layer::plain(shared::noise(5_000));
    let there = mirror.add_image("proxy/here/team/app", "v1", &[layer]);
    mirror.fault(&there.config.digest, Fault::WrongByte(20));
    mirror.fault(&there.layers[0].digest, Fault::CutAfter(2_000));
    pull(&client, &added).await.unwrap();
    let asked: Vec<_> = origin.requests().into_iter().map(|r| r.range).collect();
    assert_eq!(asked, [None, Some("bytes=2000-".to_owned())]);
}

#[tokio::test]
async fn a_mirror_that_is_down_is_tried_once() {
    let (origin, mirror, added, client) = mirrored(Access::Open);
    drop(mirror);
    let start = std::time::Instant::now();
    pull(&client, &added).await.unwrap();
    assert_eq!(origin.requests().len(), 3);
    assert!(start.elapsed().as_secs() < 5);
}

#[tokio::test]
async fn when_all_fail_the_registry_is_named() {
    let (origin, _mirror, added, client) = mirrored(Access::Open);
    drop(origin);
    let error = pull(&client, &added).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains(added.reference.repo().registry()),
        "{error}"
    );
}

#[tokio::test]
async fn a_proxy_is_used_for_other_machines_only() {
    // The registry stands for the proxy: it serves what it is asked for, whatever the host.
    let (proxy, added) = image(Access::Open);
    let far: Reference = "registry.test:5000/team/app:v1".parse().unwrap();
    let options = |except: &str| {
        let mut options = Options::of("lapstrake-test");
        options.plain_http = PlainHttp::LoopbackAnd(vec!["registry.test:5000".to_owned()]);
        options.proxies = Proxies {
            http: Some(format!("http://{}", proxy.host())),
            https: None,
            except: Some(except.to_owned()),
        };
        Client::new(options).unwrap()
    };
    let client = options("other.test");
    client.resolve(&far).await.unwrap();
    assert_eq!(proxy.requests()[0].host, "registry.test:5000");
    client.resolve(&added.reference).await.unwrap();
    assert_eq!(proxy.requests()[1].host, proxy.host(), "itself, directly");
    let error = options("other.test,.test").resolve(&far).await.unwrap_err();
    assert_eq!(error.class(), Class::Unavailable, "{error}");
    assert_eq!(proxy.requests().len(), 2);
}

#[tokio::test]
async fn a_proxy_that_is_none_is_told_without_its_password() {
    let mut options = Options::of("lapstrake-test");
    options.proxies.http = Some("http://me:hush@[".to_owned());
    let error = Client::new(options).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hush"), "{error}");
}
