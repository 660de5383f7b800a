//! What went through the network interfaces of a container.

use std::path::PathBuf;

use super::{Error, Result, read_if_there};

/// One interface, but for loopback.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name in the container.
    pub name: String,
    /// What came in.
    pub received: Traffic,
    /// What went out.
    pub sent: Traffic,
}

/// Counters of one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// Packets that were wrong.
    pub errors: u64,
    /// Packets for which there was no room.
    pub dropped: u64,
}

/// The interfaces of the network namespace in which a process is.
///
/// # Errors
/// If the process has ended.
pub fn interfaces(pid: u32) -> Result<Vec<Interface>> {
    let path = PathBuf::from(format!("/proc/{pid}/net/dev"));
    let text = read_if_there(&path)?.ok_or(Error::Gone(pid))?;
    Ok(parse(&text))
}

/// Reads `/proc/net/dev`: eight numbers of what came in, then eight of what went out.
fn parse(text: &str) -> Vec<Interface> {
    let line = |line: &str| {
        let (name, numbers) = line.split_once(':')?;
        let numbers: Vec<u64> = numbers
            .split_whitespace()
            .map_while(|word| word.parse().ok())
            .collect();
        let traffic = |from: usize| {
            Some(Traffic {
                bytes: *numbers.get(from)?,
                packets: *numbers.get(from + 1)?,
                errors: *numbers.get(from + 2)?,
                dropped: *numbers.get(from + 3)?,
            })
        };
        let name = name.trim();
        (name != "lo").then_some(())?;
        Some(Interface {
            name: name.to_owned(),
            received: traffic(0)?,
            sent: traffic(8)?,
        })
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_read_but_for_loopback() {
        let text = "Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
  eth0:     736       8    1    2    0     0          0         0       42       3    4    5    0     0       0          0
";
        let traffic = |bytes, packets, errors, dropped| Traffic {
            bytes,
            packets,
            errors,
            dropped,
        };
        let wanted = Interface {
            name: "eth0".to_owned(),
            received: traffic(736, 8, 1, 2),
            sent: traffic(42, 3, 4, 5),
        };
        assert_eq!(parse(text), [wanted]);
    }

    #[test]
    fn a_process_that_ended_has_none() {
        assert!(matches!(interfaces(u32::MAX), Err(Error::Gone(_))));
        assert!(interfaces(std::process::id()).is_ok());
    }
}
