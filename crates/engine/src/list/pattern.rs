//! Patterns for names, as Go's `path.Match` has them, for that is what Docker's filters are.

/// Whether a whole name fits a pattern: `*` is any number of characters but `/`, `?` is one, `[a-z]` one of
/// these, `[^a-z]` one of the others, `\` takes the next as it is. A pattern that is none fits nothing.
pub(super) fn fits(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut at, mut next) = (0, 0);
    // Where to go on when what follows the last star doesn't fit.
    let mut star = None;
    loop {
        if next == pattern.len() && at == name.len() {
            return true;
        }
        if pattern.get(next) == Some(&'*') {
            next += 1;
            star = Some((at, next));
            continue;
        }
        if let Some(letter) = name.get(at)
            && let Some(after) = one(&pattern[next..], *letter)
        {
            (at, next) = (at + 1, next + after);
            continue;
        }
        match star {
            Some((begun, after)) if name.get(begun).is_some_and(|letter| *letter != '/') => {
                star = Some((begun + 1, after));
                (at, next) = (begun + 1, after);
            }
            _ => return false,
        }
    }
}

/// How much of the pattern stands for this one letter, if its beginning does.
fn one(pattern: &[char], letter: char) -> Option<usize> {
    match pattern {
        ['?', ..] => (letter != '/').then_some(1),
        ['\\', quoted, ..] => (*quoted == letter).then_some(2),
        ['[', ..] => {
            let end = pattern.iter().skip(2).position(|c| *c == ']')? + 2;
            let (wanted, set) = match &pattern[1..end] {
                ['^', set @ ..] => (false, set),
                set => (true, set),
            };
            let among = in_set(set, letter);
            (among == wanted && letter != '/').then_some(end + 1)
        }
        [plain, ..] => (*plain == letter).then_some(1),
        [] => None,
    }
}

fn in_set(mut set: &[char], letter: char) -> bool {
    loop {
        match set {
            [low, '-', high, rest @ ..] => {
                if (*low..=*high).contains(&letter) {
                    return true;
                }
                set = rest;
            }
            [one, rest @ ..] => {
                if *one == letter {
                    return true;
                }
                set = rest;
            }
            [] => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_names() {
        for (pattern, name, want) in [
            ("", "", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "abc", true),
            ("*", "a/b", false),
            ("*/*", "a/b", true),
            ("a*c", "abcbc", true),
            ("a*d", "abcbc", false),
            ("a*b*c", "aXbYc", true),
            ("?b", "ab", true),
            ("?", "/", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("[ab", "a", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("debian:1[12]", "debian:12", true),
        ] {
            assert_eq!(fits(pattern, name), want, "{pattern} {name}");
        }
    }
}
