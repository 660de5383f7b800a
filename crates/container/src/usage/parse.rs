//! The shapes that the kernel writes numbers in.

use std::collections::BTreeMap;

/// Lines of a key and a number.
pub(super) fn flat(text: &str) -> BTreeMap<String, u64> {
    let line = |line: &str| {
        let (key, value) = line.split_once(char::is_whitespace)?;
        Some((key.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// A number, or `max` for none.
pub(super) fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// `major:minor`.
pub(super) fn device(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_lines_are_left_out() {
        let read = flat("a 1\nb\nc x\n\nd 18446744073709551616\ne  2\n");
        let wanted = [("a".to_owned(), 1), ("e".to_owned(), 2)];
        assert_eq!(read, wanted.into());
        assert_eq!((limit("max\n"), limit("7\n")), (None, Some(7)));
        assert_eq!(
            (device("8:1"), device("8"), device("x:1")),
            (Some((8, 1)), None, None)
        );
    }
}
