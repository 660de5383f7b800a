//! Manifests, indexes and configs, case by case and against oci-spec's parsers.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure is the test's"
)]

use lapstrake_oci::{
    Algorithm, Class, Config, Descriptor, DiffId, Digest, Document, Error, Image, Index, Manifest,
    Parsed, Platform, bounds, chain_ids, media_type,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn digest(of: &str) -> Digest {
    Algorithm::Sha256.digest(of.as_bytes())
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn descriptor(media_type: &str, of: &str) -> Value {
    json!({"mediaType": media_type, "digest": digest(of).to_string(), "size": of.len()})
}

fn manifest(layers: usize) -> Value {
    let layers: Vec<_> = (0..layers)
        .map(|n| descriptor(media_type::OCI_LAYER_GZIP, &n.to_string()))
        .collect();
    json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": descriptor(media_type::OCI_CONFIG, "config"),
        "layers": layers,
    })
}

fn index(platforms: &[Option<&str>]) -> Value {
    let entries: Vec<_> = platforms
        .iter()
        .enumerate()
        .map(|(n, platform)| {
            let mut entry = descriptor(media_type::OCI_MANIFEST, &n.to_string());
            if let Some(platform) = platform {
                let mut parts = platform.split('/');
                let platform = json!({
                    "os": parts.next(), "architecture": parts.next(), "variant": parts.next(),
                });
                entry["platform"] = platform;
            }
            entry
        })
        .collect();
    json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": entries})
}

#[derive(Debug, PartialEq)]
enum Read {
    Manifest,
    Index,
    Refused(Class),
}

#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "cases read better so")]
fn check_kind(document: &Value, declared: Option<&str>, expected: Read) {
    let read = match Document::parse(bytes(document), declared) {
        Ok(Document::Manifest(_)) => Read::Manifest,
        Ok(Document::Index(_)) => Read::Index,
        Err(error) => Read::Refused(error.class()),
    };
    assert_eq!(read, expected, "{document} as {declared:?}");
}

#[test]
fn a_document_is_what_its_type_says() {
    let mut docker = manifest(1);
    docker["mediaType"] = json!(media_type::DOCKER_MANIFEST);
    let mut list = index(&[]);
    list["mediaType"] = json!(media_type::DOCKER_LIST);
    check_kind(&manifest(1), None, Read::Manifest);
    check_kind(&docker, Some(media_type::DOCKER_MANIFEST), Read::Manifest);
    check_kind(&index(&[]), None, Read::Index);
    check_kind(
        &list,
        Some("application/vnd.docker.distribution.manifest.list.v2+json; charset=utf-8"),
        Read::Index,
    );
    check_kind(&manifest(1), Some("text/plain"), Read::Manifest);
    // Registries may serve an OCI manifest as Docker's and the other way round: the kind is the same.
    check_kind(
        &manifest(1),
        Some(media_type::DOCKER_MANIFEST),
        Read::Manifest,
    );
}

#[test]
fn without_an_own_type_the_header_decides_and_then_the_fields() {
    let mut plain = manifest(1);
    plain.as_object_mut().unwrap().remove("mediaType");
    check_kind(&plain, Some(media_type::OCI_MANIFEST), Read::Manifest);
    check_kind(&plain, None, Read::Manifest);
    let mut plain = index(&[]);
    plain.as_object_mut().unwrap().remove("mediaType");
    check_kind(&plain, None, Read::Index);
    check_kind(
        &json!({"schemaVersion": 2}),
        None,
        Read::Refused(Class::Unsupported),
    );
}

#[test]
fn a_document_that_could_be_taken_for_either_is_refused() {
    let mut both = manifest(1);
    both["manifests"] = json!([]);
    check_kind(
        &both,
        Some(media_type::OCI_MANIFEST),
        Read::Refused(Class::Malformed),
    );
    check_kind(
        &manifest(1),
        Some(media_type::OCI_INDEX),
        Read::Refused(Class::Malformed),
    );
    let mut lying = index(&[]);
    lying["mediaType"] = json!(media_type::OCI_MANIFEST);
    check_kind(&lying, None, Read::Refused(Class::Malformed));
    let mut foreign = manifest(1);
    foreign["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json");
    check_kind(&foreign, None, Read::Refused(Class::Unsupported));
}

