//! A store with many small images, to measure how opening depends on their number.
//!
//! ```text
//! many fill DIR IMAGES LAYERS     makes one; each image has LAYERS / IMAGES layers of its own
//! many open DIR owner|reader      opens it once, and prints milliseconds as JSON
//! many open DIR crashed           the same after an owner that was killed
//! ```
#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use lapstrake_oci::{Algorithm, DiffId};
use lapstrake_store::{
    Commit, Durability, HostId, ImageRecord, LayerRecord, LayerState, Lineage, Object, Place, Store,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["fill", dir, images, layers] => fill(Path::new(dir), images.parse()?, layers.parse()?),
        ["open", dir, how] => open(Path::new(dir), how),
        _ => Err("see the text at the top of this program".into()),
    }
}

fn place<'a>(root: &'a Path, host: &'a HostId) -> Place<'a> {
    Place {
        root,
        host,
        boot_id: "boot",
    }
}

fn fill(root: &Path, images: usize, layers: usize) -> Outcome<()> {
    let host = HostId::from_hostname("many");
    let store = Store::open_at(place(root, &host), None)?;
    for image in 0..images {
        add_image(&store, image, layers / images.max(1))?;
    }
    Ok(())
}

fn add_image(store: &Store, image: usize, layers: usize) -> Outcome<()> {
    let [manifest, config] = ["manifest", "config"].map(|kind| format!("{kind} {image}"));
    let digest = |text: &str| Algorithm::Sha256.digest(text.as_bytes());
    let record = ImageRecord {
        reference: format!("docker.io/library/image-{image}:latest"),
        manifest: digest(&manifest),
        config: digest(&config),
    };
    let ids: Vec<_> = (0..layers)
        .map(|layer| DiffId(digest(&format!("layer {layer} of {image}"))))
        .collect();
    let objects: Vec<_> = ids.iter().cloned().map(Object::Layer).collect();
    let _lease = store.lease(&objects, SystemTime::now() + Duration::from_secs(60))?;
    for id in &ids {
        let mut stage = store.content.stage_layer()?;
        stage.append(&[1; 4096])?;
        let staged = stage.finish(b"skeleton", b"spans")?;
        store.publish_layer(staged, id, id.clone(), Durability::HasSource)?;
        let index = store
            .indexes
            .put::<Box<dyn Error>>(id, |out| Ok(out.write_all(&[2; 4096])?))?;
        let layer = LayerRecord {
            diff_id: id.clone(),
            tar_len: 8192,
            data_len: 4096,
            index,
            state: LayerState::Present,
        };
        store.state().add_layer(&layer, None)?;
    }
    for (text, digest) in [(&manifest, &record.manifest), (&config, &record.config)] {
        let bytes = text.as_bytes();
        store
            .content
            .put_blob(bytes, digest, Durability::HasSource)?;
    }
    let lineage = Lineage {
        index: None,
        layers: &ids,
    };
    store
        .state()
        .set_image(&record, &lineage, SystemTime::now(), Commit::Lazy)?;
    store.state().set_proved(&ids)?;
    Ok(())
}

fn open(root: &Path, how: &str) -> Outcome<()> {
    let host = HostId::from_hostname("many");
    let place = place(root, &host);
    if how == "crashed" {
        // As an owner that was killed leaves it.
        drop(std::fs::File::create(root.join("state/owner"))?);
    }
    let start = Instant::now();
    let store = match how {
        "owner" | "crashed" => Store::open_at(place, None)?,
        "reader" => Store::open_read_only(place)?,
        _ => return Err("open as what?".into()),
    };
    let opened = start.elapsed();
    let images = store.state().images()?.len();
    let listed = start.elapsed();
    drop(store);
    let millis = |took: Duration| took.as_secs_f64() * 1e3;
    println!(
        "{{\"open_ms\":{},\"listed_ms\":{},\"closed_ms\":{},\"images\":{images}}}",
        millis(opened),
        millis(listed),
        millis(start.elapsed()),
    );
    Ok(())
}
