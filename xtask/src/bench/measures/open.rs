//! Opening a store of many images, warm and cold, as owner and beside one.

use std::path::Path;

use crate::bench::report::{OURS, Row};
use crate::bench::scratch::{Scratch, drop_caches, release_example};
use crate::bench::series::Series;
use crate::command::Tool;
use crate::error::{Error, Result};

const IMAGES: &str = "1000";
const LAYERS: &str = "10000";

pub(super) fn run(scratch: &mut Scratch) -> Result<Vec<Row>> {
    let many = release_example("lapstrake-store", "many")?;
    let dir = scratch.dir("open")?;
    let tool = || Tool::new(&many);
    tool().arg("fill").arg(&dir).args([IMAGES, LAYERS]).run()?;
    let measure = format!("open a store of {IMAGES} images, {LAYERS} layers");
    let mut rows = Vec::new();
    for (how, about) in [
        ("owner", "as owner"),
        ("crashed", "as owner after a crash"),
        ("reader", "to read"),
    ] {
        for cold in [false, true] {
            let mut open = Series::default();
            for _round in 0..scratch.repeats() {
                if cold {
                    drop_caches()?;
                }
                open.push(once(&many, &dir, how)?);
            }
            let state = if cold { "cold" } else { "warm" };
            rows.push(Row::new(
                &measure,
                &format!("{about}, {state}, s"),
                OURS,
                open,
            ));
        }
    }
    Ok(rows)
}

fn once(many: &Path, dir: &Path, how: &str) -> Result<f64> {
    let said = Tool::new(many).arg("open").arg(dir).arg(how).output()?;
    let told = serde_json::from_str::<serde_json::Value>(&said).ok();
    let millis = told.and_then(|told| told["open_ms"].as_f64());
    millis
        .map(|millis| millis / 1e3)
        .ok_or_else(|| Error::Unexpected {
            what: "opening a store".to_owned(),
            why: format!("told {said:?}"),
        })
}
