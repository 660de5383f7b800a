//! Pulling through a slow network that resets connections: whether it ends, and what it transfers.
//!
//! One reset in a hundred segments of 64 KiB is one for every 6.5 MB. Who begins a layer anew after each,
//! or gives up after a few, does not end, which is a result too.

use std::path::Path;

use lapstrake_testkit::proxy::{Conditions, Proxy};

use crate::bench::cgroup::Group;
use crate::bench::peers::{self, Engine};
use crate::bench::report::{OURS, Row};
use crate::bench::scratch::{Scratch, drop_caches};
use crate::bench::tally::{Tally, megabytes};
use crate::error::{Result, describe};
use crate::files;

const BITS_A_SECOND: u64 = 100_000_000;
const RESET: f64 = 0.01;
const SEGMENT_BYTES: u64 = 64 << 10;

pub(super) fn run(scratch: &mut Scratch) -> Result<Vec<Row>> {
    let name = scratch.moved_image().to_owned();
    let (image, reference) = scratch.image(&name)?;
    let mut tally = Tally::new(&format!("pull of {name}, slow network"));
    let engines = peers::all(scratch.lapstrake());
    for round in 0..scratch.repeats() {
        for engine in &engines {
            let dir = scratch.dir(&format!("slow-{}-{round}", engine.name()))?;
            let pull = Pull {
                engine: engine.as_ref(),
                dir: &dir,
                reference: &reference,
                least: image.blob_bytes(),
                seed: round as u64,
            };
            let result = pull.observe(&mut tally);
            engine.clean(&dir)?;
            files::remove_tree(&dir)?;
            match result {
                Ok(()) => {}
                Err(error) if engine.name() != OURS => {
                    eprintln!("bench: {} did not end: {}", engine.name(), describe(&error));
                }
                Err(error) => scratch.failed(engine.name(), &error),
            }
        }
    }
    Ok(tally.rows())
}

struct Pull<'run> {
    engine: &'run dyn Engine,
    dir: &'run Path,
    reference: &'run str,
    /// Bytes of the image's blobs.
    least: u64,
    seed: u64,
}

impl Pull<'_> {
    fn observe(&self, tally: &mut Tally) -> Result<()> {
        let subject = self.engine.name();
        let group = Group::new(subject)?;
        let _daemon = self.engine.start(self.dir, &group)?;
        let (server, rest) = self
            .reference
            .split_once('/')
            .unwrap_or((self.reference, ""));
        let proxy = Proxy::before(
            server,
            Conditions {
                bits_a_second: Some(BITS_A_SECOND),
                reset: RESET,
                segment_bytes: SEGMENT_BYTES,
                seed: self.seed,
            },
        );
        let reference = format!("{}/{rest}", proxy.host());
        drop_caches()?;
        let started = std::time::Instant::now();
        let pulled = self.engine.pull(self.dir, &group, &reference);
        let seconds = started.elapsed().as_secs_f64();
        let passed = proxy.passed();
        let has_failed = pulled.is_err();
        tally.saw("failed (1) or not (0)", subject, f64::from(has_failed));
        if !has_failed {
            tally.saw("s", subject, seconds);
            let ratio = megabytes(passed.to_client) / megabytes(self.least);
            tally.saw("bytes, of the image's", subject, ratio);
        }
        eprintln!("bench: {subject}: {passed:?} in {seconds:.1} s");
        pulled.map(drop)
    }
}
