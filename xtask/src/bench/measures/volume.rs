//! Writing in a container's root, in a volume, and on the host beside both: the same commands, timed where they
//! run.

use std::path::Path;

use super::containers::Side;
use crate::bench::report::Row;
use crate::bench::scratch::Scratch;
use crate::bench::tally::Tally;
use crate::command::Tool;
use crate::error::{Error, Result};
use crate::files;

/// What is done, in a directory.
const WORK: [(&str, &str); 3] = [
    (
        "10,000 new files, s",
        "i=0; while [ $i -lt 10000 ]; do echo x > f$i; i=$((i+1)); done; sync -f .",
    ),
    (
        "500 MB written, durable, s",
        "dd if=/dev/zero of=big bs=1M count=500 conv=fdatasync 2>/dev/null",
    ),
    (
        "4,000 writes of 4 KiB, each durable, s",
        "dd if=/dev/zero of=small bs=4k count=4000 oflag=dsync 2>/dev/null",
    ),
];

pub(super) fn run(scratch: &mut Scratch) -> Result<Vec<Row>> {
    let (_, reference) = scratch.image("debian")?;
    let dir = scratch.dir("volume")?;
    let mut tally = Tally::new("volume");
    {
        let ours = Side::ours(scratch.lapstrake(), &dir.join("ours"))?;
        ours.pull(&reference)?;
        let run = [
            "run",
            "-d",
            "--name",
            "at-work",
            "--network",
            "none",
            "-v",
            "data:/volume",
        ];
        let run = ours.tool().args(run).arg(&reference);
        run.args(["sleep", "3600"]).output()?;
        let host = files::make_dir(&dir.join("host"))?;
        for _round in 0..scratch.repeats() {
            for (quantity, work) in WORK {
                for (place, inside) in [("root", "/srv"), ("volume", "/volume")] {
                    let exec = ours.tool().args(["exec", "at-work", "sh", "-c"]);
                    tally.saw(quantity, place, timed_in(exec, inside, work)?);
                }
                let shell = Tool::new("sh").arg("-c");
                tally.saw(
                    quantity,
                    "host",
                    timed_in(shell, &host.display().to_string(), work)?,
                );
            }
        }
        ours.tool().args(["rm", "-f", "at-work"]).output()?;
    }
    files::remove_tree(&dir)?;
    Ok(tally.rows())
}

/// Does something in a new directory below `at`, and takes the time there.
fn timed_in(shell: Tool, at: &str, work: &str) -> Result<f64> {
    let dir = Path::new(at).join("work");
    let script = format!(
        "mkdir {0} && cd {0} && a=$(date +%s.%N) && {{ {work}; }} && b=$(date +%s.%N) && cd / && rm -rf {0} && echo $a $b",
        dir.display()
    );
    let output = shell.arg(script).output()?;
    let mut times = output.split_whitespace().map(str::parse::<f64>);
    match (times.next(), times.next()) {
        (Some(Ok(begin)), Some(Ok(end))) => Ok(end - begin),
        _ => Err(Error::Unexpected {
            what: "a timed command".to_owned(),
            why: format!("it printed {output:?}"),
        }),
    }
}
