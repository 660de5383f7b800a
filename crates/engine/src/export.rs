//! A root as a flat tar: a container's, or an image's.
//!
//! It is read beside the stack, which is mounted for the while, as for a commit: a container may run
//! meanwhile, and whoever wants one moment of it stops or pauses it.

use std::io::{BufWriter, Write as _};

use lapstrake_oci::Compression;
use lapstrake_transfer::archive::Compressor;
use lapstrake_tree::changes::{Error as ChangesError, Writable, write_root};

use crate::Engine;
use crate::error::Result;
use crate::names::ImageName;
use crate::output::{Output, Target};

/// Whose root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootOf<'a> {
    /// That of a writable layer, by its name.
    Writable(&'a str),
    /// That of an image.
    Image(&'a ImageName),
}

/// What was exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Sockets, which no tar holds.
    pub skipped: Vec<Box<[u8]>>,
}

/// Bytes that are gathered before they are compressed or written.
const BUFFER_BYTES: usize = 256 << 10;

impl Engine {
    /// Writes all that is in a root as a tar.
    ///
    /// # Errors
    /// If there is no such layer or image, it can't be read or changes meanwhile, or the output refuses.
    /// A file is not there then.
    pub fn export(
        &self,
        root: RootOf<'_>,
        compression: Compression,
        target: &Target<'_>,
    ) -> Result<Exported> {
        let (name, image) = match root {
            RootOf::Writable(name) => {
                let image = self.writable(name)?.image;
                let target = image.manifest.clone();
                (Some(name), (image, target))
            }
            RootOf::Image(image) => (None, self.find(image)?),
        };
        let claimed = self.claim_content(&image)?;
        let image = &claimed.image;
        let mut output = Output::to(target)?;
        let mut write = |root: &Writable<'_, _>, lower: &_| {
            let compressor = Compressor::new(compression, &mut output).map_err(refused)?;
            let out = BufWriter::with_capacity(BUFFER_BYTES, compressor);
            let flat = write_root(root, lower, out)?;
            let compressor = flat.out.into_inner();
            let compressor = compressor.map_err(|error| refused(error.into_error()))?;
            let output = compressor.finish().map_err(refused)?;
            output.flush().map_err(refused)?;
            Ok(Exported {
                skipped: flat.skipped,
            })
        };
        let exported = match name {
            Some(name) => self.with_trees(name, image, &claimed.config, |root, lower| {
                write(root.unwrap_or(&Writable::Whole(lower)), lower)
            })?,
            None => self.with_stack(image, &claimed.config, |stack| {
                write(&Writable::Whole(stack), stack)
            })?,
        };
        output.finish()?;
        Ok(exported)
    }
}

fn refused(error: std::io::Error) -> crate::error::Error {
    ChangesError::Output(error).into()
}
