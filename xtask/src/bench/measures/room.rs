//! Writable layers with a limit: made and mounted, the first and from a pool; asked what they use;
//! removed. Beside them, what a shell would do: `mkfs.ext4`, `losetup`, `mount`; `du`; `rm -rf`.

use std::fs::File;
use std::path::Path;

use lapstrake_snapshot::room::{Backing, Limit, Policy, Reserve, RoomId, Rooms};

use crate::bench::report::{OURS, Row};
use crate::bench::scratch::{Scratch, timed};
use crate::bench::series::Series;
use crate::command::Tool;
use crate::error::{Error, IoContext as _, Result};
use crate::files;

const LIMIT: Limit = Limit {
    bytes: Some(10 << 30),
    inodes: None,
};
const FILES: usize = 20_000;

pub(super) fn run(scratch: &mut Scratch) -> Result<Vec<Row>> {
    let dir = scratch.dir("room")?;
    let policy = Policy {
        backing: Some(Backing::Image),
        reserve: Reserve::Nothing,
    };
    let rooms = room(Rooms::open(&dir.join("rooms"), &dir.join("run"), policy))?;
    let mut first = Series::default();
    let mut pooled = Series::default();
    let mut usage = Series::default();
    let mut removed = Series::default();
    let mut by_hand = Series::default();
    let mut walked = Series::default();
    let mut deleted = Series::default();
    for round in 0..scratch.repeats() {
        let id: RoomId = room(format!("first-{round}").parse())?;
        let (made, seconds) = timed(|| room(rooms.create(&id, LIMIT)))?;
        first.push(seconds * 1e3);
        fill(&made.dir)?;
        let (_, seconds) = timed(|| room(rooms.usage(&id)))?;
        usage.push(seconds * 1e3);
        let (_, seconds) = timed(|| Tool::new("du").args(["-s"]).arg(&made.dir).output())?;
        walked.push(seconds * 1e3);
        let (_, seconds) = timed(|| room(rooms.remove(&id)))?;
        removed.push(seconds * 1e3);
        room(rooms.settle())?;

        room(rooms.fill_pool(1, LIMIT))?;
        let id: RoomId = room(format!("pooled-{round}").parse())?;
        let (_, seconds) = timed(|| room(rooms.create(&id, LIMIT)))?;
        pooled.push(seconds * 1e3);
        room(rooms.remove(&id))?;
        room(rooms.settle())?;

        let (place, seconds) = timed(|| shell(&dir))?;
        by_hand.push(seconds * 1e3);
        fill(&place)?;
        let (_, seconds) = timed(|| {
            Tool::new("sh")
                .args(["-c", "rm -rf \"$0\"/*"])
                .arg(&place)
                .output()
        })?;
        deleted.push(seconds * 1e3);
        Tool::new("umount").arg(&place).output()?;
    }
    files::remove_tree(&dir)?;
    let measure = "a writable layer of at most 10 GiB, by image file";
    let of_files = format!("one with {FILES} files");
    Ok(vec![
        Row::new(measure, "create and mount, ms", OURS, first),
        Row::new(
            measure,
            "create and mount, ms",
            "mkfs, losetup, mount",
            by_hand,
        ),
        Row::new(measure, "create and mount from a pool, ms", OURS, pooled),
        Row::new(&of_files, "usage, ms", OURS, usage),
        Row::new(&of_files, "usage, ms", "du", walked),
        Row::new(&of_files, "removed, ms", OURS, removed),
        Row::new(&of_files, "removed, ms", "rm -rf", deleted),
    ])
}

fn fill(dir: &Path) -> Result<()> {
    for number in 0..FILES {
        let path = dir.join(number.to_string());
        File::create(&path).io("create", &path)?;
    }
    Ok(())
}

/// The same by programs, at a directory below `dir`.
fn shell(dir: &Path) -> Result<std::path::PathBuf> {
    let (image, place) = (dir.join("image"), files::make_dir(&dir.join("by-hand"))?);
    let script = "rm -f \"$0\" && truncate -s 10G \"$0\" && mkfs.ext4 -q \"$0\" && mount -o loop \"$0\" \"$1\" && rmdir \"$1\"/lost+found";
    Tool::new("sh")
        .args(["-c", script])
        .arg(&image)
        .arg(&place)
        .output()?;
    Ok(place)
}

fn room<T>(result: lapstrake_snapshot::room::Result<T>) -> Result<T> {
    result.map_err(|error| Error::Unexpected {
        what: "a room".to_owned(),
        why: crate::error::describe(&error),
    })
}
