//! Mounts or unmounts a stack by hand, and says how long that took.
//!
//! ```text
//! mount_stack mount RUN TARGET [--upper DIR --work DIR [--metacopy]] [--buffered] LAYER…
//! mount_stack unmount RUN TARGET
//! mount_stack sweep RUN
//! ```
//!
//! Each LAYER, bottom first, is a directory named by a diff id, with `index` and `data` in it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use lapstrake_drivers::erofs::{self, CopyUp, LayerFiles, PageCache, Request, RunDir, Writable};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let verb = arguments.next().ok_or("which verb?")?;
    let start = Instant::now();
    let run = RunDir::at(arguments.next().ok_or("which run directory?")?)?;
    match verb.as_str() {
        "mount" => {
            let target = arguments.next().ok_or("which target?")?;
            let mounted = erofs::mount(&run, &request(PathBuf::from(target), arguments)?)?;
            eprintln!("{} fresh, {} shared", mounted.fresh, mounted.shared);
        }
        "unmount" => erofs::unmount(&run, Path::new(&arguments.next().ok_or("which target?")?))?,
        "sweep" => erofs::sweep(&run)?,
        other => return Err(format!("{other} is no verb: mount, unmount, sweep").into()),
    }
    eprintln!("{verb}: {:.2} ms", start.elapsed().as_secs_f64() * 1e3);
    Ok(())
}

fn request(
    target: PathBuf,
    mut arguments: impl Iterator<Item = String>,
) -> Result<Request, Failure> {
    let mut request = Request {
        layers: Vec::new(),
        writable: None,
        target,
        cache: PageCache::Direct,
    };
    let (mut upper, mut work, mut copy_up) = (None, None, CopyUp::Whole);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--upper" => upper = arguments.next(),
            "--work" => work = arguments.next(),
            "--metacopy" => copy_up = CopyUp::AttributesFirst,
            "--buffered" => request.cache = PageCache::Buffered,
            layer => request.layers.push(files(Path::new(layer))?),
        }
    }
    if let (Some(upper), Some(work)) = (upper, work) {
        request.writable = Some(Writable {
            upper: upper.into(),
            work: work.into(),
            copy_up,
        });
    }
    Ok(request)
}

fn files(dir: &Path) -> Result<LayerFiles, Failure> {
    let id = dir
        .file_name()
        .ok_or("a layer needs a name")?
        .to_string_lossy()
        .into_owned();
    let (index, data) = (dir.join("index"), dir.join("data"));
    let index_len = std::fs::metadata(&index)?.len();
    let data_len = std::fs::metadata(&data)?.len();
    Ok(LayerFiles {
        id,
        index,
        data: Some(data),
        index_len,
        data_len,
    })
}
