//! What a verb reads: a file, standard input, or a directory.

use std::fs::File;
use std::io::{IsTerminal as _, Read};
use std::path::{Path, PathBuf};

use lapstrake_engine::LoadEvent;

use crate::failure::{Failure, Result};
use crate::progress::Progress;

/// Opened.
pub(crate) enum Input {
    Stream {
        stream: Box<dyn Read + Send>,
        /// If it is known.
        bytes: Option<u64>,
    },
    Directory(PathBuf),
}

impl Input {
    /// Opens a file or directory; standard input if nothing or `-` is given.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path.filter(|path| path.as_os_str() != "-") else {
            let stdin = std::io::stdin();
            if stdin.is_terminal() {
                return Err(Failure::NoInput);
            }
            return Ok(Self::Stream {
                stream: Box::new(stdin),
                bytes: None,
            });
        };
        let open = || {
            let file = File::open(path)?;
            let about = file.metadata()?;
            Ok((file, about))
        };
        let (file, about) = open().map_err(|source| Failure::Input {
            path: path.to_owned(),
            source,
        })?;
        if about.is_dir() {
            return Ok(Self::Directory(path.to_owned()));
        }
        Ok(Self::Stream {
            stream: Box::new(file),
            bytes: about.is_file().then_some(about.len()),
        })
    }

    /// Says how much there is to read.
    pub(crate) fn tell_size(&self, progress: &Progress) {
        if let Self::Stream {
            bytes: Some(bytes), ..
        } = self
        {
            progress.tell(&LoadEvent::Begins { bytes: *bytes });
        }
    }
}