#[test]
fn schema_1_is_refused_with_a_way_out() {
    let old = json!({
        "schemaVersion": 1, "name": "library/hello", "tag": "latest", "architecture": "amd64",
        "fsLayers": [{"blobSum": digest("x").to_string()}], "history": [], "signatures": [],
    });
    let error = Document::parse(bytes(&old), None).unwrap_err();
    assert!(error.to_string().contains("skopeo copy"), "{error}");
    let declared = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    check_kind(&old, Some(declared), Read::Refused(Class::Unsupported));
    check_kind(
        &json!({"fsLayers": []}),
        None,
        Read::Refused(Class::Unsupported),
    );
}

#[test]
fn only_json_within_bounds_is_read() {
    for broken in [&b""[..], b"{", b"[]", b"null", b"\xff", b"{}x"] {
        let error = Document::parse(broken, Some(media_type::OCI_MANIFEST)).unwrap_err();
        assert_eq!(error.class(), Class::Malformed, "{broken:?}");
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep = format!(r#"{{"config":{deep}}}"#);
    assert!(Document::parse(deep.into_bytes(), None).is_err());
    let large = vec![b' '; bounds::MAX_MANIFEST_BYTES + 1];
    assert!(matches!(
        Document::parse(large, None),
        Err(Error::TooLarge { .. })
    ));
    assert!(Document::parse(bytes(&manifest(bounds::MAX_LAYERS)), None).is_ok());
    let many = Document::parse(bytes(&manifest(bounds::MAX_LAYERS + 1)), None);
    assert!(matches!(many, Err(Error::TooMany { .. })));
    let mut vast = manifest(1);
    vast["layers"][0]["size"] = json!(u64::MAX);
    assert!(matches!(
        Parsed::manifest(bytes(&vast)),
        Err(Error::TooLarge { .. })
    ));
}

#[test]
fn raw_bytes_stay_whatever_the_view_knows() {
    let mut odd = manifest(1);
    odd["x-unknown"] = json!({"deep": [1, 2, 3]});
    let raw = serde_json::to_vec_pretty(&odd).unwrap();
    let parsed = Parsed::manifest(raw.clone()).unwrap();
    assert_eq!(**parsed.raw(), *raw);
    assert_eq!(
        parsed.digest(Algorithm::Sha512),
        Algorithm::Sha512.digest(&raw)
    );
}

/// Which entry (by position) is chosen.
#[track_caller]
fn check_choice(platforms: &[Option<&str>], wanted: &str, expected: Option<usize>) {
    let index = Parsed::index(bytes(&index(platforms))).unwrap();
    let chosen = index
        .choose(&wanted.parse().unwrap())
        .ok()
        .map(|entry| entry.digest.clone());
    let expected = expected.map(|n| digest(&n.to_string()));
    assert_eq!(chosen, expected, "{wanted} of {platforms:?}");
}

#[test]
fn the_entry_that_suits_best_is_chosen() {
    let usual = [
        Some("linux/arm64/v8"),
        Some("linux/386"),
        Some("linux/amd64"),
        Some("unknown/unknown"),
    ];
    check_choice(&usual, "linux/amd64", Some(2));
    check_choice(&usual, "linux/arm64", Some(0));
    check_choice(&usual, "linux/386", Some(1));
    check_choice(&usual, "linux/riscv64", None);
    check_choice(&usual, "windows/amd64", None);
    check_choice(
        &[Some("linux/386"), Some("linux/arm/v7")],
        "linux/amd64",
        Some(0),
    );
    check_choice(
        &[Some("linux/arm/v6"), Some("linux/arm/v7")],
        "linux/arm64",
        Some(1),
    );
    check_choice(
        &[Some("linux/amd64"), Some("linux/amd64")],
        "linux/amd64",
        Some(0),
    );
    check_choice(&[None, Some("linux/amd64")], "linux/amd64", Some(1));
    check_choice(&[Some("linux/s390x"), None, None], "linux/amd64", Some(1));
    check_choice(&[], "linux/amd64", None);
}

#[test]
fn when_nothing_suits_the_error_lists_what_there_is() {
    let index = Parsed::index(bytes(&index(&[
        Some("linux/arm/v7"),
        Some("unknown/unknown"),
        Some("linux/s390x"),
    ])))
    .unwrap();
    let error = index.choose(&Platform::new("linux", "amd64")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no image for linux/amd64: there are images for linux/arm/v7, linux/s390x"
    );
}

/// A config as Docker 20.10 writes it, nulls and all.
fn docker_config() -> Value {
    json!({
        "architecture": "amd64", "os": "linux", "docker_version": "20.10.24",
        "created": "2026-11-01T02:03:04.5Z", "author": null,
        "container": "abc", "container_config": {"Hostname": "abc", "Cmd": ["x"]},
        "config": {
            "Hostname": "", "Domainname": "", "User": "1000:1000", "AttachStdin": false,
            "Tty": false, "Env": ["PATH=/bin"], "Cmd": ["/bin/sh"], "ArgsEscaped": true,
            "ExposedPorts": {"80/tcp": {}, "53/udp": {}}, "Volumes": {"/data": {}},
            "WorkingDir": "/srv", "Entrypoint": null, "OnBuild": ["RUN x"],
            "Labels": {"a": "b"}, "StopSignal": "SIGTERM", "StopTimeout": 3,
            "Shell": ["/bin/bash", "-c"],
            "Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 30_000_000_000_i64, "Retries": 3},
        },
        "rootfs": {"type": "layers", "diff_ids": [digest("a").to_string(), digest("b").to_string()]},
        "history": [
            {"created": "2026-11-01T02:03:04Z", "created_by": "ADD x"},
            {"created_by": "ENV", "empty_layer": true},
            {"created_by": "RUN y", "comment": "c", "author": "me"},
        ],
    })
}

#[test]
fn docker_configs_are_read_with_their_own_fields() {
    let config = Parsed::config(bytes(&docker_config())).unwrap();
    assert_eq!(config.platform, Platform::new("linux", "amd64"));
    assert_eq!(
        config.rootfs.diff_ids,
        [DiffId(digest("a")), DiffId(digest("b"))]
    );
    let run = &config.config;
    assert_eq!(run.user.as_deref(), Some("1000:1000"));
    assert_eq!(run.entrypoint, None);
    assert_eq!(run.cmd.as_deref(), Some(&["/bin/sh".to_owned()][..]));
    assert!(run.args_escaped);
    assert_eq!(
        run.exposed_ports.iter().collect::<Vec<_>>(),
        ["53/udp", "80/tcp"]
    );
    assert_eq!(run.on_build, ["RUN x"]);
    assert_eq!(run.stop_timeout, Some(3));
    assert_eq!(
        run.shell.as_deref(),
        Some(&["/bin/bash".to_owned(), "-c".to_owned()][..])
    );
    let health = run.healthcheck.as_ref().unwrap();
    assert_eq!((health.interval, health.retries), (30_000_000_000, 3));
    let empty: Vec<_> = config.history.iter().map(|step| step.empty_layer).collect();
    assert_eq!(empty, [false, true, false]);
}

#[test]
fn commands_may_be_one_word_and_lists_may_be_null() {
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "config": {"Entrypoint": "/init", "Cmd": [], "Env": null, "Volumes": null, "Labels": null},
        "rootfs": {"type": "layers", "diff_ids": null}, "history": null,
    });
    let config = Parsed::config(bytes(&config)).unwrap();
    assert_eq!(
        config.config.entrypoint.as_deref(),
        Some(&["/init".to_owned()][..])
    );
    assert_eq!(config.config.cmd, Some(Vec::new()));
    assert!(config.config.env.is_empty() && config.rootfs.diff_ids.is_empty());
    let null = json!({"config": null, "rootfs": {"type": "layers"}});
    assert!(Parsed::config(bytes(&null)).is_ok());
}

