//! Pulls.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lapstrake_bridge::blocking;
use lapstrake_engine::{
    Client, Engine, Event, ImageName, Limits, Platform, PullOptions, Reference,
};
use lapstrake_oci::Digest;

use crate::answer::Answered;
use crate::call::Call;
use crate::error::{self, Failure};
use crate::images::load::platform_of;
use crate::images::{name, registry};
use crate::stream::{Message, Messages, messages};

/// A line of a layer is drawn anew at most so often.
const PACE: Duration = Duration::from_millis(100);

/// `POST /images/create?fromImage=`.
pub(super) async fn pull(call: Call) -> Answered {
    let image = call.query.get("fromImage").unwrap_or_default();
    // `docker pull -a` may leave the colon.
    let image = image.trim_end_matches(':').to_owned();
    let tag = call.query.get("tag").map(str::to_owned);
    let reference = name::reference(&image, tag.as_deref())?;
    let client = registry::client(&call, &reference)?;
    let options = PullOptions {
        platform: platform_of(&call)?.unwrap_or_else(Platform::host),
        parallel: call.daemon.settings.parallel,
        limits: Limits::DEFAULT,
    };
    let all = tag.is_none() && name::is_bare(&image);
    let engine = call.daemon.engine.clone();
    let pulling = engine.clone();
    let answered = messages(move |say| async move {
        let references = match all {
            false => vec![reference],
            true => every_tag(&client, &reference).await?,
        };
        for reference in references {
            one(&pulling, &client, &reference, &options, &say).await?;
        }
        Ok(())
    });
    answered.await
}

async fn every_tag(client: &Client, reference: &Reference) -> Result<Vec<Reference>, Failure> {
    let tags = client.tags(reference.repo()).await;
    let tags = tags.map_err(|error| error::of_pull(&error.into(), reference))?;
    let repo = reference.repo();
    Ok(tags
        .into_iter()
        .map(|tag| Reference::tagged(repo.clone(), tag))
        .collect())
}

async fn one(
    engine: &Arc<Engine>,
    client: &Client,
    reference: &Reference,
    options: &PullOptions,
    say: &Messages,
) -> Result<(), Failure> {
    let before = document(engine, reference).await?;
    let id = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, Some(tag)) => tag.to_string(),
        (None, None) => name::USUAL.to_owned(),
    };
    let begin = Message {
        id: Some(id),
        ..Message::status(format!("Pulling from {}", reference.repo().path()))
    };
    let told = Arc::new(Telling::new(say.clone(), begin, before.is_some()));
    let telling = Arc::clone(&told);
    let pulled = engine.pull(client, reference, options, move |event| telling.tell(event));
    let pulled = pulled.await;
    let pulled = pulled.map_err(|error| error::of_pull(&error, reference))?;
    let after = document(engine, reference).await?;
    let is_new = before != after || before.is_none();
    told.end(is_new);
    let digest = after.unwrap_or(pulled.image.manifest);
    say.say(&Message::status(format!("Digest: {digest}")));
    let shown = reference.familiar();
    say.say(&Message::status(if is_new {
        format!("Status: Downloaded newer image for {shown}")
    } else {
        format!("Status: Image is up to date for {shown}")
    }));
    Ok(())
}

/// What a name leads to, if it leads anywhere.
async fn document(engine: &Arc<Engine>, reference: &Reference) -> Result<Option<Digest>, Failure> {
    let (engine, name) = (Arc::clone(engine), ImageName::from(reference));
    Ok(blocking(move || engine.document_of(name)).await??)
}

/// What was told of a pull, and what is held back.
struct Telling {
    say: Messages,
    state: Mutex<State>,
}

struct State {
    /// Told before anything else.
    begin: Option<Message>,
    /// Of an image that is up to date, nothing is told of its layers: while it may be, it is held back.
    held: Option<Vec<Message>>,
    layers: HashMap<Digest, Layer>,
}

struct Layer {
    bytes: u64,
    drawn: Option<Instant>,
}

impl Telling {
    fn new(say: Messages, begin: Message, may_be_here: bool) -> Self {
        Self {
            say,
            state: Mutex::new(State {
                begin: Some(begin),
                held: may_be_here.then(Vec::new),
                layers: HashMap::new(),
            }),
        }
    }

    fn tell(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        if let Some(begin) = state.begin.take() {
            self.say.say(&begin);
        }
        let (blob, words) = match event {
            Event::Exists { blob } => {
                let message = Message::layer(&name::short(&blob), "Already exists");
                match &mut state.held {
                    Some(held) => held.push(message),
                    None => self.say.say(&message),
                }
                return;
            }
            Event::Progress { blob, bytes } => {
                self.progress(state, &blob, bytes);
                return;
            }
            Event::Waiting { blob, bytes } => {
                let drawn = None;
                state.layers.insert(blob.clone(), Layer { bytes, drawn });
                (blob, &["Pulling fs layer", "Waiting"][..])
            }
            Event::Started { blob, bytes, .. } => {
                let drawn = None;
                state.layers.insert(blob.clone(), Layer { bytes, drawn });
                (blob, &["Downloading"][..])
            }
            Event::Retrying { blob, .. } => (blob, &["Retrying"][..]),
            Event::Verifying { blob } => (blob, &["Verifying Checksum", "Download complete"][..]),
            Event::Done { blob, .. } => (blob, &["Pull complete"][..]),
            Event::Ready | Event::Durable => return,
        };
        self.release(state);
        for word in words {
            self.say.say(&Message::layer(&name::short(&blob), word));
        }
    }

    fn progress(&self, state: &mut State, blob: &Digest, bytes: u64) {
        self.release(state);
        let Some(layer) = state.layers.get_mut(blob) else {
            return;
        };
        if layer.drawn.is_some_and(|drawn| drawn.elapsed() < PACE) {
            return;
        }
        layer.drawn = Some(Instant::now());
        let id = name::short(blob);
        let message = Message::progress(&id, "Downloading", bytes, layer.bytes);
        self.say.progress(&message);
    }

    /// Tells what was held back.
    fn release(&self, state: &mut State) {
        for message in state.held.take().into_iter().flatten() {
            self.say.say(&message);
        }
    }

    fn end(&self, is_new: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(begin) = state.begin.take() {
            self.say.say(&begin);
        }
        if is_new {
            self.release(&mut state);
        }
    }
}
