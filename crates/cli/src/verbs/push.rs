//! `lapstrake push`.

use std::process::ExitCode;
use std::sync::Arc;

use clap::ValueEnum;
use lapstrake_engine::{
    Compression, Digests, Encoding, Error, ImageName, LayerWay, PushOptions, Pushed, PushedLayer,
    Reference,
};
use serde_json::{Value, json};

use crate::context::{Context, runtime};
use crate::failure::{Failure, Result};
use crate::interrupt::unless_interrupted;
use crate::network::Network;
use crate::progress::Progress;
use crate::render;

/// Push an image to a registry, with the digests that it has: a layer is not sent if it is there, mounted if
/// another repository has it, and otherwise made again or copied through from where it was pulled. Only if
/// none of that works, or no registry ever had it, it is compressed.
#[derive(Debug, clap::Args)]
pub(crate) struct Push {
    /// The image, such as localhost:5000/app:1; or an id or its beginning.
    image: ImageName,
    /// Under which name, if not that of the image. An id needs one.
    to: Option<Reference>,
    /// Fail rather than push a manifest with another digest, and before anything is sent.
    #[arg(long, conflicts_with = "recompress")]
    same_digest: bool,
    /// Compress all layers anew; their digests and the manifest's change.
    #[arg(long)]
    recompress: bool,
    /// How to compress what must be.
    #[arg(long, value_enum, default_value_t = Compress::Gzip)]
    compression: Compress,
    /// How hard: gzip 1 to 12 (default: 6), zstd 1 to 19 (default: 3).
    #[arg(long)]
    level: Option<u8>,
    #[command(flatten)]
    network: Network,
    /// Layers to send at a time (default: 3).
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=64))]
    parallel: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Compress {
    Gzip,
    Zstd,
    None,
}

/// What is left of a push that was interrupted.
const WHAT_IS_KEPT: &str =
    "no name was changed; a push of the same image goes on with the layers that are not there yet";

impl Push {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode> {
        let options = PushOptions {
            digests: match (self.same_digest, self.recompress) {
                (true, _) => Digests::Insist,
                (false, true) => Digests::Renew,
                (false, false) => Digests::Keep,
            },
            encoding: self.encoding()?,
            parallel: context.parallel(self.parallel),
        };
        let to = match &self.to {
            Some(to) => to.clone(),
            None => self.image.reference().map_err(Error::Name)?,
        };
        let client = context.client(&self.network)?;
        let engine = context.own_patiently()?;
        let progress = Arc::new(Progress::new(context));
        let shown = Arc::clone(&progress);
        let pushing = engine.push(&client, &self.image, &to, &options, move |event| {
            shown.tell(&event)
        });
        let pushed = runtime()?.block_on(unless_interrupted(pushing))?;
        let pushed = pushed.ok_or(Failure::Interrupted(WHAT_IS_KEPT))??;
        progress.clear();
        if context.json {
            render::json(&object(&to, &pushed));
        } else {
            tell(context, &to, &pushed);
        }
        Ok(ExitCode::SUCCESS)
    }

    fn encoding(&self) -> Result<Encoding> {
        let compression = match self.compression {
            Compress::Gzip => Compression::Gzip,
            Compress::Zstd => Compression::Zstd,
            Compress::None => Compression::None,
        };
        Ok(Encoding::new(compression, self.level)?)
    }
}

fn tell(context: &Context, to: &Reference, pushed: &Pushed) {
    let image = &pushed.image;
    for layer in &image.layers {
        // A digest that changed for no wish of anyone's is said whatever is not to be said.
        if !layer.why.is_empty() {
            let (was, blob) = (&layer.was.hex()[..12], &layer.blob.digest.hex()[..12]);
            let why = layer.why.join("; ");
            context.warn(&format!("{was}: pushed as {blob}, compressed anew: {why}"));
        }
    }
    if let Some(index) = &pushed.index {
        context.warn(&format!(
            "{} came from an index ({index}): the manifest for this platform is pushed, not the index",
            to.familiar(),
        ));
    }
    let same = if image.same_manifest {
        "the same manifest as here"
    } else {
        "a new manifest, for layers are compressed otherwise than in the one here"
    };
    context.say(&format!(
        "{}: {} of layers sent; {same}",
        to.familiar(),
        render::bytes(image.sent_bytes()),
    ));
    render::line(&image.manifest.to_string());
}

fn object(to: &Reference, pushed: &Pushed) -> Value {
    let image = &pushed.image;
    let layers: Vec<_> = image.layers.iter().map(layer).collect();
    json!({
        "event": "pushed", "reference": to.to_string(), "id": pushed.id,
        "manifest": image.manifest, "same_manifest": image.same_manifest,
        "index_not_pushed": pushed.index, "sent_bytes": image.sent_bytes(), "layers": layers,
    })
}

fn layer(layer: &PushedLayer) -> Value {
    let (way, from) = match &layer.way {
        LayerWay::Foreign => ("foreign", None),
        LayerWay::Existing => ("existing", None),
        LayerWay::Mounted(from) => ("mounted", Some(from)),
        LayerWay::Made => ("made", None),
        LayerWay::Copied(from) => ("copied", Some(from)),
        LayerWay::Compressed(_) => ("compressed", None),
    };
    json!({
        "diff_id": layer.diff_id.to_string(), "was": layer.was, "blob": layer.blob.digest,
        "bytes": layer.blob.size, "media_type": layer.blob.media_type, "way": way,
        "from": from.map(ToString::to_string), "sent_bytes": layer.sent_bytes, "why": layer.why,
    })
}
