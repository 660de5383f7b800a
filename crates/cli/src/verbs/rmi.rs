//! `lapstrake rmi`.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::SystemTime;

use lapstrake_engine::{Doing, IfUsed, ImageName};

use crate::context::Context;
use crate::failure::Result;
use crate::render;

/// Remove images: a name is taken away, and with its last one the image.
#[derive(Debug, clap::Args)]
pub(crate) struct Rmi {
    /// Names (debian:12, debian@sha256:…), or ids or their beginnings.
    #[arg(required = true)]
    images: Vec<ImageName>,
    /// Remove all names of an image by its id; take the name also if a writable layer lies on
    /// the image, whose content then stays for as long as that does.
    #[arg(short, long)]
    force: bool,
}

impl Rmi {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode> {
        let engine = context.own()?;
        // Which containers run only a daemon knows, and none owns the store now.
        let running = &BTreeSet::new();
        let if_used = if self.force {
            IfUsed::TakeNames { running }
        } else {
            IfUsed::Refuse
        };
        let removed = engine.remove_images(&self.images, if_used, SystemTime::now())?;
        engine.empty_trash()?;
        render::removed(&removed, Doing::It, context);
        Ok(ExitCode::SUCCESS)
    }
}
