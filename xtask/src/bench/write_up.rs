//! The tables in docs/benchmarks.md: results go between two markers, the words around stay.

use std::fs;
use std::path::Path;

use super::report::{Row, table};
use crate::command::Tool;
use crate::error::{Error, IoContext as _, Result};
use crate::files;

const BEGIN: &str = "<!-- results: begin -->";
const END: &str = "<!-- results: end -->";

/// Replaces the results in the document by these.
pub fn update(rows: &[Row]) -> Result<()> {
    let path = files::repository().join("docs/benchmarks.md");
    let old = fs::read_to_string(&path).io("read", &path)?;
    let new = replaced(&old, &format!("{}\n\n{}", machine()?, table(rows))).ok_or_else(|| {
        Error::Unexpected {
            what: path.display().to_string(),
            why: format!("lacks the markers {BEGIN} and {END}"),
        }
    })?;
    files::replace(&path, new.as_bytes())
}

fn replaced(text: &str, results: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{results}{END}{after}"))
}

/// The machine, in general words.
fn machine() -> Result<String> {
    let path = Path::new("/proc/meminfo");
    let memory = fs::read_to_string(path).io("read", path)?;
    let kilobytes = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"))
        .and_then(|number| number.parse::<u64>().ok())
        .unwrap_or(0);
    let kernel = Tool::new("uname").args(["-r"]).output()?;
    let release = kernel
        .trim()
        .split('-')
        .next()
        .unwrap_or_default()
        .to_owned();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(format!(
        "Linux {release}, {processors} processors, {} GB of memory.",
        kilobytes.div_ceil(1 << 20)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_replace_results_and_nothing_else() {
        let text = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        let expected = format!("a\n{BEGIN}\nnew\n{END}\nb\n");
        assert_eq!(replaced(&text, "new\n"), Some(expected));
        assert_eq!(replaced("no markers", "new\n"), None);
    }
}
