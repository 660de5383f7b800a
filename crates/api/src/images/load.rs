//! Images as archives: saved, loaded, and made of the tar of a root.

use std::time::SystemTime;

use hyper::header::HeaderValue;
use lapstrake_bridge::blocking;
use lapstrake_engine::{
    ImageName, ImportOptions, LoadEvent, LoadFrom, Platform, Reference, SaveAs, Target,
};

use crate::answer::Answered;
use crate::call::Call;
use crate::error::Failure;
use crate::images::{inspect, name};
use crate::stream::{Message, Messages, file, messages, only_messages, reader};

const TAR: HeaderValue = HeaderValue::from_static("application/x-tar");

/// `GET /images/get`.
pub(super) async fn save_all(call: Call) -> Answered {
    let names = call.query.all("names").map(str::to_owned).collect();
    save(call, names).await
}

/// `GET /images/NAME/get`.
pub(super) async fn save_one(call: Call, name: String) -> Answered {
    save(call, vec![name]).await
}

async fn save(call: Call, words: Vec<String>) -> Answered {
    let names: Result<Vec<ImageName>, _> = words.iter().map(|name| name::here(name)).collect();
    let names = names?;
    let engine = call.daemon.engine.clone();
    let save = move |out| {
        // Which one is missing is told by the name that was asked for.
        for (word, name) in words.iter().zip(&names) {
            if !name::is_bare(word) {
                let found = engine.resolve(name);
                found.map_err(|error| inspect::told(error, word))?;
            }
        }
        let what = SaveAs::Archive(Target::Stream(out));
        let saved = engine.save(&names, &what, &|_event| {});
        let word = words.first().map_or("", String::as_str);
        saved.map_err(|error| inspect::told(error, word))?;
        Ok(())
    };
    file(TAR, |out| async move { blocking(move || save(out)).await? }).await
}

/// `POST /images/load`.
pub(super) async fn load(mut call: Call) -> Answered {
    let quiet = call.query.flag("quiet");
    let platform = platform_of(&call)?;
    let engine = call.daemon.engine.clone();
    let mut body = reader(call.take_body());
    only_messages(move |say| async move {
        let telling = say.clone();
        let loading = move || {
            let tell = |event| {
                if !quiet {
                    tell_load(&telling, event);
                }
            };
            engine.load(LoadFrom::Stream(&mut body), platform.as_ref(), &tell)
        };
        let loaded = blocking(loading).await??;
        for note in &loaded.notes {
            say.say(&Message::stream(format!("{note}\n")));
        }
        for image in &loaded.images {
            for name in &image.names {
                say.say(&Message::stream(format!(
                    "Loaded image: {}\n",
                    name.familiar()
                )));
            }
            if image.names.is_empty() {
                say.say(&Message::stream(format!("Loaded image ID: {}\n", image.id)));
            }
        }
        Ok(())
    })
    .await
}

/// Docker tells only of layers that are new.
fn tell_load(say: &Messages, event: LoadEvent) {
    if let LoadEvent::Layer { id, tar_bytes } = event {
        let id = name::short(&id.0);
        let loading = "Loading layer";
        say.progress(&Message::progress(&id, loading, tar_bytes, tar_bytes));
    }
}

/// The platform of a query: `linux/amd64`, or an object of its parts.
pub(crate) fn platform_of(call: &Call) -> Result<Option<Platform>, Failure> {
    let Some(text) = call.query.get("platform") else {
        return Ok(None);
    };
    let platform = match text.starts_with('{') {
        true => serde_json::from_str(text).map_err(|error| error.to_string()),
        false => text.parse::<Platform>().map_err(|error| error.to_string()),
    };
    let platform = platform.map_err(|why| {
        Failure::invalid(format!(
            "{text:?} is an invalid OS component or architecture: {why}"
        ))
    })?;
    Ok(Some(platform))
}

/// `POST /images/create?fromSrc=`.
pub(super) async fn import(mut call: Call) -> Answered {
    if call.query.get("fromSrc") != Some("-") {
        return Err(Failure::not_implemented(
            "Lapstrake fetches no tars: send it (docker import - < FILE)",
        ));
    }
    let reference = match call.query.get("repo") {
        None => None,
        Some(repo) => Some(name::given(repo, call.query.get("tag"))?),
    };
    if reference.as_ref().and_then(Reference::digest).is_some() {
        return Err(Failure::invalid("cannot import digest reference"));
    }
    let options = ImportOptions {
        reference,
        changes: call.query.all("changes").map(str::to_owned).collect(),
        message: call.query.get("message").map(str::to_owned),
        platform: platform_of(&call)?.unwrap_or_else(Platform::host),
        now: SystemTime::now(),
    };
    let engine = call.daemon.engine.clone();
    let body = reader(call.take_body());
    messages(move |say| async move {
        let imported = blocking(move || engine.import(body, &options)).await??;
        say.say(&Message::status(imported.image.config.to_string()));
        Ok(())
    })
    .await
}
