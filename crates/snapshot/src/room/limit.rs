//! Limits as they are written, and what a room uses of them.

use std::fmt;
use std::str::FromStr;

use super::{Error, Result};

/// The most that a room may use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Limit {
    /// Bytes on disk, directories included.
    pub bytes: Option<u64>,
    /// Files, directories and everything else that has an inode, the room itself included.
    pub inodes: Option<u64>,
}

impl Limit {
    /// As much as the file system has.
    pub const NONE: Self = Self {
        bytes: None,
        inodes: None,
    };

    /// Whether nothing is limited.
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }

    /// Reads storage options as `docker run --storage-opt` takes them: `size=10G`, `inodes=100000`.
    /// A later one overrides an earlier one; 0 is no limit.
    pub fn from_options<'a>(options: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let mut limit = Self::NONE;
        for option in options {
            match option.split_once('=') {
                Some((key, value)) if key.eq_ignore_ascii_case("size") => {
                    limit.bytes = parse_size(value)?;
                }
                Some((key, value)) if key.eq_ignore_ascii_case("inodes") => {
                    let inodes = u64::from_str(value.trim());
                    let inodes = inodes.map_err(|_| Error::Option(option.to_owned()))?;
                    limit.inodes = (inodes != 0).then_some(inodes);
                }
                _ => return Err(Error::Option(option.to_owned())),
            }
        }
        Ok(limit)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.bytes, self.inodes) {
            (None, None) => f.write_str("no limit"),
            (Some(bytes), None) => write!(f, "{bytes} bytes"),
            (None, Some(inodes)) => write!(f, "{inodes} inodes"),
            (Some(bytes), Some(inodes)) => write!(f, "{bytes} bytes and {inodes} inodes"),
        }
    }
}

/// A size in Docker's units: a number, perhaps with a fraction, then perhaps k, m, g, t or p, each
/// perhaps followed by `b` or `ib`, in any case. All are powers of 1024. `None` is zero: no limit.
pub fn parse_size(text: &str) -> Result<Option<u64>> {
    let bad = || Error::Size(text.to_owned());
    let lower = text.trim().to_ascii_lowercase();
    let end = lower
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(lower.len());
    let (number, unit) = lower.split_at(end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let power = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" if matches!(unit, "" | "b") => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return Err(bad()),
    };
    if !matches!(unit.get(1..).unwrap_or_default(), "" | "b" | "ib") {
        return Err(bad());
    }
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let unit = 1_u128 << (10 * power);
    let bytes = u128::from(u64::from_str(whole).map_err(|_| bad())?) * unit;
    let bytes = bytes + fraction_of(fraction, unit).ok_or_else(bad)?;
    let bytes = u64::try_from(bytes).map_err(|_| bad())?;
    Ok((bytes != 0).then_some(bytes))
}

/// `0.digits` of a unit, rounded down.
fn fraction_of(digits: &str, unit: u128) -> Option<u128> {
    if digits.is_empty() {
        return Some(0);
    }
    // More digits than this change no byte.
    let digits = digits.get(..digits.len().min(18))?;
    let numerator = u128::from(u64::from_str(digits).ok()?);
    let scale = 10_u128.pow(u32::try_from(digits.len()).ok()?);
    Some(numerator * unit / scale)
}

/// What a room uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes on disk, directories included.
    pub bytes: u64,
    /// Inodes; `None` where they are not counted (btrfs).
    pub inodes: Option<u64>,
    /// Bytes on disk of what is not a directory, in the directories of the room; `None` where files are not
    /// looked at.
    pub files: Option<u64>,
    /// What it is held to.
    pub limit: Limit,
    /// How that is known.
    pub counted: Counted,
}

/// How a usage is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// The file system counts as it goes: asking costs nothing.
    Always,
    /// The file system counts, and tells what was so a while ago, half a minute at most.
    Lately,
    /// Every file was looked at.
    Walked,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        let cases = [
            ("0", 0),
            ("32", 32),
            ("32b", 32),
            ("32 b", 32),
            ("32k", 32 << 10),
            ("32Kb", 32 << 10),
            ("32KiB", 32 << 10),
            ("10G", 10 << 30),
            ("1.5g", 3 << 29),
            ("0.5 MB", 1 << 19),
            ("2t", 2 << 40),
            ("1P", 1 << 50),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_size(text).unwrap().unwrap_or(0), bytes, "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        let cases = [
            "",
            "G",
            "-1",
            "1x",
            "1gg",
            "1ib",
            "1bb",
            "1kk",
            "1.2.3g",
            "99999999p",
            "1  g",
            "1,5g",
            "1i",
            "0x10",
            ".5g",
            "1gibb",
        ];
        for text in cases {
            assert!(parse_size(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn options_name_what_they_limit() {
        let limit = Limit::from_options(["size=1g", "inodes=10", "SIZE=2g"]).unwrap();
        let expected = Limit {
            bytes: Some(2 << 30),
            inodes: Some(10),
        };
        assert_eq!(limit, expected);
        assert_eq!(Limit::from_options(["size=0"]).unwrap(), Limit::NONE);
        for bad in [
            "size",
            "sise=1",
            "inodes=many",
            "inodes=-1",
            "dm.basesize=1g",
        ] {
            assert!(Limit::from_options([bad]).is_err(), "{bad}");
        }
    }
}
