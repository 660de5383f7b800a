//! Pushes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lapstrake_bridge::blocking;
use lapstrake_engine::{
    Client, Compression, Digests, Encoding, Engine, ImageName, PushEvent, PushOptions, Reference,
};
use lapstrake_oci::Digest;
use serde_json::json;

use crate::answer::Answered;
use crate::call::Call;
use crate::error::{self, Failure};
use crate::images::{name, registry};
use crate::stream::{Message, Messages, messages};

/// A line of a layer is drawn anew at most so often.
const PACE: Duration = Duration::from_millis(100);

/// `POST /images/NAME/push`.
pub(super) async fn push(call: Call, wanted: String) -> Answered {
    let tag = call.query.get("tag").map(str::to_owned);
    let reference = name::reference(&wanted, tag.as_deref())?;
    let client = registry::client(&call, &reference)?;
    let encoding = Encoding::new(Compression::Gzip, None);
    let options = PushOptions {
        digests: Digests::Keep,
        encoding: encoding.map_err(|error| Failure::internal(error.to_string()))?,
        parallel: call.daemon.settings.parallel,
    };
    let all = tag.is_none() && name::is_bare(&wanted);
    let repo = reference.repo().clone();
    let engine = call.daemon.engine.clone();
    let answered = messages(move |say| async move {
        let shown = match repo.registry() {
            "docker.io" => format!("docker.io/{}", repo.path()),
            _ => repo.familiar(),
        };
        let words = format!("The push refers to repository [{shown}]");
        say.say(&Message::status(words));
        let asked = Arc::clone(&engine);
        let references = blocking(move || to_push(&asked, &reference, all)).await??;
        for reference in references {
            one(&engine, &client, &reference, &options, &say).await?;
        }
        Ok(())
    });
    answered.await
}

/// What there is to push: one name, or all tags of it.
fn to_push(engine: &Engine, reference: &Reference, all: bool) -> Result<Vec<Reference>, Failure> {
    let repo = reference.repo();
    if !all && engine.has_image(reference)? {
        return Ok(vec![reference.clone()]);
    }
    let names = engine.images()?.into_iter();
    let names = names.filter_map(|image| image.reference.parse::<Reference>().ok());
    let tags: Vec<_> = names
        .filter(|name| name.repo() == repo && name.tag().is_some())
        .collect();
    if tags.is_empty() {
        return Err(Failure::not_found(format!(
            "An image does not exist locally with the tag: {}",
            repo.familiar()
        )));
    }
    if !all {
        let shown = reference.familiar();
        return Err(Failure::not_found(format!("tag does not exist: {shown}")));
    }
    Ok(tags)
}

async fn one(
    engine: &Arc<Engine>,
    client: &Client,
    reference: &Reference,
    options: &PushOptions,
    say: &Messages,
) -> Result<(), Failure> {
    let (asked, image) = (Arc::clone(engine), ImageName::from(reference));
    let layers = blocking(move || asked.image_layers(image)).await??;
    // The highest is told first.
    for (_, layer) in layers.iter().rev() {
        say.say(&Message::layer(&name::short(&layer.0), "Preparing"));
    }
    let layers = layers.into_iter().map(|(blob, layer)| {
        let layer = Layer {
            id: name::short(&layer.0),
            bytes: 0,
            drawn: None,
        };
        (blob, layer)
    });
    let telling = Telling {
        say: say.clone(),
        layers: Mutex::new(layers.collect()),
    };
    let telling = Arc::new(telling);
    let told = Arc::clone(&telling);
    let pushed = engine.push(client, reference, reference, options, move |event| {
        told.tell(event);
    });
    let pushed = pushed
        .await
        .map_err(|error| error::of_push(error, reference))?;
    let tag = reference
        .tag()
        .map_or_else(|| name::USUAL.to_owned(), |tag| tag.to_string());
    let (digest, size) = (&pushed.image.manifest, pushed.image.manifest_bytes);
    say.say(&Message::status(format!(
        "{tag}: digest: {digest} size: {size}"
    )));
    say.say(&Message {
        progress: Some(crate::stream::Progress::default()),
        aux: Some(json!({ "Tag": tag, "Digest": digest, "Size": size })),
        ..Message::default()
    });
    Ok(())
}

struct Layer {
    id: String,
    bytes: u64,
    drawn: Option<Instant>,
}

struct Telling {
    say: Messages,
    /// By blob.
    layers: Mutex<HashMap<Digest, Layer>>,
}

impl Telling {
    fn tell(&self, event: PushEvent) {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            PushEvent::Exists { blob } => self.word(layers.get_mut(&blob), "Layer already exists"),
            PushEvent::Skipped { blob } => {
                self.word(layers.get_mut(&blob), "Skipped foreign layer")
            }
            PushEvent::Mounted { blob, from } => {
                self.word(
                    layers.get_mut(&blob),
                    &format!("Mounted from {}", from.path()),
                );
            }
            PushEvent::Started { blob, bytes } => {
                if let Some(layer) = layers.get_mut(&blob) {
                    layer.bytes = bytes;
                    self.say
                        .progress(&Message::progress(&layer.id, "Pushing", 0, bytes));
                }
            }
            PushEvent::Progress { blob, bytes } => {
                if let Some(layer) = layers.get_mut(&blob)
                    && layer.drawn.is_none_or(|drawn| drawn.elapsed() >= PACE)
                {
                    layer.drawn = Some(Instant::now());
                    let message = Message::progress(&layer.id, "Pushing", bytes, layer.bytes);
                    self.say.progress(&message);
                }
            }
            PushEvent::Done { blob, .. } => self.word(layers.get_mut(&blob), "Pushed"),
            // What happens in between is for our own command.
            _ => {}
        }
    }

    fn word(&self, layer: Option<&mut Layer>, words: &str) {
        if let Some(layer) = layer {
            self.say.say(&Message::layer(&layer.id, words));
        }
    }
}
