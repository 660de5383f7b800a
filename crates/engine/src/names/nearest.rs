//! The name that somebody may have meant.

use lapstrake_oci::Reference;

use super::Named;

/// The name that is most like `wanted`, if one is alike: another tag of the same repository, the same
/// path in another registry, or so few letters off that it may have been mistyped.
pub(super) fn nearest(names: &[Named], wanted: &Reference) -> Option<String> {
    let text = wanted.familiar();
    let most = (text.chars().count() / 4).clamp(1, 3);
    let known = names.iter().filter_map(|(image, _)| {
        let known: Reference = image.reference.parse().ok()?;
        known.tag()?;
        let familiar = known.familiar();
        let same_repo = known.repo() == wanted.repo();
        let same_path = last(known.repo().path()) == last(wanted.repo().path());
        let distance = distance(&familiar, &text);
        let rank = match (distance <= most, same_repo, same_path) {
            (true, _, _) => 0,
            (_, true, _) => 1,
            (_, _, true) => 2,
            _ => return None,
        };
        Some((rank, distance, familiar))
    });
    known.min().map(|(_, _, familiar)| familiar)
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// How many letters must be added, taken away, replaced or exchanged with the next, to make one text of
/// the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    let mut above: Vec<usize> = Vec::new();
    let mut before = None;
    for (line, letter) in from.chars().enumerate() {
        let mut next = vec![line + 1];
        for (at, other) in to.iter().enumerate() {
            let replaced = row[at] + usize::from(letter != *other);
            let mut least = replaced.min(row[at + 1] + 1).min(next[at] + 1);
            if at > 0 && before == Some(*other) && letter == to[at - 1] {
                least = least.min(above[at - 1] + 1);
            }
            next.push(least);
        }
        above = std::mem::replace(&mut row, next);
        before = Some(letter);
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use lapstrake_oci::Algorithm;
    use lapstrake_store::ImageRecord;

    use super::*;

    fn check(wanted: &str, want: Option<&str>) {
        let digest = Algorithm::Sha256.digest(b"x");
        let names = ["debian:12", "debian:11", "quay.io/me/tool:1.0", "alpine:3"];
        let names: Vec<_> = (names.iter())
            .map(|name| ImageRecord {
                reference: name.parse::<Reference>().unwrap().to_string(),
                manifest: digest.clone(),
                config: digest.clone(),
            })
            .map(|image| (image, digest.clone()))
            .collect();
        let got = nearest(&names, &wanted.parse().unwrap());
        assert_eq!(got.as_deref(), want, "{wanted}");
    }

    #[test]
    fn a_slip_another_tag_or_another_place_is_found() {
        check("debain:12", Some("debian:12"));
        check("debian", Some("debian:11"));
        check("tool:1.0", Some("quay.io/me/tool:1.0"));
        check("quay.io/you/tool", Some("quay.io/me/tool:1.0"));
    }

    #[test]
    fn what_is_like_nothing_gets_no_answer() {
        check("postgres:16", None);
        check("x", None);
    }

    #[test]
    fn distances_are_the_least() {
        for (from, to, want) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("abc", "acb", 1),
            ("kitten", "sitting", 3),
            ("ab", "ba", 1),
        ] {
            assert_eq!(distance(from, to), want, "{from} {to}");
        }
    }
}
