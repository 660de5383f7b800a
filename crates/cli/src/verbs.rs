//! The verbs. Each has a file with what can be typed of it and what it does.
//!
//! A new one is a file with a struct of arguments and its `run`, a line in [`Verb`] and one in
//! [`Verb::run`].

mod check;
mod commit;
mod completions;
mod config;
mod containers;
mod create;
mod daemon;
mod df;
mod diff;
mod export;
pub(crate) mod filter;
mod history;
mod images;
mod import;
mod info;
mod inspect;
mod load;
mod mount;
mod prune;
mod pull;
mod push;
mod resize;
mod rm;
mod rmi;
mod run;
mod save;
mod tag;

use std::process::ExitCode;

use clap::Subcommand;

use crate::context::Context;
use crate::failure::Result;

/// In the order in which they are listed; what each is for is said at its struct.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Pull(pull::Pull),
    Push(push::Push),
    Images(images::Images),
    Inspect(inspect::Inspect),
    History(history::History),
    Save(save::Save),
    Load(load::Load),
    Import(import::Import),
    Tag(tag::Tag),
    Rmi(rmi::Rmi),
    Df(df::Df),
    Prune(prune::Prune),
    Create(create::Create),
    Containers(containers::Containers),
    Diff(diff::Diff),
    Commit(commit::Commit),
    Export(export::Export),
    Resize(resize::Resize),
    Rm(rm::Rm),
    #[command(hide = true)]
    FreeRemoved(rm::FreeRemoved),
    Mount(mount::Mount),
    Umount(mount::Umount),
    Run(run::Run),
    Daemon(daemon::Daemon),
    Info(info::Info),
    Config(config::Config),
    Check(check::Check),
    Completions(completions::Completions),
    Man(completions::Man),
}

impl Verb {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode> {
        match self {
            Self::Pull(verb) => verb.run(context),
            Self::Push(verb) => verb.run(context),
            Self::Images(verb) => verb.run(context),
            Self::Inspect(verb) => verb.run(context),
            Self::History(verb) => verb.run(context),
            Self::Save(verb) => verb.run(context),
            Self::Load(verb) => verb.run(context),
            Self::Import(verb) => verb.run(context),
            Self::Tag(verb) => verb.run(context),
            Self::Rmi(verb) => verb.run(context),
            Self::Df(verb) => verb.run(context),
            Self::Prune(verb) => verb.run(context),
            Self::Create(verb) => verb.run(context),
            Self::Containers(verb) => verb.run(context),
            Self::Diff(verb) => verb.run(context),
            Self::Commit(verb) => verb.run(context),
            Self::Export(verb) => verb.run(context),
            Self::Resize(verb) => verb.run(context),
            Self::Rm(verb) => verb.run(context),
            Self::FreeRemoved(verb) => verb.run(context),
            Self::Mount(verb) => verb.run(context),
            Self::Umount(verb) => verb.run(context),
            Self::Run(verb) => verb.run(context),
            Self::Daemon(verb) => verb.run(context),
            Self::Info(verb) => verb.run(context),
            Self::Config(verb) => verb.run(context),
            Self::Check(verb) => verb.run(context),
            Self::Completions(verb) => verb.run(),
            Self::Man(verb) => verb.run(),
        }
    }
}
