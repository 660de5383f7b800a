//! `lapstrake mount` and `lapstrake umount`.

use std::path::PathBuf;
use std::process::ExitCode;

use lapstrake_engine::{Access, ImageName};
use serde_json::json;

use super::create::limit;
use crate::context::Context;
use crate::failure::Result;
use crate::render;

/// Mount an image at a directory.
#[derive(Debug, clap::Args)]
pub(crate) struct Mount {
    /// The image: a name, or an id or its beginning.
    image: ImageName,
    /// Where; made if it is not there.
    mountpoint: PathBuf,
    /// Let it be changed, and keep the changes under this name.
    #[arg(long, value_name = "NAME")]
    writable: Option<String>,
    /// A limit for the changes, which must be new: size=SIZE (as 10G) or inodes=NUMBER.
    #[arg(long, value_name = "OPTION", requires = "writable")]
    storage_opt: Vec<String>,
}

impl Mount {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode> {
        let engine = context.own()?;
        let access = match &self.writable {
            None => Access::ReadOnly,
            Some(name) => {
                if !self.storage_opt.is_empty() {
                    engine.create(&self.image, name, limit(&self.storage_opt)?)?;
                }
                Access::Writable(name.clone())
            }
        };
        let at = std::path::absolute(&self.mountpoint)?;
        let root = engine.mount(&self.image, &at, &access)?;
        let millis = root.took.as_secs_f64() * 1e3;
        if context.json {
            render::json(&json!({
                "mountpoint": root.target, "fresh": root.fresh, "shared": root.shared, "mount_ms": millis,
            }));
        } else {
            context.say(&format!(
                "{} layers mounted, {} shared, in {millis:.1} ms",
                root.fresh, root.shared
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Unmount a root that `mount` mounted.
#[derive(Debug, clap::Args)]
pub(crate) struct Umount {
    /// Where.
    mountpoint: PathBuf,
}

impl Umount {
    /// It changes the run directory, which has a lock of its own, and not the store.
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode> {
        let engine = context.read()?;
        engine.unmount(&std::path::absolute(&self.mountpoint)?)?;
        Ok(ExitCode::SUCCESS)
    }
}
