//! `lapstrake prune`.

mod watermark;

use std::process::ExitCode;
use std::time::SystemTime;

use lapstrake_engine::containers::PruneContainers;
use lapstrake_engine::{self as engine, Doing, PruneVolumes, Which};

use super::filter::{Filter, until};
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::render;

/// Remove images without a tag, and whatever else nothing keeps alive.
#[derive(Debug, clap::Args)]
pub(crate) struct Prune {
    /// Remove all images on which no writable layer lies; with them goes what was kept for a look:
    /// damaged content, and content that a lost state database knew.
    #[arg(short, long)]
    all: bool,
    /// Say what would be removed and how much that would free; remove nothing.
    #[arg(long)]
    dry_run: bool,
    /// Only images to which this applies: label=KEY, label=KEY=VALUE, label!=KEY,
    /// label!=KEY=VALUE, or until=TIME (built before a date, a time or so long ago, as 24h). Those of
    /// several must all apply. dangling=false is --all.
    #[arg(long, value_name = "FILTER")]
    filter: Vec<Filter>,
    /// With --dry-run: what docker container prune would remove, instead of images.
    #[arg(long, requires = "dry_run")]
    containers: bool,
    /// With --dry-run: what docker volume prune would remove, instead of images; with --all, those with names too.
    #[arg(long, requires = "dry_run")]
    volumes: bool,
    /// With --dry-run: what the watermark policy of the configuration would remove now, in order, and why the rest
    /// stays.
    #[arg(long, requires = "dry_run", conflicts_with_all = ["all", "filter", "containers", "volumes"])]
    watermark: bool,
}

impl Prune {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode> {
        let now = SystemTime::now();
        if self.watermark {
            watermark::run(context, now)?;
            return Ok(ExitCode::SUCCESS);
        }
        if self.containers || self.volumes {
            return self.would_go(context, now);
        }
        // A look can be had beside a daemon.
        let (engine, doing) = match self.dry_run {
            true => (context.read()?, Doing::Nothing),
            false => (context.own().map_err(Failure::of_prune)?, Doing::It),
        };
        let removed = engine.prune(&self.what(now)?, doing, now)?;
        if doing == Doing::It {
            engine.empty_trash()?;
        }
        render::removed(&removed, doing, context);
        Ok(ExitCode::SUCCESS)
    }

    /// Says which containers and volumes the daemon would remove.
    fn would_go(&self, context: &Context, now: SystemTime) -> Result<ExitCode> {
        let what = self.what(now)?;
        let engine = context.read()?;
        if self.containers {
            let which = PruneContainers {
                labels: what.labels.clone(),
                not_labels: what.not_labels.clone(),
                until: what.until,
            };
            let gone = engine.prunable_containers(&which)?;
            render::would_go("container", &gone.ids, gone.bytes, context);
        }
        if self.volumes {
            if what.until.is_some() {
                return Err(Failure::Contradiction("--volumes", "until="));
            }
            let which = PruneVolumes {
                named: self.all,
                labels: what.labels,
                not_labels: what.not_labels,
            };
            let gone = engine.prunable_volumes(&which).map_err(Failure::Volumes)?;
            render::would_go("volume", &gone.volumes, gone.bytes, context);
        }
        Ok(ExitCode::SUCCESS)
    }

    fn what(&self, now: SystemTime) -> Result<engine::Prune> {
        let mut prune = engine::Prune::all_of(self.which()?);
        for filter in &self.filter {
            match filter {
                Filter::Dangling(_) => {}
                Filter::Label(label) => prune.labels.push(label.clone()),
                Filter::NotLabel(label) => prune.not_labels.push(label.clone()),
                Filter::Until(_) if prune.until.is_some() => return Err(Failure::SeveralTimes),
                Filter::Until(time) => prune.until = Some(until(time, now)?),
            }
        }
        Ok(prune)
    }

    fn which(&self) -> Result<Which> {
        let says = |wanted| self.filter.contains(&Filter::Dangling(wanted));
        let all = self.all || says(false);
        match (all, says(true)) {
            (true, true) => Err(Failure::Contradiction(
                "dangling=true",
                "--all or dangling=false",
            )),
            (true, false) => Ok(Which::Unused),
            (false, _) => Ok(Which::Dangling),
        }
    }
}
