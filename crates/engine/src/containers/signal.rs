//! Signals, by name and number.

use super::error::{Error, Result};

/// Ends at once.
pub(crate) const KILL: i32 = 9;
/// Asks to end.
pub(crate) const TERM: i32 = 15;
/// signal(7): the last one.
const LAST: i32 = 64;
/// signal(7): the first real-time signal that a program may use.
const FIRST_REAL_TIME: i32 = 34;

/// The numbers of x86 and ARM (signal(7)).
const NAMES: [(&str, i32); 34] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", KILL),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", TERM),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// The number of a signal: `9`, `KILL`, `SIGKILL`, `RTMIN+3`, in any case.
pub(crate) fn parse(text: &str) -> Result<i32> {
    let invalid = || Error::Invalid(format!("invalid signal: {text}"));
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=LAST).contains(&number) {
            Ok(number)
        } else {
            Err(invalid())
        };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some((_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Ok(*number);
    }
    let offset = |rest: &str| match rest {
        "" => Some(0),
        rest => rest.get(1..).and_then(|digits| digits.parse::<i32>().ok()),
    };
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) if rest.is_empty() || rest.starts_with('+') => {
            offset(rest).and_then(|offset| FIRST_REAL_TIME.checked_add(offset))
        }
        (_, Some(rest)) if rest.is_empty() || rest.starts_with('-') => {
            offset(rest).and_then(|offset| LAST.checked_sub(offset))
        }
        _ => None,
    };
    number
        .filter(|number| (FIRST_REAL_TIME..=LAST).contains(number))
        .ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number) in [
            ("9", 9),
            ("KILL", 9),
            ("sigterm", 15),
            ("SIGRTMIN+3", 37),
            ("RTMAX", 64),
            ("RTMAX-1", 63),
            ("WINCH", 28),
        ] {
            assert_eq!(parse(text).unwrap(), number, "{text}");
        }
        for text in [
            "", "0", "65", "-1", "SIG", "SIGX", "RTMIN+31", "RTMIN-1", "RTMAX-31",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
