//! Whether mounts can propagate as they are to: that depends on how what they show is mounted on the host.

use std::path::{Path, PathBuf};

use super::{Error, HostMount, Result, Shown};
use crate::settings::Propagation;

/// A mount of the host, as `/proc/self/mountinfo` tells of it.
#[derive(Debug, PartialEq)]
struct Mounted {
    at: PathBuf,
    is_shared: bool,
    is_slave: bool,
}

/// Checks that each mount that is to be shared shows what is shared on the host. `mountinfo` is the text of
/// `/proc/self/mountinfo`, of a process in the mount namespace in which the runtime is started.
///
/// # Errors
/// For the first mount that can't propagate.
pub fn check_propagation(mounts: &[HostMount], mountinfo: &str) -> Result<()> {
    let asked = mounts.iter().filter_map(|mount| match &mount.shown {
        Shown::Host {
            source,
            propagation,
            ..
        } => Some((source, (*propagation)?)),
        Shown::Memory { .. } => None,
    });
    for (source, propagation) in asked {
        let (slave_will_do, wanted) = match propagation {
            Propagation::Private | Propagation::Rprivate => continue,
            Propagation::Shared | Propagation::Rshared => (false, "shared"),
            Propagation::Slave | Propagation::Rslave => (true, "shared or slave"),
        };
        let Some(mounted) = below_which(source, mountinfo) else {
            continue;
        };
        if !(mounted.is_shared || mounted.is_slave && slave_will_do) {
            return Err(Error::Propagation {
                path: source.clone(),
                at: mounted.at,
                wanted,
            });
        }
    }
    Ok(())
}

/// The mount on which a path is: that with the longest mount point, and of several the last.
fn below_which(path: &Path, mountinfo: &str) -> Option<Mounted> {
    let above = mountinfo
        .lines()
        .filter_map(parse)
        .filter(|mounted| path.starts_with(&mounted.at));
    above.max_by_key(|mounted| mounted.at.components().count())
}

/// Reads a line: numbers, the root, the mount point, options, then what it shares until a dash.
fn parse(line: &str) -> Option<Mounted> {
    let mut words = line.split(' ');
    let at = unescaped(words.nth(4)?);
    let sharing: Vec<_> = words.skip(1).take_while(|word| *word != "-").collect();
    let has = |prefix: &str| sharing.iter().any(|word| word.starts_with(prefix));
    Some(Mounted {
        at: PathBuf::from(at),
        is_shared: has("shared:"),
        is_slave: has("master:"),
    })
}

/// Blanks and backslashes are written as a backslash and three octal digits.
fn unescaped(word: &str) -> String {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(..3).filter(|_| *first == b'\\');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::ReadOnly;

    const HOST: &str = "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:9 / /srv rw - tmpfs x rw
31 22 0:9 / /srv/a\\040b rw master:3 - tmpfs x rw
32 22 0:9 / /srv/twice rw - tmpfs x rw
33 32 0:9 / /srv/twice rw shared:4 - tmpfs x rw
odd
";

    fn check(source: &str, propagation: Propagation) -> Option<String> {
        let mount = HostMount {
            destination: "/x".into(),
            shown: Shown::Host {
                source: source.into(),
                recursive: true,
                propagation: Some(propagation),
            },
            read_only: ReadOnly::No,
        };
        let checked = check_propagation(&[mount], HOST);
        checked.err().map(|error| error.to_string())
    }

    #[test]
    fn what_is_shared_on_the_host_can_be_shared() {
        use Propagation::{Rshared, Rslave, Shared};
        assert_eq!(check("/home", Rshared), None);
        assert_eq!(check("/srv/twice/x", Rshared), None);
        assert_eq!(check("/srv/a b/x", Rslave), None);
        assert_eq!(check("/srv", Propagation::Rprivate), None);
        let said = "path /srv/a b/x is mounted on /srv/a b but it is not a shared mount";
        assert_eq!(check("/srv/a b/x", Shared).as_deref(), Some(said));
        let said = "path /srv/y is mounted on /srv but it is not a shared or slave mount";
        assert_eq!(check("/srv/y", Rslave).as_deref(), Some(said));
    }
}
