//! `lapstrake pull`.

use std::process::ExitCode;
use std::sync::Arc;

use lapstrake_engine::{Engine, Error, Limits, Platform, PullOptions, Reference};
use lapstrake_oci::reference::{DEFAULT_TAG, Tag};
use serde_json::json;

use crate::context::{Context, runtime};
use crate::failure::{Failure, Result};
use crate::interrupt::unless_interrupted;
use crate::network::Network;
use crate::progress::Progress;
use crate::render;

/// Pull an image and wait until it is on disk.
#[derive(Debug, clap::Args)]
pub(crate) struct Pull {
    /// The image, such as debian:12 or localhost:5000/app@sha256:…
    reference: Reference,
    /// Pull all images of the repository, by the tags that they have there.
    #[arg(short, long)]
    all_tags: bool,
    #[command(flatten)]
    how: Pulling,
}

impl Pull {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode> {
        let engine = context.own_patiently()?;
        for reference in self.references(context)? {
            pull(context, &engine, &reference, &self.how)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// What to pull, in this order.
    fn references(&self, context: &Context) -> Result<Vec<Reference>> {
        if !self.all_tags {
            return Ok(vec![self.reference.clone()]);
        }
        // A name without a tag has become one with the tag that is meant then.
        let has_tag = |tag: &Tag| tag.as_str() != DEFAULT_TAG;
        if self.reference.digest().is_some() || self.reference.tag().is_some_and(has_tag) {
            return Err(Failure::AllTagsOf(self.reference.familiar()));
        }
        let client = context.client(&self.how.network)?;
        let repo = self.reference.repo();
        let tags = runtime()?
            .block_on(unless_interrupted(client.tags(repo)))?
            .ok_or(Failure::Interrupted("nothing was fetched"))?
            .map_err(Error::from)?;
        let tagged = |tag| Reference::tagged(repo.clone(), tag);
        Ok(tags.into_iter().map(tagged).collect())
    }
}

/// How to pull, for every verb that may.
#[derive(Debug, clap::Args)]
pub(crate) struct Pulling {
    /// Which image of an index, as OS/ARCH or OS/ARCH/VARIANT (default: this machine's).
    #[arg(long)]
    platform: Option<Platform>,
    #[command(flatten)]
    network: Network,
    /// Layers to fetch at a time (default: 3).
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=64))]
    parallel: Option<u16>,
}

/// What is left of a pull that was interrupted.
const WHAT_IS_KEPT: &str = "what was fetched is kept until the next prune, and a pull of the same image goes on from there";

/// Pulls an image, showing how it goes.
pub(crate) fn pull(
    context: &Context,
    engine: &Engine,
    reference: &Reference,
    how: &Pulling,
) -> Result<()> {
    let client = context.client(&how.network)?;
    let options = PullOptions {
        platform: how.platform.clone().unwrap_or_else(Platform::host),
        parallel: context.parallel(how.parallel),
        limits: Limits::DEFAULT,
    };
    let progress = Arc::new(Progress::new(context));
    let runtime = runtime()?;
    let shown = Arc::clone(&progress);
    let pulling = engine.pull(&client, reference, &options, move |event| {
        shown.tell(&event)
    });
    let pulled = runtime.block_on(async {
        let pulled = unless_interrupted(pulling).await?;
        if pulled.is_none() {
            unless_interrupted(engine.stopped()).await?;
        }
        Ok::<_, Failure>(pulled)
    })?;
    let pulled = pulled.ok_or(Failure::Interrupted(WHAT_IS_KEPT))??;
    let (ready, durable) = (
        progress.millis(pulled.ready),
        progress.millis(pulled.durable),
    );
    progress.clear();
    if context.json {
        render::json(&json!({
            "event": "pulled", "reference": pulled.image.reference, "id": pulled.image.config,
            "manifest": pulled.image.manifest, "fetched_bytes": pulled.fetched_bytes,
            "tar_bytes": pulled.tar_bytes, "ready_ms": ready, "durable_ms": durable,
        }));
    } else {
        context.say(&format!(
            "{}: {} fetched, {} of layers; ready in {:.2} s, on disk in {:.2} s",
            reference.familiar(),
            render::bytes(pulled.fetched_bytes),
            render::bytes(pulled.tar_bytes),
            ready / 1e3,
            durable / 1e3,
        ));
        render::line(&pulled.image.config.to_string());
    }
    Ok(())
}
