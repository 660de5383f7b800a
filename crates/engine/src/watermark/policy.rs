//! What is asked of the watermark.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use lapstrake_snapshot::room::parse_size;

use super::space::Space;
use crate::Label;
use crate::df::Held;

/// How much of a file system is to be free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// So many hundredths of its bytes, and of its inodes, if it counts them.
    Percent(u8),
    /// So many bytes.
    Bytes(u64),
}

/// A text that is no mark.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not how much is to be free: give hundredths (20%, from 1% to 99%) or a size (50GB)"
)]
pub struct MarkError(String);

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Something goes when less than this is free.
    pub keep_free: Mark,
    /// Once something goes, until so much is free. What is less than [`Self::keep_free`] counts as that.
    pub until_free: Mark,
    /// What has any of these labels stays: images by their configs', containers by their own.
    pub protect: Vec<Label>,
    /// What was used so short a time ago stays.
    pub min_age: Duration,
    /// Whether containers go that don't run.
    pub containers: bool,
}

impl Policy {
    /// Whether so much can be free at all.
    pub(super) fn is_possible(&self, space: &Space) -> bool {
        let total = space.total.bytes;
        self.keep_free.of(total).max(self.until_free.of(total)) <= total
    }

    /// What is missing until enough is free that nothing more goes; nothing if it is.
    pub(super) fn missing(&self, space: &Space) -> Held {
        let (keep, until) = (space.lacks(self.keep_free), space.lacks(self.until_free));
        Held {
            bytes: keep.bytes.max(until.bytes),
            inodes: keep.inodes.max(until.inodes),
        }
    }
}

impl Mark {
    /// Of so many, how many are to be free.
    pub(crate) fn of(self, total: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => {
                let part = u128::from(total) * u128::from(percent) / 100;
                u64::try_from(part).unwrap_or(u64::MAX)
            }
        }
    }

    /// A quarter more: how far to go if nothing is said.
    #[must_use]
    pub fn and_a_quarter(self) -> Self {
        match self {
            Self::Bytes(bytes) => Self::Bytes(bytes.saturating_add(bytes / 4)),
            Self::Percent(percent) => Self::Percent((percent + percent.div_ceil(4)).min(99)),
        }
    }
}

impl FromStr for Mark {
    type Err = MarkError;

    fn from_str(text: &str) -> Result<Self, MarkError> {
        let wrong = || MarkError(text.to_owned());
        if let Some(percent) = text.trim().strip_suffix('%') {
            let percent: u8 = percent.trim().parse().map_err(|_| wrong())?;
            return match percent {
                1..=99 => Ok(Self::Percent(percent)),
                _ => Err(wrong()),
            };
        }
        match parse_size(text) {
            Ok(Some(bytes)) => Ok(Self::Bytes(bytes)),
            Ok(None) | Err(_) => Err(wrong()),
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Bytes(bytes) => write!(f, "{bytes}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_hundredths_or_sizes() {
        for (text, want) in [
            ("20%", Mark::Percent(20)),
            (" 1 %", Mark::Percent(1)),
            ("50GB", Mark::Bytes(50 << 30)),
            ("1.5k", Mark::Bytes(1536)),
            ("4096", Mark::Bytes(4096)),
        ] {
            assert_eq!(text.parse(), Ok(want), "{text}");
        }
        for text in ["", "0", "0%", "100%", "2.5%", "%", "-1%", "much", "1x"] {
            let error = text.parse::<Mark>().unwrap_err().to_string();
            assert!(error.contains("20%"), "{error}");
        }
    }

    #[test]
    fn a_part_of_a_whole_and_a_quarter_more() {
        assert_eq!(Mark::Percent(20).of(1000), 200);
        assert_eq!(Mark::Percent(99).of(u64::MAX), u64::MAX / 100 * 99 + 14);
        assert_eq!(Mark::Bytes(7).of(1000), 7);
        assert_eq!(Mark::Percent(20).and_a_quarter(), Mark::Percent(25));
        assert_eq!(Mark::Percent(95).and_a_quarter(), Mark::Percent(99));
        assert_eq!(Mark::Bytes(40).and_a_quarter(), Mark::Bytes(50));
    }
}
