//! Archives of images, whole and broken.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::sync::Mutex;

use lapstrake_oci::{Algorithm, DiffId, Digest, Platform};
use lapstrake_store::{HostId, Store};
use lapstrake_testkit::tar::Tar;
use lapstrake_transfer::archive::{LoadEvent, LoadFrom, LoadOptions, Loaded, load};
use lapstrake_transfer::{Class, Error, Limits, check_layer};
use serde_json::{Value, json};

struct Scene {
    dir: tempfile::TempDir,
    store: Store,
    events: Mutex<Vec<LoadEvent>>,
}

fn scene() -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), &HostId::from_hostname("h"), "boot").unwrap();
    store.sweep().unwrap();
    Scene {
        dir,
        store,
        events: Mutex::default(),
    }
}

impl Scene {
    fn load_from(&self, from: LoadFrom<'_>, platform: Option<&str>) -> Result<Loaded, Error> {
        let options = LoadOptions {
            platform: platform.map(|text| text.parse().unwrap()),
            host: Platform::new("linux", "amd64"),
            limits: Limits::DEFAULT,
        };
        load(&self.store, from, &options, &|event| {
            self.events.lock().unwrap().push(event);
        })
    }

    fn load(&self, archive: &[u8]) -> Result<Loaded, Error> {
        self.load_from(LoadFrom::Stream(&mut &archive[..]), None)
    }

    fn count(&self, below: &str) -> usize {
        fn files(path: &Path) -> usize {
            let entries = std::fs::read_dir(path).into_iter().flatten();
            let one = |entry: std::fs::DirEntry| match entry.file_type().unwrap().is_dir() {
                true => files(&entry.path()),
                false => 1,
            };
            entries.map(|entry| one(entry.unwrap())).sum()
        }
        files(&self.dir.path().join("content").join(below))
    }

    /// Nothing of a load is here: no name, no layer, no document, no lease, nothing half-written.
    fn assert_empty(&self) {
        assert_eq!(self.store.state().images().unwrap(), []);
        for below in ["layers", "blobs", "leases", "tmp"] {
            assert_eq!(self.count(below), 0, "{below}");
        }
    }

    /// These names lead to images whose layers are sound.
    fn assert_names(&self, names: &[&str]) {
        let images = self.store.state().images().unwrap();
        let found: Vec<_> = images
            .iter()
            .map(|image| image.reference.as_str())
            .collect();
        assert_eq!(found, names);
        for image in &images {
            let config = self.store.read_blob(&image.config, 1 << 20).unwrap();
            let config: Value = serde_json::from_slice(&config).unwrap();
            for id in config["rootfs"]["diff_ids"].as_array().unwrap() {
                check_layer(&self.store, &DiffId(id.as_str().unwrap().parse().unwrap())).unwrap();
            }
        }
        assert_eq!(self.count("leases") + self.count("tmp"), 0);
    }
}

fn layer(name: &str) -> Vec<u8> {
    Tar::default()
        .file(name, 0o644, &name.as_bytes().repeat(3000))
        .finish()
}

fn digest(bytes: &[u8]) -> Digest {
    Algorithm::Sha256.digest(bytes)
}

fn hex(bytes: &[u8]) -> String {
    digest(bytes).hex().to_owned()
}

fn config(architecture: &str, layers: &[&[u8]]) -> Vec<u8> {
    let ids: Vec<_> = layers
        .iter()
        .map(|layer| digest(layer).to_string())
        .collect();
    json!({"architecture": architecture, "os": "linux", "config": {},
           "rootfs": {"type": "layers", "diff_ids": ids}})
    .to_string()
    .into_bytes()
}

type Files = Vec<(String, Vec<u8>)>;

fn tar(files: &Files) -> Vec<u8> {
    let mut tar = Tar::default();
    for (path, bytes) in files {
        match bytes.strip_prefix(b"-> ") {
            Some(target) => tar.symlink(path, std::str::from_utf8(target).unwrap()),
            None => tar.file(path, 0o644, bytes),
        };
    }
    tar.finish()
}

/// As Docker before 25 writes it: the second layer is a link to the first.
fn docker_archive() -> Files {
    let one = layer("one");
    let config = config("amd64", &[&one, &layer("two"), &one]);
    let id = format!("{}.json", hex(&config));
    let list = json!([{"Config": id, "RepoTags": ["app:1", "example.com/app:2"],
        "Layers": ["a/layer.tar", "b/layer.tar", "c/layer.tar"]}]);
    vec![
        ("a/VERSION".to_owned(), b"1.0".to_vec()),
        ("a/json".to_owned(), b"{}".to_vec()),
        ("a/layer.tar".to_owned(), one),
        ("b/layer.tar".to_owned(), layer("two")),
        ("c/layer.tar".to_owned(), b"-> ../a/layer.tar".to_vec()),
        (id, config),
        ("manifest.json".to_owned(), list.to_string().into_bytes()),
        ("repositories".to_owned(), b"{}".to_vec()),
    ]
}

