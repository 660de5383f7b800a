//! What can be typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use lapstrake_engine::{ImageName, Platform, Reference};

use crate::filter::Filter;
use crate::network::Network;

/// Stores container images as data, skeleton and index, and mounts them without unpacking.
///
/// Exit codes: 0 success; 1 other failures; 2 wrong usage; 3 not found; 4 not allowed; 5 a registry
/// or the network failed; 6 damaged data; 7 no space; 8 data that was damaged is
/// repaired. `run` exits with its command's code.
#[derive(Debug, Parser)]
#[command(name = "lapstrake", version)]
pub(crate) struct Arguments {
    /// The store.
    #[arg(long, default_value = "/var/lib/lapstrake", global = true)]
    pub(crate) root: PathBuf,
    /// Where mounts are kept; must not outlive a boot. By default a directory below
    /// /run/lapstrake that belongs to the store.
    #[arg(long, global = true)]
    pub(crate) run_dir: Option<PathBuf>,
    /// Print JSON, one object a line.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) storage: Storage,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Pull an image and wait until it is on disk.
    Pull {
        /// The image, such as debian:12 or localhost:5000/app@sha256:…
        reference: Reference,
        #[command(flatten)]
        how: Pulling,
    },
    /// List the images.
    Images,
    /// Remove images: a name is taken away, and with its last one the image.
    Rmi {
        /// Names, or ids or their beginnings.
        #[arg(required = true)]
        images: Vec<ImageName>,
        /// Remove all names of an image by its id; take the name also if a writable layer lies on
        /// the image, which then stays for as long as that does.
        #[arg(short, long)]
        force: bool,
    },
    /// Remove images without a tag, and whatever else nothing keeps alive.
    Prune {
        /// Remove all images on which no writable layer lies; with them goes what was kept for a look:
        /// damaged content, and content that a lost state database knew.
        #[arg(short, long)]
        all: bool,
        /// Say what would be removed and how much that would free; remove nothing.
        #[arg(long)]
        dry_run: bool,
        /// Only images to which this applies: label=KEY, label=KEY=VALUE, label!=KEY,
        /// label!=KEY=VALUE, or until=TIME (built before a date, a time or so long ago, as 24h).
        #[arg(long, value_name = "FILTER")]
        filter: Vec<Filter>,
    },
    /// Make a writable layer over an image.
    Create {
        #[command(flatten)]
        how: Creating,
    },
    /// List the writable layers, and what they use of the disk.
    Containers,
    /// List what a writable layer changed of its image: A added, C changed, D deleted.
    Diff {
        /// The writable layer.
        name: String,
    },
    /// Make an image of a writable layer: its image with what was changed as one layer more.
    Commit {
        #[command(flatten)]
        how: Committing,
    },
    /// Change the limit of a writable layer, also while it is used.
    Resize {
        /// The writable layer.
        name: String,
        /// The new limit: size=SIZE (as 10G) or inodes=NUMBER; what is left out is not limited.
        #[arg(long, value_name = "OPTION", required = true)]
        storage_opt: Vec<String>,
    },
    /// Remove writable layers.
    Rm {
        #[command(flatten)]
        how: Removing,
    },
    /// Free what removed writable layers still use.
    #[command(hide = true)]
    FreeRemoved,
    /// Mount an image at a directory.
    Mount {
        /// The image.
        reference: Reference,
        /// Where; made if it is not there.
        mountpoint: PathBuf,
        /// Let it be changed, and keep the changes under this name.
        #[arg(long, value_name = "NAME")]
        writable: Option<String>,
        /// A limit for the changes, which must be new: size=SIZE (as 10G) or inodes=NUMBER.
        #[arg(long, value_name = "OPTION", requires = "writable")]
        storage_opt: Vec<String>,
    },
    /// Unmount a root that `mount` mounted.
    Umount {
        /// Where.
        mountpoint: PathBuf,
    },
    /// Run a command in an image, pulling it first if it is not there.
    Run {
        /// The image.
        reference: Reference,
        /// The command; with none, the image's own.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
        /// The container's name (default: one of its own).
        #[arg(long)]
        name: Option<String>,
        /// The OCI runtime.
        #[arg(long, default_value = "runc")]
        runtime: String,
        /// A limit for what it writes in its root: size=SIZE (as 10G) or inodes=NUMBER.
        #[arg(long, value_name = "OPTION")]
        storage_opt: Vec<String>,
        #[command(flatten)]
        how: Pulling,
    },
    /// Say which storage driver is used and why, and what else there is to know of the store.
    Info,
    /// Check that the store is what it should be, and repair it. Exits with 6 if something is
    /// damaged, and with 8 if something was and all of it is repaired.
    Check {
        #[command(flatten)]
        how: Checking,
    },
}

/// How roots are made. Docker's names; see docs/storage-drivers.md.
#[derive(Debug, clap::Args)]
pub(crate) struct Storage {
    /// The storage driver: erofs, overlay2 or vfs (default: the best that works here).
    #[arg(long, global = true, value_name = "DRIVER")]
    pub(crate) storage_driver: Option<String>,
    /// Before the verb: an option of a storage driver, or size=SIZE or inodes=NUMBER for writable
    /// layers of which nothing is said.
    #[arg(long = "storage-opt", value_name = "KEY=VALUE")]
    pub(crate) driver_opt: Vec<String>,
    /// A file in the form of Docker's daemon.json, of which storage-driver and storage-opts are
    /// read (default: /etc/lapstrake/daemon.json, if there is one).
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Checking {
    /// Read everything and compare every digest, not only names and lengths.
    #[arg(long)]
    pub(crate) deep: bool,
    /// Repair what is damaged, from the registries that it came from, and move aside what can't be.
    /// Reads everything, as --deep does.
    #[arg(long)]
    pub(crate) repair: bool,
    /// Read what was not read for a week, a layer at a time, at 50 MB/s unless --rate says otherwise.
    /// Can be stopped at any time, and goes on there.
    #[arg(long, conflicts_with = "deep")]
    pub(crate) scrub: bool,
    /// Read at most so many bytes a second, such as 100M.
    #[arg(long, value_name = "BYTES/S", value_parser = crate::check::parse_bytes)]
    pub(crate) rate: Option<u64>,
    #[command(flatten)]
    pub(crate) network: Network,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Creating {
    /// The image.
    pub(crate) reference: Reference,
    /// The name of the writable layer.
    pub(crate) name: String,
    /// A limit: size=SIZE (as 10G) or inodes=NUMBER.
    #[arg(long, value_name = "OPTION")]
    pub(crate) storage_opt: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Committing {
    /// The writable layer. What changes while it is read makes an error, or a layer with some of it.
    pub(crate) name: String,
    /// What to call the image.
    pub(crate) reference: Reference,
    /// Change the config by an instruction of a Dockerfile: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL,
    /// ONBUILD, USER, VOLUME or WORKDIR.
    #[arg(short, long, value_name = "INSTRUCTION")]
    pub(crate) change: Vec<String>,
    /// Who made it.
    #[arg(short, long)]
    pub(crate) author: Option<String>,
    /// A remark.
    #[arg(short, long)]
    pub(crate) message: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Removing {
    /// Their names.
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
    /// Wait until their space is free. Otherwise it is freed after the command has ended.
    #[arg(long)]
    pub(crate) wait: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Pulling {
    /// Which image of an index, as OS/ARCH or OS/ARCH/VARIANT (default: this machine's).
    #[arg(long)]
    pub(crate) platform: Option<Platform>,
    #[command(flatten)]
    pub(crate) network: Network,
    /// Layers to fetch at a time.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) parallel: u16,
}
