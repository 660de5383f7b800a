//! Moments of the calendar, and the one place where they are written and read: RFC 3339, in UTC.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{NANOS, NotATime};

const DAY: i64 = 86_400;

/// A moment of any year that has four digits; written as `2006-01-02T15:04:05.999999999Z` without the fraction's last zeros,
/// which is what Go's `RFC3339Nano` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment {
    /// Since 1970.
    seconds: i64,
    /// Less than a second of them.
    nanoseconds: u32,
}

impl Moment {
    /// So many nanoseconds after (or before) 1970.
    pub(super) fn from_nanoseconds(nanoseconds: i128) -> Self {
        let below = nanoseconds.rem_euclid(i128::from(NANOS));
        let seconds = nanoseconds.div_euclid(i128::from(NANOS));
        Self {
            // An `i64` of seconds has room for any time that a system knows.
            seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
            nanoseconds: u32::try_from(below).unwrap_or(0),
        }
    }

    pub(super) fn nanoseconds(self) -> i128 {
        i128::from(self.seconds) * i128::from(NANOS) + i128::from(self.nanoseconds)
    }

    /// The same for the system; `None` if it knows no such time.
    #[must_use]
    pub fn to_system(self) -> Option<SystemTime> {
        let magnitude = Duration::from_secs(self.seconds.unsigned_abs());
        let second = if self.seconds < 0 {
            UNIX_EPOCH.checked_sub(magnitude)?
        } else {
            UNIX_EPOCH.checked_add(magnitude)?
        };
        second.checked_add(Duration::from_nanos(self.nanoseconds.into()))
    }
}

impl From<SystemTime> for Moment {
    fn from(time: SystemTime) -> Self {
        let nanoseconds = |span: Duration| i128::try_from(span.as_nanos()).unwrap_or(i128::MAX);
        Self::from_nanoseconds(match time.duration_since(UNIX_EPOCH) {
            Ok(after) => nanoseconds(after),
            Err(before) => -nanoseconds(before.duration()),
        })
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.seconds.div_euclid(DAY));
        let rest = self.seconds.rem_euclid(DAY);
        let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
        )?;
        let mut fraction = self.nanoseconds;
        if fraction != 0 {
            let mut digits = 9;
            while fraction.is_multiple_of(10) {
                fraction /= 10;
                digits -= 1;
            }
            write!(f, ".{fraction:0digits$}")?;
        }
        f.write_str("Z")
    }
}

impl FromStr for Moment {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        parse(text.as_bytes()).ok_or(NotATime)
    }
}

/// Any offset and any number of digits of a fraction.
fn parse(text: &[u8]) -> Option<Moment> {
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
    Some(Moment {
        seconds,
        nanoseconds: u32::try_from(fraction).ok()?,
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn moment(seconds: i64, nanoseconds: u32) -> Moment {
        Moment {
            seconds,
            nanoseconds,
        }
    }

    #[test]
    fn moments_are_written_as_date_and_go_write_them() {
        // From `date -u -d @N +%FT%TZ`, and Go's fractions.
        for (text, moment) in [
            ("0000-01-01T00:00:00Z", moment(-62_167_219_200, 0)),
            ("0001-01-01T00:00:00Z", moment(-62_135_596_800, 0)),
            ("1969-12-31T23:59:59.5Z", moment(-1, 500_000_000)),
            ("1970-01-01T00:00:00Z", moment(0, 0)),
            ("2000-02-29T12:00:00.000000001Z", moment(951_825_600, 1)),
            ("2000-02-29T23:59:59Z", moment(951_868_799, 0)),
            ("2024-02-29T23:59:59Z", moment(1_709_251_199, 0)),
            (
                "2024-12-31T23:59:59.12Z",
                moment(1_735_689_599, 120_000_000),
            ),
            ("2100-03-01T00:00:00Z", moment(4_107_542_400, 0)),
            ("9999-12-31T23:59:59Z", moment(253_402_300_799, 0)),
        ] {
            assert_eq!(moment.to_string(), text);
            assert_eq!(text.parse(), Ok(moment), "{text}");
            assert_eq!(Moment::from(moment.to_system().unwrap()), moment);
        }
    }

    #[test]
    fn other_ways_to_write_a_moment_are_understood() {
        for text in [
            "2000-02-29T13:00:00+01:00",
            "2000-02-29T11:30:00.0000000000-00:30",
            "2000-02-29 12:00:00z",
        ] {
            assert_eq!(text.parse(), Ok(moment(951_825_600, 0)), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "2000",
            "2000-13-01T00:00:00Z",
            "2000-01-01T00:00:00",
            "2000-01-01T00:00:00.Z",
            "2000-01-01T24:00:00Z",
            "2000-01-01T00:00:00+1:00",
        ] {
            assert_eq!(text.parse::<Moment>(), Err(NotATime), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_moment_is_read_back(
            seconds in -62_167_219_200_i64..253_402_300_800,
            nanoseconds in 0..1_000_000_000_u32,
        ) {
            let moment = moment(seconds, nanoseconds);
            prop_assert_eq!(moment.to_string().parse(), Ok(moment));
        }
    }
}
