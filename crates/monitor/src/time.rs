//! Moments in time as Docker writes them: RFC 3339 with nanoseconds, UTC.

mod moment;

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use moment::Moment;

const NANOS: i64 = 1_000_000_000;

/// Nanoseconds since 1970, between 1678 and 2262; written as [`Moment`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// The text is no moment, or, as a [`Timestamp`], none between 1678 and 2262.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a time in RFC 3339")]
pub struct NotATime;

impl Timestamp {
    /// The moment of the call.
    #[must_use]
    pub fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// A number of nanoseconds after (or before) 1970.
    #[must_use]
    pub const fn from_nanoseconds(nanoseconds: i64) -> Self {
        Self(nanoseconds)
    }

    /// How many nanoseconds after 1970.
    #[must_use]
    pub const fn nanoseconds(self) -> i64 {
        self.0
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let nanoseconds = Moment::from(time).nanoseconds();
        let last = if nanoseconds < 0 { i64::MIN } else { i64::MAX };
        Self(i64::try_from(nanoseconds).unwrap_or(last))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Moment::from_nanoseconds(self.0.into()).fmt(f)
    }
}

impl FromStr for Timestamp {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        let nanoseconds = text.parse::<Moment>()?.nanoseconds();
        i64::try_from(nanoseconds).map(Self).map_err(|_| NotATime)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_moment_that_has_no_room_is_refused() {
        for text in ["9999-01-01T00:00:00Z", "1677-09-21T00:12:43Z", "2000"] {
            assert_eq!(text.parse::<Timestamp>(), Err(NotATime), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_moment_is_read_back(nanoseconds: i64) {
            let time = Timestamp::from_nanoseconds(nanoseconds);
            prop_assert_eq!(time.to_string().parse(), Ok(time));
        }
    }
}