fn blob(files: &mut Files, media_type: &str, bytes: Vec<u8>) -> Value {
    let descriptor =
        json!({"mediaType": media_type, "digest": digest(&bytes), "size": bytes.len()});
    let path = format!("blobs/sha256/{}", hex(&bytes));
    if files.iter().all(|(other, _)| *other != path) {
        files.push((path, bytes));
    }
    descriptor
}

fn oci(what: &str) -> String {
    format!("application/vnd.oci.image.{what}")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let encoder = flate2::GzBuilder::new();
    let mut encoder = encoder.read(bytes, flate2::Compression::fast());
    let mut out = Vec::new();
    std::io::Read::read_to_end(&mut encoder, &mut out).unwrap();
    out
}

/// A manifest for one layer, gzipped, and all that it names.
fn manifest(files: &mut Files, architecture: &str, tar: &[u8]) -> Value {
    let config = blob(files, &oci("config.v1+json"), config(architecture, &[tar]));
    let layer = blob(files, &oci("layer.v1.tar+gzip"), gzip(tar));
    let manifest = json!({"schemaVersion": 2, "mediaType": oci("manifest.v1+json"),
        "config": config, "layers": [layer]});
    let mut described = blob(
        files,
        &oci("manifest.v1+json"),
        manifest.to_string().into_bytes(),
    );
    described["platform"] = json!({"os": "linux", "architecture": architecture});
    described
}

fn finish_layout(mut files: Files, manifests: &[Value]) -> Files {
    let index = json!({"schemaVersion": 2, "manifests": manifests});
    // Behind what they lead to, as in an archive in the order of names.
    files.push(("index.json".to_owned(), index.to_string().into_bytes()));
    files.push((
        "oci-layout".to_owned(),
        br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(),
    ));
    files
}

fn named(mut descriptor: Value, key: &str, name: &str) -> Value {
    descriptor["annotations"] = json!({key: name});
    descriptor
}

const IMAGE_NAME: &str = "io.containerd.image.name";
const REF_NAME: &str = "org.opencontainers.image.ref.name";

fn layout() -> Files {
    let mut files = Files::new();
    let manifest = manifest(&mut files, "amd64", &layer("one"));
    finish_layout(
        files,
        &[named(manifest, IMAGE_NAME, "docker.io/library/app:1")],
    )
}

/// An index with an image for this platform, one for another, one that is not in the archive, and an
/// attestation.
fn many_platforms() -> Files {
    let mut files = Files::new();
    let arm = manifest(&mut files, "arm64", &layer("arm"));
    let amd = manifest(&mut files, "amd64", &layer("amd"));
    let mut elsewhere = Files::new();
    let missing = manifest(&mut elsewhere, "s390x", &layer("s390"));
    let mut about = manifest(&mut files, "unknown", &layer("about"));
    about["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    let index = json!({"schemaVersion": 2, "mediaType": oci("index.v1+json"),
        "manifests": [arm, amd, missing, about]});
    let index = blob(
        &mut files,
        &oci("index.v1+json"),
        index.to_string().into_bytes(),
    );
    finish_layout(
        files,
        &[named(index, IMAGE_NAME, "docker.io/library/app:1")],
    )
}

#[test]
fn a_docker_archive_is_loaded_under_its_names_whatever_comes_first() {
    let files = docker_archive();
    let mut manifests = Vec::new();
    for reverse in [false, true] {
        let mut files = files.clone();
        if reverse {
            files.reverse();
        }
        let scene = scene();
        let loaded = scene.load(&tar(&files)).unwrap();
        assert_eq!(loaded.new_layers, 2);
        assert_eq!(loaded.notes, Vec::<String>::new());
        let names: Vec<_> = loaded.images[0]
            .names
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(names, ["docker.io/library/app:1", "example.com/app:2"]);
        scene.assert_names(&["docker.io/library/app:1", "example.com/app:2"]);
        manifests.push(loaded.images[0].manifest.clone());
    }
    // The manifest that is made depends on nothing but the image.
    assert_eq!(manifests[0], manifests[1]);
}

