//! Control groups of the second version: one hierarchy.

use std::path::Path;

use super::{Block, Blocks, Cpu, Memory, Pids, Usage};
use crate::usage::{Result, parse, read_if_there};

pub(super) fn usage(group: &Path) -> Result<Usage> {
    let text = |name: &str| Ok(read_if_there(&group.join(name))?.unwrap_or_default());
    let number = |name: &str| text(name).map(|text: String| parse::limit(&text));
    let events = parse::flat(&text("memory.events")?);
    Ok(Usage {
        memory: Memory {
            usage: number("memory.current")?.unwrap_or(0),
            usage_max: number("memory.peak")?,
            limit: number("memory.max")?.unwrap_or(0),
            failures: events.get("max").copied(),
            stat: parse::flat(&text("memory.stat")?),
        },
        cpu: cpu(&text("cpu.stat")?),
        pids: Pids {
            current: number("pids.current")?.unwrap_or(0),
            limit: number("pids.max")?,
        },
        blocks: blocks(&text("io.stat")?),
    })
}

/// Microseconds become nanoseconds.
fn cpu(text: &str) -> Cpu {
    let stat = parse::flat(text);
    let number = |key: &str| stat.get(key).copied().unwrap_or(0);
    let time = |key: &str| number(key).saturating_mul(1000);
    Cpu {
        total: time("usage_usec"),
        each: Vec::new(),
        user: time("user_usec"),
        kernel: time("system_usec"),
        periods: number("nr_periods"),
        throttled_periods: number("nr_throttled"),
        throttled_time: time("throttled_usec"),
    }
}

/// Lines of a device and `key=number`.
fn blocks(text: &str) -> Blocks {
    let mut blocks = Blocks::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some(device) = words.next().and_then(parse::device) else {
            continue;
        };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let (list, operation) = match key {
                "rbytes" => (&mut blocks.bytes, "read"),
                "wbytes" => (&mut blocks.bytes, "write"),
                "dbytes" => (&mut blocks.bytes, "discard"),
                "rios" => (&mut blocks.operations, "read"),
                "wios" => (&mut blocks.operations, "write"),
                "dios" => (&mut blocks.operations, "discard"),
                _ => continue,
            };
            if let Ok(value) = value.parse() {
                let operation = operation.to_owned();
                list.push(Block {
                    device,
                    operation,
                    value,
                });
            }
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_blocks_are_read() {
        let text = "usage_usec 69\nuser_usec 10\nsystem_usec 59\nnr_periods 4\nnr_throttled 2\nthrottled_usec 7\n";
        let wanted = Cpu {
            total: 69_000,
            each: vec![],
            user: 10_000,
            kernel: 59_000,
            periods: 4,
            throttled_periods: 2,
            throttled_time: 7000,
        };
        assert_eq!(cpu(text), wanted);
        let read =
            blocks("8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n8:16\nodd rbytes=1\n");
        let brief = |list: &[Block]| {
            let one =
                |block: &Block| format!("{:?}{}{}", block.device, block.operation, block.value);
            list.iter().map(one).collect::<Vec<_>>()
        };
        assert_eq!(
            brief(&read.bytes),
            ["(8, 0)read1", "(8, 0)write2", "(8, 0)discard0"]
        );
        assert_eq!(
            brief(&read.operations),
            ["(8, 0)read3", "(8, 0)write4", "(8, 0)discard0"]
        );
    }
}
