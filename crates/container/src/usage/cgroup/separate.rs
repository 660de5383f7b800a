//! Control groups of the first version: a hierarchy for each controller.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Block, Blocks, Cpu, Memory, Pids, TICK, Usage};
use crate::usage::{Result, parse, read_if_there};

pub(super) fn usage(groups: &BTreeMap<String, PathBuf>) -> Result<Usage> {
    let of = |name: &str| Reader(groups.get(name).map(PathBuf::as_path));
    Ok(Usage {
        memory: memory(of("memory"))?,
        cpu: cpu(of("cpu"), of("cpuacct"))?,
        pids: Pids {
            current: of("pids").number("pids.current")?.unwrap_or(0),
            limit: of("pids").number("pids.max")?,
        },
        blocks: blocks(of("blkio"))?,
    })
}

/// Files of one group, if there is such a group.
#[derive(Clone, Copy)]
struct Reader<'a>(Option<&'a Path>);

impl Reader<'_> {
    fn text(self, name: &str) -> Result<String> {
        match self.0 {
            Some(group) => Ok(read_if_there(&group.join(name))?.unwrap_or_default()),
            None => Ok(String::new()),
        }
    }

    fn number(self, name: &str) -> Result<Option<u64>> {
        Ok(parse::limit(&self.text(name)?))
    }
}

fn memory(group: Reader<'_>) -> Result<Memory> {
    Ok(Memory {
        usage: group.number("memory.usage_in_bytes")?.unwrap_or(0),
        usage_max: group.number("memory.max_usage_in_bytes")?,
        limit: group.number("memory.limit_in_bytes")?.unwrap_or(0),
        failures: group.number("memory.failcnt")?,
        stat: parse::flat(&group.text("memory.stat")?),
    })
}

fn cpu(group: Reader<'_>, account: Reader<'_>) -> Result<Cpu> {
    let throttling = parse::flat(&group.text("cpu.stat")?);
    let ticks = parse::flat(&account.text("cpuacct.stat")?);
    let number = |of: &BTreeMap<String, u64>, key: &str| of.get(key).copied().unwrap_or(0);
    let each = account.text("cpuacct.usage_percpu")?;
    Ok(Cpu {
        total: account.number("cpuacct.usage")?.unwrap_or(0),
        each: each
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect(),
        user: number(&ticks, "user").saturating_mul(TICK),
        kernel: number(&ticks, "system").saturating_mul(TICK),
        periods: number(&throttling, "nr_periods"),
        throttled_periods: number(&throttling, "nr_throttled"),
        throttled_time: number(&throttling, "throttled_time"),
    })
}

fn blocks(group: Reader<'_>) -> Result<Blocks> {
    Ok(Blocks {
        bytes: first(group, "io_service_bytes_recursive")?,
        operations: first(group, "io_serviced_recursive")?,
    })
}

/// The scheduler's own counters, and where it has none those of throttling.
fn first(group: Reader<'_>, what: &str) -> Result<Vec<Block>> {
    for kind in ["bfq.", "", "throttle."] {
        let found = counters(&group.text(&format!("blkio.{kind}{what}"))?);
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

/// Lines of a device, an operation and a number. The sum of all at the end is left out.
fn counters(text: &str) -> Vec<Block> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        Some(Block {
            device: parse::device(words.next()?)?,
            operation: words.next()?.to_owned(),
            value: words.next()?.parse().ok()?,
        })
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_counters_are_read() {
        let text = "254:0 Read 831488\n254:0 Write 63025152\nTotal 126771200\n";
        let block = |operation: &str, value| Block {
            device: (254, 0),
            operation: operation.to_owned(),
            value,
        };
        assert_eq!(
            counters(text),
            [block("Read", 831_488), block("Write", 63_025_152)]
        );
        assert_eq!(counters("Total 0\n"), []);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "scratch files of a test")]
    fn files_of_the_kernel_become_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        put("memory.usage_in_bytes", "23040000\n");
        put("memory.limit_in_bytes", "67108864\n");
        put("memory.stat", "cache 1\ntotal_inactive_file 2\n");
        put("cpuacct.usage", "69611011\n");
        put("cpuacct.usage_percpu", "31428744 38182267 \n");
        put("cpuacct.stat", "user 1\nsystem 5\n");
        put(
            "cpu.stat",
            "nr_periods 14\nnr_throttled 1\nthrottled_time 28528908\n",
        );
        put("pids.current", "2\n");
        put("pids.max", "max\n");
        let names = ["memory", "cpu", "cpuacct", "pids", "blkio"];
        let groups = names.map(|name| (name.to_owned(), dir.path().to_owned()));
        let usage = usage(&groups.into()).unwrap();
        let wanted = Usage {
            memory: Memory {
                usage: 23_040_000,
                limit: 67_108_864,
                stat: [
                    ("cache".to_owned(), 1),
                    ("total_inactive_file".to_owned(), 2),
                ]
                .into(),
                ..Memory::default()
            },
            cpu: Cpu {
                total: 69_611_011,
                each: vec![31_428_744, 38_182_267],
                user: 10_000_000,
                kernel: 50_000_000,
                periods: 14,
                throttled_periods: 1,
                throttled_time: 28_528_908,
            },
            pids: Pids {
                current: 2,
                limit: None,
            },
            blocks: Blocks::default(),
        };
        assert_eq!(usage, wanted);
    }
}
