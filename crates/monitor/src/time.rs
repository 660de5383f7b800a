//! Moments in time as Docker writes them: RFC 3339 with nanoseconds, UTC.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const NANOS: i64 = 1_000_000_000;
const DAY: i64 = 86_400;

/// Nanoseconds since 1970; written as `2006-01-02T15:04:05.999999999Z` without the fraction's last
/// zeros, which is what Go's `RFC3339Nano` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// The text is not a moment between 1678 and 2262.
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
        let nanoseconds = |span: Duration| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
        Self(match time.duration_since(UNIX_EPOCH) {
            Ok(after) => nanoseconds(after),
            Err(before) => -nanoseconds(before.duration()),
        })
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.div_euclid(NANOS);
        let (year, month, day) = civil(seconds.div_euclid(DAY));
        let rest = seconds.rem_euclid(DAY);
        let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
        )?;
        let mut fraction = self.0.rem_euclid(NANOS);
        if fraction != 0 {
            let mut digits = 9;
            while fraction % 10 == 0 {
                fraction /= 10;
                digits -= 1;
            }
            write!(f, ".{fraction:0digits$}")?;
        }
        f.write_str("Z")
    }
}

impl FromStr for Timestamp {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        parse(text.as_bytes()).ok_or(NotATime)
    }
}

/// Any offset and any number of digits of a fraction.
fn parse(text: &[u8]) -> Option<Timestamp> {
    let number = |from: usize, to: usize| decimal(text.get(from..to)?);
    let is = |at: usize, marks: &[u8]| text.get(at).is_some_and(|byte| marks.contains(byte));
    let marks = is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":");
    if !marks {
        return None;
    }
    let (month, day) = (number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let in_range = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !in_range {
        return None;
    }
    let mut seconds = days(number(0, 4)?, month, day) * DAY + hour * 3600 + minute * 60 + second;
    let mut rest = text.get(19..)?;
    let mut fraction = 0;
    if let Some(after) = rest.strip_prefix(b".") {
        let length = after.iter().take_while(|b| b.is_ascii_digit()).count();
        let (digits, zone) = after.split_at(length);
        let first = digits.get(..length.min(9))?;
        let scale = u32::try_from(9 - first.len()).ok()?;
        fraction = decimal(first)? * 10_i64.pow(scale);
        rest = zone;
    }
    seconds -= match rest {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let offset = decimal(&[*h1, *h2])? * 3600 + decimal(&[*m1, *m2])? * 60;
            if *sign == b'-' { -offset } else { offset }
        }
        _ => return None,
    };
    // The first second that fits fits only in part.
    let nanoseconds = i128::from(seconds) * i128::from(NANOS) + i128::from(fraction);
    i64::try_from(nanoseconds).ok().map(Timestamp)
}

fn decimal(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_i64, |value, digit| {
        digit
            .is_ascii_digit()
            .then(|| value * 10 + i64::from(digit - b'0'))
    })
}

/// The days between 1970 and a date. Years begin in March here, so that the leap day is a year's last, and
/// 400 years are always 146,097 days.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date so many days after 1970: year, month, day.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + i64::from(month <= 2);
    (year, month, day)
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

    #[track_caller]
    fn check(text: &str, nanoseconds: i64) {
        let time = Timestamp::from_nanoseconds(nanoseconds);
        assert_eq!(time.to_string(), text);
        assert_eq!(text.parse(), Ok(time));
    }

    #[test]
    fn moments_are_written_as_go_writes_them() {
        check("1970-01-01T00:00:00Z", 0);
        check("1969-12-31T23:59:59.5Z", -NANOS / 2);
        check("2000-02-29T12:00:00.000000001Z", 951_825_600 * NANOS + 1);
        check(
            "2024-12-31T23:59:59.12Z",
            1_735_689_599 * NANOS + 120_000_000,
        );
    }

    #[test]
    fn other_ways_to_write_a_moment_are_understood() {
        let same = [
            "2000-02-29T13:00:00+01:00",
            "2000-02-29T11:30:00.0000000000-00:30",
            "2000-02-29 12:00:00z",
        ];
        for text in same {
            let time = Timestamp::from_nanoseconds(951_825_600 * NANOS);
            assert_eq!(text.parse(), Ok(time), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        let wrong = [
            "",
            "2000",
            "2000-13-01T00:00:00Z",
            "2000-01-01T00:00:00",
            "2000-01-01T00:00:00.Z",
            "9999-01-01T00:00:00Z",
            "2000-01-01T24:00:00Z",
            "2000-01-01T00:00:00+1:00",
        ];
        for text in wrong {
            assert_eq!(text.parse::<Timestamp>(), Err(NotATime), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_moment_is_read_back(nanoseconds: i64) {
            let time = Timestamp::from_nanoseconds(nanoseconds);
            // Dates before 1678 don't fit, and none is negative.
            prop_assert_eq!(time.to_string().parse(), Ok(time));
        }
    }
}
