//! Writing new files in a container's root.

use super::roots::{Pair, Roots, Which, work};
use crate::bench::report::Row;
use crate::bench::scratch::{Scratch, drop_caches};
use crate::error::Result;
use crate::files;

pub(super) fn run(scratch: &mut Scratch) -> Result<Vec<Row>> {
    let dir = scratch.dir("write")?;
    let roots = Roots::pull(scratch, "debian", &dir)?;
    let (mut create, mut write) = (Pair::default(), Pair::default());
    for round in 0..scratch.repeats() {
        for which in Which::BOTH {
            let mounted = roots.mount(which, &format!("write{round}"))?;
            let place = files::make_dir(&mounted.path().join("srv/new"))?;
            drop_caches()?;
            create.push(which, work(scratch, "create", &place, &["50000"])?.seconds);
            drop_caches()?;
            write.push(
                which,
                work(scratch, "write", &place.join("big"), &["1024"])?.seconds,
            );
            mounted.end()?;
        }
    }
    roots.remove()?;
    let rows = [
        create.rows("create 50,000 files", "s"),
        write.rows("write and sync 1 GB", "s"),
    ];
    Ok(rows.into_iter().flatten().collect())
}
