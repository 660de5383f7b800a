//! `cargo xtask`: the command line of the project's own commands.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a command line prints its results")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::{bench, check, demo, error, images, judge, registry};

/// The project's own commands.
#[derive(Parser)]
#[command(name = "xtask")]
struct Arguments {
    /// Where images are kept (default: $LAPSTRAKE_IMAGE_CACHE or ~/.cache/lapstrake/images).
    #[arg(long, global = true)]
    cache: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show a pull, a mount and a command (what `make run` does).
    Demo {
        /// An image's reference; without it, our Debian image from a registry on loopback.
        image: Option<String>,
    },
    /// Measure beside Debian's docker.io, containerd and podman (all measures, or those named).
    Bench {
        /// Which measures.
        what: Vec<String>,
        /// How often each subject runs.
        #[arg(long, default_value_t = 3)]
        repeats: usize,
        /// The image that `push`, `save`, `load` and `slow` move.
        #[arg(long, default_value = "science")]
        image: String,
        /// A directory on the file system to measure on.
        #[arg(long)]
        scratch: Option<PathBuf>,
        /// Write the results here as JSON.
        #[arg(long)]
        json: Option<PathBuf>,
        /// Bring docs/benchmarks.md up to date.
        #[arg(long)]
        write_docs: bool,
    },
    /// A piece of timed work (run by `bench`).
    #[command(hide = true, subcommand)]
    Work(bench::work::Work),
    /// Format, lints, docs, doc tests, tests and tidy rules: what CI calls green.
    Check,
    /// Run bollard's and docker-py's tests against our daemon (all, or the suites named).
    Judge {
        /// `bollard`, `docker-py`.
        suites: Vec<String>,
    },
    /// Make images from Debian packages (all of them, or those named).
    Images {
        /// Their names.
        names: Vec<String>,
        /// Only say which there are.
        #[arg(long)]
        list: bool,
    },
    /// Serve images from docker-registry on loopback until interrupted.
    Registry {
        /// Which images (default: all).
        names: Vec<String>,
        /// The port.
        #[arg(long, default_value_t = 5000)]
        port: u16,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("xtask: {}", error::describe(&problem));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> xtask::Result<()> {
    let cache = arguments.cache.as_deref();
    match &arguments.command {
        Command::Check => check::run(),
        Command::Judge { suites } => judge::run(&images::Cache::open(cache)?, suites),
        Command::Demo { image } => demo::run(&images::Cache::open(cache)?, image.as_deref()),
        Command::Bench {
            what,
            repeats,
            image,
            scratch,
            json,
            write_docs,
        } => {
            let options = bench::Options {
                what: what.clone(),
                repeats: *repeats,
                image: image.clone(),
                scratch: scratch.clone(),
                json: json.clone(),
                write_docs: *write_docs,
            };
            bench::run(&images::Cache::open(cache)?, &options)
        }
        Command::Work(work) => {
            let done = bench::work::carry_out(work)?;
            let json = serde_json::to_string(&done).map_err(|source| error::Error::Json {
                what: "a result".to_owned(),
                source,
            })?;
            println!("{json}");
            Ok(())
        }
        Command::Images { list: true, .. } => {
            for image in images::catalog::ALL {
                println!("{:<14} {}", image.name, image.about);
            }
            Ok(())
        }
        Command::Images { names, list: false } => make_images(cache, names),
        Command::Registry { names, port } => run_registry(cache, names, *port),
    }
}

fn make_images(cache: Option<&Path>, names: &[String]) -> xtask::Result<()> {
    let cache = images::Cache::open(cache)?;
    let built = images::build(&cache, &images::catalog::select(names)?)?;
    println!("oci:{}", cache.layout().display());
    for image in built {
        println!(
            "{:<14} {:>3} layers {:>8.1} MB of tar {:>8.1} MB of blobs  {}",
            image.name,
            image.layers.len(),
            megabytes(image.tar_bytes()),
            megabytes(image.blob_bytes()),
            image.manifest
        );
    }
    Ok(())
}

fn run_registry(cache: Option<&Path>, names: &[String], port: u16) -> xtask::Result<()> {
    let cache = images::Cache::open(cache)?;
    let built = images::build(&cache, &images::catalog::select(names)?)?;
    let registry = registry::serve(&cache, &built, port)?;
    for image in &built {
        println!("{}", registry.reference(&image.name));
    }
    registry.wait()
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