/// An image whose manifest names the config as it is.
fn image(config: &Value, layers: usize) -> Result<Image, Error> {
    let config = bytes(config);
    let mut manifest = manifest(layers);
    manifest["config"]["digest"] = json!(Algorithm::Sha256.digest(&config).to_string());
    manifest["config"]["size"] = json!(config.len());
    Image::new(Parsed::manifest(bytes(&manifest))?, Parsed::config(config)?)
}

#[test]
fn an_image_pairs_each_layer_with_its_diff_id() {
    let image = image(&docker_config(), 2).unwrap();
    let pairs: Vec<_> = image
        .layers()
        .map(|layer| (layer.blob.digest.clone(), layer.diff_id.clone()))
        .collect();
    assert_eq!(
        pairs,
        [
            (digest("0"), DiffId(digest("a"))),
            (digest("1"), DiffId(digest("b")))
        ]
    );
    assert_eq!(
        image.chain_ids(),
        chain_ids(&[DiffId(digest("a")), DiffId(digest("b"))])
    );
}

#[test]
fn documents_that_disagree_are_no_image() {
    let count = image(&docker_config(), 3).unwrap_err();
    assert_eq!(
        count.to_string(),
        "the manifest has 3 layers but the config names 2"
    );
    let other = Image::new(
        Parsed::manifest(bytes(&manifest(2))).unwrap(),
        Parsed::config(bytes(&docker_config())).unwrap(),
    );
    assert_eq!(other.unwrap_err().class(), Class::Corrupt);
    let mut chart = manifest(0);
    chart["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json");
    let chart = Image::new(
        Parsed::manifest(bytes(&chart)).unwrap(),
        Parsed::config(bytes(&docker_config())).unwrap(),
    );
    assert!(matches!(chart, Err(Error::Artifact(_))));
}

