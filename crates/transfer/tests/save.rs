//! Images saved as archives and layouts, read back with another program's reader of tars.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure is the test's"
)]

mod shared;

use std::collections::BTreeMap;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::os::unix::fs::FileExt as _;

use lapstrake_oci::{Algorithm, Config, Image, Manifest, Parsed, Reference};
use lapstrake_store::Store;
use lapstrake_transfer::Error;
use lapstrake_transfer::archive::{
    Form, Out, Plan, SaveEvent, ToSave, plan, write_directory, write_tar,
};
use serde_json::{Value, json};
use shared::Scene;

/// The scene's image, under these names.
fn to_save(scene: &Scene, store: &Store, names: &[&str]) -> ToSave {
    let blob = |digest| store.read_blob(digest, 1 << 20).unwrap();
    let manifest = &scene.image.manifest.digest;
    let config = &scene.image.config.digest;
    let image = Image::new(
        Parsed::<Manifest>::manifest(blob(manifest)).unwrap(),
        Parsed::<Config>::config(blob(config)).unwrap(),
    );
    ToSave {
        image: image.unwrap(),
        manifest: manifest.clone(),
        names: names.iter().map(|name| name.parse().unwrap()).collect(),
        tar_lens: scene
            .layers
            .iter()
            .map(|layer| layer.blob.len() as u64)
            .collect(),
    }
}

fn saved(store: &Store, plan: &Plan) -> Vec<u8> {
    let mut tar = Vec::new();
    write_tar(store, plan, Out::Stream(&mut tar), &|_event| {}).unwrap();
    tar
}

/// The entries of a tar: names in their order, and contents.
fn entries(tar: &[u8]) -> (Vec<String>, BTreeMap<String, Vec<u8>>) {
    let (mut order, mut contents) = (Vec::new(), BTreeMap::new());
    for entry in tar::Archive::new(tar).entries().unwrap() {
        let mut entry = entry.unwrap();
        assert_eq!(entry.header().mtime().unwrap(), 0);
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        order.push(path.clone());
        assert!(contents.insert(path, bytes).is_none(), "twice");
    }
    (order, contents)
}

fn read(contents: &BTreeMap<String, Vec<u8>>, path: &str) -> Value {
    serde_json::from_slice(&contents[path]).unwrap()
}

