//! Versions of the API, and where in a path they stand.

use std::fmt;

/// A version, such as 1.50. Its numbers are compared one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u32, pub(crate) u32);

/// The newest that is understood, and the one that is meant if none is named.
pub(crate) const NEWEST: Version = Version(1, 50);
/// The oldest.
pub(crate) const OLDEST: Version = Version(1, 24);

impl Version {
    /// Whether this is that version or a later one.
    pub(crate) fn from(self, major: u32, minor: u32) -> bool {
        self >= Self(major, minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// What a path begins with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Named<'a> {
    /// No version: the whole path.
    None(&'a str),
    /// A version, as it was written, and the path after it.
    Some(&'a str, &'a str),
}

/// Takes the version off a path.
pub(crate) fn split(path: &str) -> Named<'_> {
    let versioned = path.strip_prefix("/v").and_then(|rest| {
        let (version, _) = rest.split_once('/')?;
        let is_version = version.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        (is_version && !version.is_empty()).then(|| (version, &rest[version.len()..]))
    });
    match versioned {
        Some((version, rest)) => Named::Some(version, rest),
        None => Named::None(path),
    }
}

/// Why a version can't be spoken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is older than [`OLDEST`].
    TooOld(String),
    /// It is newer than [`NEWEST`].
    TooNew(String),
}

/// Reads a version that a client named. Parts that are missing are zero, as are those that are no numbers.
pub(crate) fn check(text: &str) -> Result<Version, Refused> {
    let mut parts = text.split('.');
    let mut part = || parts.next().and_then(|part| part.parse().ok()).unwrap_or(0);
    let version = Version(part(), part());
    if version < OLDEST {
        return Err(Refused::TooOld(text.to_owned()));
    }
    if version > NEWEST {
        return Err(Refused::TooNew(text.to_owned()));
    }
    Ok(version)
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooOld(version) => write!(
                f,
                "client version {version} is too old. Minimum supported API version is {OLDEST}, please upgrade your client to a newer version"
            ),
            Self::TooNew(version) => write!(
                f,
                "client version {version} is too new. Maximum supported API version is {NEWEST}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_taken_off_if_there_is_one() {
        for (path, want) in [
            ("/v1.41/info", Named::Some("1.41", "/info")),
            ("/v1/info", Named::Some("1", "/info")),
            ("/info", Named::None("/info")),
            ("/volumes/x", Named::None("/volumes/x")),
            ("/v1.41", Named::None("/v1.41")),
            ("/v/x", Named::None("/v/x")),
        ] {
            assert_eq!(split(path), want);
        }
    }

    #[test]
    fn versions_that_are_not_spoken_are_refused_in_dockers_words() {
        assert_eq!(check("1.24"), Ok(OLDEST));
        assert_eq!(check("1.50"), Ok(NEWEST));
        let too_new = check("1.99").expect_err("too new").to_string();
        assert_eq!(
            too_new,
            "client version 1.99 is too new. Maximum supported API version is 1.50"
        );
        let too_old = check("1.10").expect_err("too old").to_string();
        assert_eq!(
            too_old,
            "client version 1.10 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"
        );
        assert!(check("1").is_err() && check("2.0").is_err() && check("...").is_err());
        assert!(Version(1, 100) > Version(1, 99) && NEWEST.from(1, 42) && !OLDEST.from(1, 42));
    }
}