#[test]
fn encrypted_layers_are_named() {
    let media_type = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted";
    let error = Descriptor::new(media_type, digest("x"), 1)
        .layer_type()
        .unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("not supported: decrypt the image first"),
        "{error}"
    );
}

fn arbitrary_digest() -> impl Strategy<Value = Digest> {
    (any::<[u8; 4]>(), any::<bool>()).prop_map(|(seed, long)| {
        if long {
            Algorithm::Sha512.digest(&seed)
        } else {
            Algorithm::Sha256.digest(&seed)
        }
    })
}

fn arbitrary_descriptor() -> impl Strategy<Value = Descriptor> {
    let media_type = prop_oneof![
        Just(media_type::OCI_LAYER_GZIP.to_owned()),
        Just(media_type::DOCKER_LAYER_GZIP.to_owned()),
        "[a-z]{1,8}/[a-z.+]{1,20}"
    ];
    let annotations = proptest::collection::btree_map("[a-z.]{1,9}", ".{0,9}", 0..3);
    let urls = proptest::collection::vec("https://[a-z]{1,9}/", 0..3);
    (
        media_type,
        arbitrary_digest(),
        0..=i64::MAX.unsigned_abs(),
        annotations,
        urls,
    )
        .prop_map(|(media_type, digest, size, annotations, urls)| Descriptor {
            annotations,
            urls,
            ..Descriptor::new(media_type, digest, size)
        })
}

