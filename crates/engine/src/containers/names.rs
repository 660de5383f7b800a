//! Names of containers: what may be one, and those that are made up.

use super::error::{Error, Result};

/// What boats and their weather are like.
const LEFT: [&str; 48] = [
    "able", "airy", "amber", "bold", "brave", "bright", "brisk", "calm", "clear", "coastal",
    "copper", "crisp", "dapper", "deft", "eager", "early", "fair", "fleet", "fond", "gentle",
    "gilded", "glad", "hardy", "hearty", "jolly", "keen", "kind", "lively", "lucky", "mellow",
    "merry", "nimble", "noble", "northern", "plucky", "proud", "quick", "quiet", "ready", "salty",
    "silver", "sleek", "steady", "sunny", "swift", "tidy", "trusty", "windy",
];
/// What a boat is made of, and boats.
const RIGHT: [&str; 48] = [
    "anchor", "barque", "batten", "bollard", "boom", "bow", "brig", "bulwark", "buoy", "cleat",
    "clinker", "coble", "cutter", "deck", "dinghy", "dory", "faering", "fender", "frigate",
    "galley", "gannet", "halyard", "helm", "hull", "jib", "keel", "ketch", "knarr", "lugger",
    "mast", "oar", "pinnace", "plank", "punt", "rivet", "rudder", "sail", "schooner", "sculler",
    "skiff", "sloop", "spar", "stem", "tiller", "transom", "wherry", "yawl", "yoal",
];

/// A name made up from random bytes; `attempt` tells how many were taken already.
pub(crate) fn made_up(random: [u8; 4], attempt: u32) -> String {
    let left = LEFT[usize::from(random[0]) % LEFT.len()];
    let right = RIGHT[usize::from(random[1]) % RIGHT.len()];
    match attempt {
        0 => format!("{left}_{right}"),
        _ => format!(
            "{left}_{right}{}",
            u16::from_le_bytes([random[2], random[3]])
        ),
    }
}

/// A client's name, without the slash in front.
pub(crate) fn checked(name: &str) -> Result<&str> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    let mut letters = bare.chars();
    let first = letters.next().is_some_and(|c| c.is_ascii_alphanumeric());
    let rest = letters.all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    if first && rest && bare.len() > 1 {
        return Ok(bare);
    }
    Err(Error::Invalid(format!(
        "Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_docker_allows() {
        for name in ["ab", "/a.b", "0-_"] {
            assert_eq!(checked(name).unwrap(), name.trim_start_matches('/'));
        }
        for name in ["", "/", "a", "-a", "a b", "a/b", "ä1", "//a"] {
            assert!(checked(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn made_up_names_can_be_names() {
        for number in 0..=255 {
            for attempt in 0..2 {
                let name = made_up([number, 255 - number, number, number], attempt);
                checked(&name).unwrap();
            }
        }
    }
}
