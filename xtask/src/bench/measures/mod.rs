//! The measures, by name.

mod cache;
mod check;
mod commit;
mod containers;
mod copy_up;
mod limited;
mod load;
mod mount;
mod open;
mod pull;
mod push;
mod python;
mod reading;
mod remove;
mod rmi;
mod room;
mod roots;
mod save;
mod slow;
mod volume;
mod writing;

use super::report::Row;
use super::scratch::Scratch;
use crate::error::{Error, Result};

/// One measure.
#[derive(Debug)]
pub struct Measure {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it says, in a line.
    pub about: &'static str,
    /// Runs it.
    pub run: fn(&mut Scratch) -> Result<Vec<Row>>,
}

/// All measures, in the order of `docs/benchmarks.md`.
pub const ALL: &[Measure] = &[
    Measure {
        name: "pull",
        about: "the science image until it is ready and until it is durable; CPU, memory, disk",
        run: pull::run,
    },
    Measure {
        name: "push",
        about: "an image without and with a source to a registry that has nothing",
        run: push::run,
    },
    Measure {
        name: "save",
        about: "an image to a file, beside cat of as many bytes",
        run: save::run,
    },
    Measure {
        name: "load",
        about: "one docker-archive into an empty store",
        run: load::run,
    },
    Measure {
        name: "slow",
        about: "a pull at 100 Mbit/s with resets in 1 % of segments of 64 KiB",
        run: slow::run,
    },
    Measure {
        name: "mount",
        about: "the image of 100 layers, nothing mounted, cold",
        run: mount::run,
    },
    Measure {
        name: "read",
        about: "every file cold and warm, stat of all, 50,000 small files, lines",
        run: reading::run,
    },
    Measure {
        name: "python",
        about: "importing scipy in the image",
        run: python::run,
    },
    Measure {
        name: "cache",
        about: "page cache 10 s after the whole image was read",
        run: cache::run,
    },
    Measure {
        name: "limited",
        about: "reading under a memory limit of 1.3 times the working set",
        run: limited::run,
    },
    Measure {
        name: "copy-up",
        about: "chown -R and one-byte writes, on this file system and on xfs",
        run: copy_up::run,
    },
    Measure {
        name: "write",
        about: "50,000 new files; 1 GB",
        run: writing::run,
    },
    Measure {
        name: "room",
        about: "a writable layer with a limit: made, asked what it uses, removed",
        run: room::run,
    },
    Measure {
        name: "rmi",
        about: "removing an image until its space is back",
        run: rmi::run,
    },
    Measure {
        name: "open",
        about: "opening a store of 1,000 images and 10,000 layers",
        run: open::run,
    },
    Measure {
        name: "commit",
        about: "committing 500 MB in 5,000 new files until it is on disk",
        run: commit::run,
    },
    Measure {
        name: "remove",
        about: "removing a writable layer of 50,000 files until its space is back",
        run: remove::run,
    },
    Measure {
        name: "containers",
        about: "containers by the docker command: run, commit, rm, system df, memory",
        run: containers::run,
    },
    Measure {
        name: "volume",
        about: "writing in a container's root, in a volume, and on the host",
        run: volume::run,
    },
    Measure {
        name: "check",
        about: "every digest of the science image, beside sha256sum of the same files",
        run: check::run,
    },
];

/// The measures with these names, or all if none is given.
pub fn select(names: &[String]) -> Result<Vec<&'static Measure>> {
    if names.is_empty() {
        return Ok(ALL.iter().collect());
    }
    let find = |name: &String| {
        ALL.iter()
            .find(|measure| measure.name == name)
            .ok_or_else(|| Error::UnknownMeasure {
                name: name.clone(),
                known: ALL
                    .iter()
                    .map(|measure| measure.name)
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    };
    names.iter().map(find).collect()
}
