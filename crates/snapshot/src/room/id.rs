//! Names of rooms.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use super::Error;

/// The name of a room: one path component that no hidden file has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomId(Box<str>);

impl RoomId {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RoomId {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let begins = name
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric());
        if begins && name.len() <= 255 && name.bytes().all(fits) {
            Ok(Self(name.into()))
        } else {
            Err(Error::Name(name.to_owned()))
        }
    }
}

impl fmt::Display for RoomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<Path> for RoomId {
    fn as_ref(&self) -> &Path {
        Path::new(&*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_plain_component() {
        for good in ["a", "7", "web-1_x.y", &"x".repeat(255)] {
            assert_eq!(good.parse::<RoomId>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            ".",
            "..",
            ".new",
            "-a",
            "a/b",
            "a b",
            "ä",
            &"x".repeat(256),
        ] {
            assert!(bad.parse::<RoomId>().is_err(), "{bad:?}");
        }
    }
}