#[test]
fn a_layout_keeps_its_manifest_and_a_compressed_archive_is_as_good() {
    let files = layout();
    let plain = tar(&files);
    for archive in [gzip(&plain), plain] {
        let scene = scene();
        let loaded = scene.load(&archive).unwrap();
        scene.assert_names(&["docker.io/library/app:1"]);
        let manifest = scene
            .store
            .read_blob(&loaded.images[0].manifest, 1 << 20)
            .unwrap();
        assert!(files.iter().any(|(_, bytes)| *bytes == manifest));
    }
    let scene = scene();
    let dir = tempfile::tempdir().unwrap();
    for (path, bytes) in &files {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::io::Write::write_all(&mut std::fs::File::create(path).unwrap(), bytes).unwrap();
    }
    scene
        .load_from(LoadFrom::Directory(dir.path()), None)
        .unwrap();
    scene.assert_names(&["docker.io/library/app:1"]);
}

#[test]
fn what_is_here_is_read_past() {
    let scene = scene();
    // With names that say which layers they are.
    let tar_of = |files: &Files| tar(files);
    let one = layer("one");
    let config = config("amd64", &[&one]);
    let list = json!([{"Config": format!("{}.json", hex(&config)), "RepoTags": null,
        "Layers": [format!("{}.tar", hex(&one))]}]);
    let files = vec![
        (format!("{}.tar", hex(&one)), one),
        (format!("{}.json", hex(&config)), config),
        ("manifest.json".to_owned(), list.to_string().into_bytes()),
    ];
    assert_eq!(scene.load(&tar_of(&files)).unwrap().new_layers, 1);
    scene.events.lock().unwrap().clear();
    assert_eq!(scene.load(&tar_of(&files)).unwrap().new_layers, 0);
    let events = scene.events.lock().unwrap();
    assert!(
        events
            .iter()
            .any(|event| matches!(event, LoadEvent::Exists { .. }))
    );
    assert!(
        !events
            .iter()
            .any(|event| matches!(event, LoadEvent::Started { .. }))
    );
    drop(events);
    let images = scene.store.state().images().unwrap();
    assert_eq!(images.len(), 1);
    assert!(images[0].reference.starts_with("localhost/unnamed@sha256:"));
}

#[test]
fn of_several_platforms_this_machines_gets_the_name() {
    let scene = scene();
    let loaded = scene.load(&tar(&many_platforms())).unwrap();
    let platforms: Vec<_> = loaded
        .images
        .iter()
        .map(|image| image.platform.to_string())
        .collect();
    assert_eq!(platforms, ["linux/arm64", "linux/amd64"]);
    let by_digest = format!("docker.io/library/app@{}", loaded.images[0].manifest);
    scene.assert_names(&["docker.io/library/app:1", &by_digest]);
    assert_eq!(loaded.notes.len(), 2, "{:?}", loaded.notes);
    assert!(loaded.notes.iter().any(|note| note.contains("s390x")));
    // The attestation's layer is not kept.
    assert_eq!(loaded.new_layers, 2);
}

#[test]
fn one_platform_can_be_asked_for() {
    let scene = scene();
    let archive = tar(&many_platforms());
    let load = |platform| scene.load_from(LoadFrom::Stream(&mut &archive[..]), Some(platform));
    let error = load("linux/riscv64").unwrap_err();
    assert!(
        error.to_string().contains("linux/arm64, linux/amd64"),
        "{error}"
    );
    scene.assert_empty();
    assert_eq!(load("linux/arm64").unwrap().new_layers, 1);
    scene.assert_names(&["docker.io/library/app:1"]);
    let config = scene.store.state().images().unwrap()[0].config.clone();
    let config = scene.store.read_blob(&config, 1 << 20).unwrap();
    assert!(String::from_utf8(config).unwrap().contains("arm64"));
}

#[test]
fn a_tag_alone_is_no_name() {
    let scene = scene();
    let mut files = Files::new();
    let manifest = manifest(&mut files, "amd64", &layer("one"));
    let files = finish_layout(files, &[named(manifest, REF_NAME, "latest")]);
    let loaded = scene.load(&tar(&files)).unwrap();
    assert_eq!(loaded.images[0].names, []);
    assert!(loaded.notes[0].contains("latest"));
}

fn change(mut files: Files, path: &str, to: impl FnOnce(&mut Vec<u8>)) -> Files {
    let file = files.iter_mut().find(|(other, _)| other.contains(path));
    to(&mut file.unwrap().1);
    files
}

fn without(mut files: Files, path: &str) -> Files {
    let before = files.len();
    files.retain(|(other, _)| !other.contains(path));
    assert!(files.len() < before);
    files
}

fn replace(bytes: &mut Vec<u8>, from: &str, to: &str) {
    *bytes = String::from_utf8(bytes.clone())
        .unwrap()
        .replace(from, to)
        .into_bytes();
}

