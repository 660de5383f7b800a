//! Options of a tmpfs: the usual ones, with those that were given over them.

use crate::settings::TmpfsOptions;
use crate::spec::{Error, Result};

/// What a tmpfs in a container is mounted with.
const USUAL: [&str; 4] = ["noexec", "nosuid", "nodev", "rprivate"];
/// Flags that exclude each other, in one line each.
const FLAGS: [&[&str]; 13] = [
    &["ro", "rw"],
    &["suid", "nosuid"],
    &["dev", "nodev"],
    &["exec", "noexec"],
    &["sync", "async"],
    &["dirsync"],
    &["remount"],
    &["mand", "nomand"],
    &[
        "atime",
        "noatime",
        "relatime",
        "norelatime",
        "strictatime",
        "nostrictatime",
    ],
    &["diratime", "nodiratime"],
    &["defaults"],
    &[
        "private",
        "rprivate",
        "shared",
        "rshared",
        "slave",
        "rslave",
        "unbindable",
        "runbindable",
    ],
    &["bind", "rbind"],
];
/// Options with a value.
const VALUES: [&str; 8] = [
    "size",
    "mode",
    "uid",
    "gid",
    "nr_inodes",
    "nr_blocks",
    "mpol",
    "huge",
];

/// Options in mount(8)'s words.
pub(super) fn options(given: &TmpfsOptions) -> Vec<String> {
    let mode = given.mode.map(|mode| format!("mode={mode:o}"));
    let size = given
        .size
        .filter(|size| *size > 0)
        .map(|size| format!("size={size}"));
    given
        .options
        .iter()
        .cloned()
        .chain(mode)
        .chain(size)
        .collect()
}

/// The usual options and then `given`; of those that exclude each other the last counts.
pub(super) fn merge(given: &[String]) -> Result<Vec<String>> {
    let mut merged = Vec::new();
    let mut seen = Vec::new();
    let all = USUAL
        .iter()
        .copied()
        .chain(given.iter().map(String::as_str));
    for option in all.collect::<Vec<_>>().into_iter().rev() {
        let kind = kind(option).ok_or_else(|| Error::Malformed {
            what: "tmpfs option",
            text: format!("{option:?}"),
        })?;
        if !seen.contains(&kind) {
            seen.push(kind);
            merged.push(option.to_owned());
        }
    }
    merged.reverse();
    Ok(merged)
}

/// By what two options exclude each other.
fn kind(option: &str) -> Option<&'static str> {
    if let Some((key, value)) = option.split_once('=') {
        let known = VALUES.into_iter().find(|known| *known == key);
        return known.filter(|_| !value.is_empty() && !value.contains(','));
    }
    let line = FLAGS.iter().find(|line| line.contains(&option))?;
    line.first().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(given: &[&str]) -> Option<String> {
        let given: Vec<_> = given.iter().map(|&option| option.to_owned()).collect();
        merge(&given).ok().map(|merged| merged.join(","))
    }

    #[test]
    fn what_is_given_comes_over_the_usual() {
        let same = |given: &[&str], wanted: &str| assert_eq!(check(given).unwrap(), wanted);
        same(&[], "noexec,nosuid,nodev,rprivate");
        same(
            &["noexec", "size=1m"],
            "nosuid,nodev,rprivate,noexec,size=1m",
        );
        same(&["size=10m", "exec"], "nosuid,nodev,rprivate,size=10m,exec");
        same(&["size=1", "size=2"], "noexec,nosuid,nodev,rprivate,size=2");
    }

    #[test]
    fn what_a_tmpfs_does_not_know_is_refused() {
        for bad in ["", "x", "x=1", "size", "size=", "mode=1,x", "lowerdir=/"] {
            assert_eq!(check(&[bad]), None, "{bad}");
        }
    }

    #[test]
    fn typed_options_are_written_as_dockers() {
        let given = TmpfsOptions {
            size: Some(1_000_000),
            mode: Some(0o700),
            options: vec!["exec".to_owned()],
        };
        assert_eq!(options(&given), ["exec", "mode=700", "size=1000000"]);
    }
}