#[test]
fn an_archive_is_dockers_and_a_layout_and_always_the_same() {
    let scene = Scene::pulled();
    let store = scene.store();
    let image = to_save(&scene, &store, &["app:1", "localhost:5000/team/app:2"]);
    let plan = plan(&[image], Form::Docker);
    let tar = saved(&store, &plan);
    assert_eq!(tar, saved(&store, &plan));

    let (order, contents) = entries(&tar);
    let blob = |hex: &str| format!("blobs/sha256/{hex}");
    let (manifest, config) = (&scene.image.manifest, &scene.image.config);
    let layers: Vec<_> = (0..3).map(|at| blob(scene.id(at).0.hex())).collect();
    let documents = [
        "oci-layout",
        "index.json",
        "manifest.json",
        "repositories",
        "blobs/",
    ];
    let mut want: Vec<_> = documents.map(str::to_owned).to_vec();
    want.extend(["blobs/sha256/".to_owned(), blob(manifest.digest.hex())]);
    want.push(blob(config.digest.hex()));
    want.extend(layers.clone());
    assert_eq!(order, want);

    for (path, layer) in layers.iter().zip(&scene.layers) {
        assert!(contents[path] == layer.blob);
    }
    for (path, bytes) in contents.iter().filter(|(path, _)| path.len() > 64) {
        let got = Algorithm::Sha256.digest(bytes);
        assert_eq!(*path, blob(got.hex()));
    }
    assert_eq!(
        read(&contents, "manifest.json"),
        json!([{
            "Config": blob(config.digest.hex()),
            "RepoTags": ["app:1", "localhost:5000/team/app:2"],
            "Layers": layers,
        }])
    );
    let top = scene.id(2);
    assert_eq!(
        read(&contents, "repositories"),
        json!({"app": {"1": top.0.hex()}, "localhost:5000/team/app": {"2": top.0.hex()}})
    );
    // Its layers are not compressed in the registry: the manifest is the same.
    let index = read(&contents, "index.json");
    assert_eq!(index["manifests"].as_array().unwrap().len(), 2);
    for (entry, (name, tag)) in index["manifests"].as_array().unwrap().iter().zip([
        ("docker.io/library/app:1", "1"),
        ("localhost:5000/team/app:2", "2"),
    ]) {
        assert_eq!(entry["digest"], json!(manifest.digest));
        assert_eq!(
            entry["annotations"],
            json!({"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag})
        );
    }
}

#[test]
fn what_is_twice_is_saved_once_and_an_image_needs_no_name() {
    let scene = Scene::pulled();
    let store = scene.store();
    let image = to_save(&scene, &store, &[]);
    let once = plan(std::slice::from_ref(&image), Form::Docker);
    let twice = plan(&[image.clone(), image], Form::Docker);
    assert_eq!(once.layers().count(), 3);
    assert_eq!(once.layer_bytes(), twice.layer_bytes());
    let (order, contents) = entries(&saved(&store, &once));
    assert!(!order.contains(&"repositories".to_owned()));
    assert_eq!(read(&contents, "manifest.json")[0]["RepoTags"], Value::Null);
    let entries = &read(&contents, "index.json")["manifests"];
    assert_eq!(entries.as_array().unwrap().len(), 1);
    assert_eq!(entries[0].get("annotations"), None);
}

#[test]
fn a_layout_is_a_directory() {
    let scene = Scene::pulled();
    let store = scene.store();
    let plan = plan(&[to_save(&scene, &store, &["app:1"])], Form::Layout);
    let dir = tempfile::tempdir().unwrap();
    write_directory(&store, &plan, dir.path(), &|_event| {}).unwrap();
    let layer = dir.path().join("blobs/sha256").join(scene.id(0).0.hex());
    assert!(std::fs::read(layer).unwrap() == scene.layers[0].blob);
    let mut names: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["blobs", "index.json", "oci-layout"]);
}

#[test]
fn a_damaged_layer_is_never_saved_silently() {
    let scene = Scene::pulled();
    let store = scene.store();
    let plan = plan(&[to_save(&scene, &store, &["app:1"])], Form::Docker);
    let data = std::fs::File::options()
        .write(true)
        .open(store.content.layer_files(&scene.id(0)).data)
        .unwrap();
    data.write_all_at(b"x", 2_000_000).unwrap();
    let save = || write_tar(&store, &plan, Out::Stream(&mut io::sink()), &|_event| {});
    let error = save().unwrap_err();
    for error in [error, saved_in_file(&store, &plan).unwrap_err()] {
        assert!(
            matches!(&error, Error::NotSound { id, .. } if *id == scene.id(0)),
            "{error}"
        );
    }
    data.set_len(4096).unwrap();
    for error in [
        save().unwrap_err(),
        saved_in_file(&store, &plan).unwrap_err(),
    ] {
        assert!(error.to_string().contains("ends early"), "{error}");
    }
}

/// An archive in a regular file.
fn saved_in_file(store: &Store, plan: &Plan) -> Result<Vec<u8>, Error> {
    let mut file = tempfile::tempfile().unwrap();
    write_tar(store, plan, Out::File(&mut file), &|_event| {})?;
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    Ok(bytes)
}

#[test]
fn a_file_has_the_bytes_of_a_stream_with_a_span_table_or_without() {
    let scene = Scene::pulled();
    let store = scene.store();
    let plan = plan(&[to_save(&scene, &store, &["app:1"])], Form::Docker);
    let want = saved(&store, &plan);
    assert!(saved_in_file(&store, &plan).unwrap() == want);
    let spans = store.content.layer_files(&scene.id(0)).spans;
    let file = std::fs::File::options().write(true).open(&spans).unwrap();
    file.write_all_at(b"x", 100).unwrap();
    assert!(saved_in_file(&store, &plan).unwrap() == want);
    // Of another layer: it is sound, but of another tar.
    std::fs::copy(store.content.layer_files(&scene.id(1)).spans, &spans).unwrap();
    assert!(saved_in_file(&store, &plan).unwrap() == want);
    std::fs::remove_file(&spans).unwrap();
    assert!(saved_in_file(&store, &plan).unwrap() == want);
}

/// A reader that goes after so many bytes.
struct Goes(usize);

impl Write for Goes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self
            .0
            .checked_sub(bytes.len())
            .ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_goes_ends_it() {
    let scene = Scene::pulled();
    let store = scene.store();
    let plan = plan(&[to_save(&scene, &store, &["app:1"])], Form::Docker);
    for bytes in [0, 600, 1_000_000] {
        let error =
            write_tar(&store, &plan, Out::Stream(&mut Goes(bytes)), &|_event| {}).unwrap_err();
        let gone = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
        assert!(
            matches!(&error, Error::Output(source) if gone(source)),
            "{error}"
        );
    }
}

#[test]
fn progress_adds_up() {
    let scene = Scene::pulled();
    let store = scene.store();
    let plan = plan(&[to_save(&scene, &store, &["app:1"])], Form::Docker);
    let events = std::sync::Mutex::new(Vec::new());
    write_tar(&store, &plan, Out::Stream(&mut io::sink()), &|event| {
        events.lock().unwrap().push(event);
    })
    .unwrap();
    let events = events.into_inner().unwrap();
    let total = plan.layer_bytes();
    assert_eq!(events[0], SaveEvent::Started { bytes: total });
    let written = events.iter().map(|event| match event {
        SaveEvent::Written { bytes } => *bytes,
        SaveEvent::Started { .. } | SaveEvent::Layer { .. } => 0,
    });
    assert_eq!(written.sum::<u64>(), total);
    let name: Reference = "app:1".parse().unwrap();
    assert_eq!(plan.images[0].names, [name]);
    assert!(plan.images[0].same_manifest);
}