proptest! {
    #[test]
    fn manifests_read_as_oci_spec_reads_them(
        config in arbitrary_descriptor(),
        layers in proptest::collection::vec(arbitrary_descriptor(), 0..9),
        subject in proptest::option::of(arbitrary_descriptor()),
    ) {
        let written = Manifest {
            schema_version: 2,
            media_type: Some(media_type::OCI_MANIFEST.to_owned()),
            artifact_type: None,
            config,
            layers,
            subject,
            annotations: Default::default(),
        };
        let raw = serde_json::to_vec(&written).unwrap();
        let theirs = oci_spec::image::ImageManifest::from_reader(&raw[..]).unwrap();
        let ours = Parsed::manifest(raw).unwrap();
        prop_assert_eq!(ours.value(), &written);
        let names = |d: &oci_spec::image::Descriptor| {
            (d.media_type().to_string(), d.digest().to_string(), d.size(), d.urls().clone().unwrap_or_default())
        };
        let expected: Vec<_> = theirs.layers().iter().chain([theirs.config()]).chain(theirs.subject()).map(names).collect();
        let read: Vec<_> = ours.layers.iter().chain([&ours.config]).chain(&ours.subject)
            .map(|d| (d.media_type.clone(), d.digest.to_string(), d.size, d.urls.clone())).collect();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn indexes_read_as_oci_spec_reads_them(
        entries in proptest::collection::vec((arbitrary_descriptor(), proptest::option::of(("linux|windows", "amd64|arm|riscv64", proptest::option::of("v[1-9]")))), 0..9),
    ) {
        let manifests = entries.into_iter().map(|(entry, platform)| Descriptor {
            platform: platform.map(|(os, architecture, variant)| Platform { variant, ..Platform::new(&os, &architecture) }),
            ..entry
        }).collect();
        let written = Index {
            schema_version: 2,
            media_type: Some(media_type::OCI_INDEX.to_owned()),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: Default::default(),
        };
        let raw = serde_json::to_vec(&written).unwrap();
        let theirs = oci_spec::image::ImageIndex::from_reader(&raw[..]).unwrap();
        let ours = Parsed::index(raw).unwrap();
        prop_assert_eq!(ours.value(), &written);
        let expected: Vec<_> = theirs.manifests().iter().map(|d| (d.digest().to_string(), d.platform().as_ref().map(|p| (p.os().to_string(), p.architecture().to_string(), p.variant().clone())))).collect();
        let read: Vec<_> = ours.manifests.iter().map(|d| (d.digest.to_string(), d.platform.clone().map(|p| (p.os, p.architecture, p.variant)))).collect();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn configs_read_as_oci_spec_reads_them(
        diff_ids in proptest::collection::vec(arbitrary_digest(), 0..9),
        env in proptest::collection::vec("[A-Z]{1,5}=.{0,9}", 0..4),
        cmd in proptest::option::of(proptest::collection::vec(".{0,9}", 0..4)),
        user in proptest::option::of("[a-z]{1,5}"),
        labels in proptest::collection::btree_map("[a-z.]{1,9}", ".{0,9}", 0..3),
        ports in proptest::collection::btree_set("[0-9]{1,4}/(tcp|udp)", 0..3),
    ) {
        let mut written = Config { platform: Platform::new("linux", "amd64"), ..Config::default() };
        written.rootfs.diff_ids = diff_ids.into_iter().map(DiffId).collect();
        written.config.env = env;
        written.config.cmd = cmd;
        written.config.user = user;
        written.config.labels = labels;
        written.config.exposed_ports = ports;
        let raw = serde_json::to_vec(&written).unwrap();
        let theirs = oci_spec::image::ImageConfiguration::from_reader(&raw[..]).unwrap();
        let ours = Parsed::config(raw).unwrap();
        prop_assert_eq!(ours.value(), &written);
        let diff_ids: Vec<_> = ours.rootfs.diff_ids.iter().map(ToString::to_string).collect();
        prop_assert_eq!(&diff_ids, theirs.rootfs().diff_ids());
        let theirs = theirs.config().clone().unwrap_or_default();
        prop_assert_eq!(&ours.config.env, &theirs.env().clone().unwrap_or_default());
        prop_assert_eq!(&ours.config.cmd, theirs.cmd());
        prop_assert_eq!(&ours.config.user, theirs.user());
        let labels = theirs.labels().clone().unwrap_or_default().into_iter().collect();
        prop_assert_eq!(&ours.config.labels, &labels);
    }

    #[test]
    fn any_bytes_are_read_or_refused(raw in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Document::parse(raw.clone(), None).is_ok();
        let _ = Parsed::config(raw).is_ok();
    }

    #[test]
    fn any_damage_is_read_or_refused(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut raw = bytes(&manifest(2));
        let at = at.index(raw.len());
        raw[at] = byte;
        let _ = Document::parse(raw, Some(media_type::OCI_MANIFEST)).is_ok();
        let mut raw = bytes(&docker_config());
        let at = at.min(raw.len() - 1);
        raw[at] = byte;
        let _ = Parsed::config(raw).is_ok();
    }
}