#[test]
fn broken_archives_are_told_apart_and_leave_nothing() {
    let docker = docker_archive;
    let gz = hex(&gzip(&layer("one")));
    let twice = [docker(), vec![("a/json".to_owned(), b"[]".to_vec())]].concat();
    let cases: Vec<(Vec<u8>, Class, &str)> = vec![
        (layer("x"), Class::Invalid, "lapstrake import"),
        (Vec::new(), Class::Invalid, "holds no images"),
        (
            tar(&without(docker(), "manifest.json")),
            Class::Invalid,
            "Docker before 1.10",
        ),
        (
            tar(&without(docker(), "b/layer")),
            Class::Invalid,
            "no \"b/layer.tar\"",
        ),
        (
            tar(&without(docker(), "a/layer")),
            Class::Invalid,
            "no \"a/layer.tar\"",
        ),
        (tar(&twice), Class::Invalid, "twice"),
        (
            tar(&change(docker(), "b/layer", |bytes| {
                *bytes = layer("other")
            })),
            Class::DataLoss,
            "but its image's config says",
        ),
        (
            tar(&change(docker(), "b/layer", |bytes| bytes.truncate(2000))),
            Class::Invalid,
            "ends at byte",
        ),
        (
            tar(&change(docker(), "c/layer", |bytes| {
                replace(bytes, "a/", "c/")
            })),
            Class::Invalid,
            "round in circles",
        ),
        (
            tar(&change(docker(), "c/layer", |bytes| {
                replace(bytes, "../a", "../../a")
            })),
            Class::Invalid,
            "leaves the root",
        ),
        (
            tar(&change(docker(), "manifest.json", |bytes| {
                replace(bytes, "a/layer", "../layer")
            })),
            Class::Invalid,
            "no \"../layer.tar\"",
        ),
        (
            tar(&change(docker(), "manifest.json", |bytes| {
                replace(bytes, "app:1", "A B")
            })),
            Class::Invalid,
            "no name",
        ),
        (
            tar(&change(docker(), "manifest.json", |bytes| {
                bytes.truncate(30)
            })),
            Class::Invalid,
            "manifest.json",
        ),
        (
            tar(&change(docker(), "manifest.json", |bytes| {
                replace(bytes, "\"b/layer.tar\",", "")
            })),
            Class::Invalid,
            "2 layers in the archive and 3",
        ),
        (
            tar(&change(docker(), "manifest.json", |bytes| {
                bytes.resize(9 << 20, b' ')
            })),
            Class::Invalid,
            "too many for a document",
        ),
        (
            tar(&change(docker(), ".json", |bytes| {
                replace(bytes, "{}", "{\"User\": \"x\"}")
            })),
            Class::DataLoss,
            "damaged or changed",
        ),
        (
            tar(&docker())[..8000].to_vec(),
            Class::Invalid,
            "ends at byte",
        ),
        (
            gzip(&tar(&docker()))[..300].to_vec(),
            Class::Invalid,
            "ends too early",
        ),
        (
            tar(&change(layout(), "oci-layout", |bytes| {
                replace(bytes, "1.0.0", "9")
            })),
            Class::Invalid,
            "version \"9\"",
        ),
        (
            tar(&without(layout(), &gz)),
            Class::Invalid,
            "it is not complete",
        ),
        (
            tar(&change(layout(), &gz, |bytes| *bytes = gzip(&layer("two")))),
            Class::DataLoss,
            "damaged or changed",
        ),
        (
            tar(&change(layout(), &gz, |bytes| bytes.truncate(100))),
            Class::Invalid,
            "ends too early",
        ),
        (
            tar(&change(layout(), "index.json", |bytes| {
                replace(bytes, "app:1", "app::")
            })),
            Class::Invalid,
            "no name",
        ),
    ];
    for (archive, class, words) in cases {
        let scene = scene();
        let error = scene.load(&archive).unwrap_err();
        assert!(error.to_string().contains(words), "{words}: {error}");
        assert_eq!(error.class(), class, "{error}");
        scene.assert_empty();
    }
}

#[test]
fn indexes_without_end_are_refused() {
    let mut files = Files::new();
    let mut entry = manifest(&mut files, "amd64", &layer("one"));
    for _depth in 0..12 {
        let index = json!({"schemaVersion": 2, "mediaType": oci("index.v1+json"),
            "manifests": [entry]});
        entry = blob(
            &mut files,
            &oci("index.v1+json"),
            index.to_string().into_bytes(),
        );
    }
    let scene = scene();
    let error = scene
        .load(&tar(&finish_layout(files, &[entry])))
        .unwrap_err();
    assert!(error.to_string().contains("deep"), "{error}");
    scene.assert_empty();
}
