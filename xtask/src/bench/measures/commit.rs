//! Committing what a container changed: 500 MB in 5,000 new files, until it is acknowledged and durable.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use super::roots::{Pair, Which};
use crate::bench::cgroup::Group;
use crate::bench::peers::{Docker, Engine};
use crate::bench::report::Row;
use crate::bench::scratch::{Scratch, timed};
use crate::command::Tool;
use crate::error::{IoContext as _, Result};
use crate::files;

const FILES: usize = 5_000;
const FILE_BYTES: usize = 100_000;

pub(super) fn run(scratch: &mut Scratch) -> Result<Vec<Row>> {
    let (_, reference) = scratch.image("debian")?;
    let dir = scratch.dir("commit")?;
    let change = write_change(&dir.join("change"))?;
    let group = Group::new("commit")?;
    let docker = dir.join("docker");
    let daemon = Docker.start(&docker, &group)?;
    Docker.pull(&docker, &group, &reference)?;
    let ours = Ours {
        binary: scratch.lapstrake().to_owned(),
        dir: dir.join("ours"),
        reference: reference.clone(),
    };
    ours.tool().args(["pull", &reference]).output()?;

    let mut committed = Pair::default();
    for round in 0..scratch.repeats() {
        let name = format!("c{round}");
        ours.change(&name, &change)?;
        rustix::fs::sync();
        let commit = ours.tool().args(["commit", &name, "made:1"]);
        committed.push(Which::Ours, timed(|| commit.output())?.1);

        docker_change(&docker, &reference, &name, &change)?;
        rustix::fs::sync();
        let commit = Docker.client(&docker).args(["commit", &name, "made:1"]);
        let seconds = timed(|| {
            commit.output()?;
            rustix::fs::sync();
            Ok(())
        });
        committed.push(Which::Overlay2, seconds?.1);
    }
    drop(daemon);
    Docker.clean(&docker)?;
    files::remove_tree(&dir)?;
    let rows = committed.rows_beside("dockerd", "commit of 500 MB in 5,000 files", "durable, s");
    Ok(rows.into())
}

struct Ours {
    binary: PathBuf,
    dir: PathBuf,
    reference: String,
}

impl Ours {
    fn tool(&self) -> Tool {
        Tool::new(&self.binary).arg("--root").arg(&self.dir)
    }

    /// Makes a writable layer and changes it.
    fn change(&self, name: &str, change: &Path) -> Result<()> {
        let at = files::make_dir(&self.dir.with_extension("at"))?;
        let mount = self.tool().arg("mount").arg(&self.reference).arg(&at);
        mount.args(["--writable", name]).output()?;
        let copied = Tool::new("cp")
            .arg("-r")
            .arg(change)
            .arg(at.join("srv"))
            .output();
        self.tool().arg("umount").arg(&at).output()?;
        copied.map(drop)
    }
}

/// Makes a container and changes it. It need not run for that.
fn docker_change(dir: &Path, reference: &str, name: &str, change: &Path) -> Result<()> {
    let create = Docker.client(dir).args(["create", "--name", name]);
    create.args([reference, "/bin/true"]).output()?;
    let copy = Docker.client(dir).arg("cp").arg(change);
    copy.arg(format!("{name}:/srv")).output().map(drop)
}

/// Files of bytes that do not repeat, so that nothing is saved by leaving them out.
pub(super) fn write_change(dir: &Path) -> Result<PathBuf> {
    files::make_dir(dir)?;
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for number in 0..FILES {
        let path = dir.join(format!("{:02}/f{number}", number % 50));
        files::make_dir(path.parent().unwrap_or(dir))?;
        let mut file = BufWriter::new(File::create(&path).io("create", &path)?);
        for _word in 0..FILE_BYTES / 8 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            file.write_all(&state.to_le_bytes()).io("write", &path)?;
        }
        file.flush().io("write", &path)?;
    }
    Ok(dir.to_owned())
}
