//! `lapstrake export`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use lapstrake_engine::{Compression, Exported, ImageName, RootOf};

use crate::context::Context;
use crate::failure::Result;
use crate::output;

/// Write all that is in a container's root as a tar, without what tells of layers.
#[derive(Debug, clap::Args)]
pub(crate) struct Export {
    /// The writable layer. What changes while it is read makes an error, or a tar with some of it.
    #[arg(required_unless_present = "image")]
    name: Option<String>,
    /// An image's root instead: its name, or its id or the beginning of it.
    #[arg(long, value_name = "IMAGE", conflicts_with = "name")]
    image: Option<ImageName>,
    /// Where to; whole or not there. Standard output if nothing or - is given.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Compress it.
    #[arg(long, value_enum)]
    compress: Option<Compress>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Compress {
    Gzip,
    Zstd,
}

impl Export {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode> {
        let target = output::target(self.output.as_deref())?;
        let compression = match self.compress {
            None => Compression::None,
            Some(Compress::Gzip) => Compression::Gzip,
            Some(Compress::Zstd) => Compression::Zstd,
        };
        let root = match &self.image {
            Some(image) => RootOf::Image(image),
            None => RootOf::Writable(self.name.as_deref().unwrap_or_default()),
        };
        let exported = context.read()?.export(root, compression, &target);
        output::done(exported, |Exported { skipped }| {
            for path in skipped {
                let path = String::from_utf8_lossy(&path);
                context.warn(&format!("left out: the socket /{path}"));
            }
        })
    }
}
