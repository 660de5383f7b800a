//! The options of the local driver: a file system to mount, or a limit.

use std::collections::BTreeMap;

use lapstrake_snapshot::room::{Limit, parse_size};

use super::error::{Error, OptionFault, Result};

/// How a volume is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Options {
    /// In a room of its own.
    Room(Limit),
    /// Elsewhere: it is mounted while somebody uses it.
    Mounted(Foreign),
}

/// A file system that is mounted as mount(8) would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Foreign {
    pub(super) kind: String,
    pub(super) device: String,
    /// Options, with commas between them.
    pub(super) options: String,
}

impl Options {
    /// Reads the options of the volume `name`.
    pub(super) fn parse(name: &str, given: &BTreeMap<String, String>) -> Result<Self> {
        let parsed = parse(given);
        parsed.map_err(|why| Error::Options {
            name: name.to_owned(),
            why,
        })
    }
}

fn parse(given: &BTreeMap<String, String>) -> std::result::Result<Options, OptionFault> {
    for key in given.keys() {
        if !["type", "o", "device", "size"].contains(&key.as_str()) {
            return Err(OptionFault::Unknown(key.clone()));
        }
    }
    let kind = given.get("type").map(String::as_str);
    let device = given.get("device").map(String::as_str);
    if kind == Some("cifs") && device.is_some_and(has_port) {
        return Err(OptionFault::CifsPort);
    }
    let limit = match given.get("size") {
        None => Limit::NONE,
        Some(size) => Limit {
            bytes: parse_size(size).map_err(|_none| OptionFault::Size(size.clone()))?,
            inodes: None,
        },
    };
    for (option, needed) in [
        ("device", "type"),
        ("type", "device"),
        ("o", "device"),
        ("o", "type"),
    ] {
        if given.contains_key(option) && !given.contains_key(needed) {
            return Err(OptionFault::Missing(needed));
        }
    }
    let (Some(kind), Some(device)) = (kind, device) else {
        return Ok(Options::Room(limit));
    };
    if kind.is_empty() && device.is_empty() {
        return Ok(Options::Room(limit));
    }
    if !limit.is_none() {
        return Err(OptionFault::SizeElsewhere);
    }
    Ok(Options::Mounted(Foreign {
        kind: kind.to_owned(),
        device: device.to_owned(),
        options: given.get("o").cloned().unwrap_or_default(),
    }))
}

/// Whether the host of `//host/share` has a port.
fn has_port(device: &str) -> bool {
    let host = device.trim_start_matches('/').split('/').next();
    // An IPv6 address in brackets has colons of its own.
    let host = host.unwrap_or_default().rsplit(']').next();
    host.is_some_and(|host| host.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(given: &[(&str, &str)]) -> std::result::Result<Options, String> {
        let given = given
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Options::parse("v", &given.collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn options_name_a_limit_or_a_file_system() {
        let limited = |bytes| {
            Ok(Options::Room(Limit {
                bytes,
                inodes: None,
            }))
        };
        assert_eq!(check(&[]), limited(None));
        assert_eq!(check(&[("size", "0")]), limited(None));
        assert_eq!(check(&[("size", "10m")]), limited(Some(10 << 20)));
        let nfs = [("type", "nfs"), ("device", ":/x"), ("o", "addr=h,ro")];
        let foreign = Foreign {
            kind: "nfs".to_owned(),
            device: ":/x".to_owned(),
            options: "addr=h,ro".to_owned(),
        };
        assert_eq!(check(&nfs), Ok(Options::Mounted(foreign)));
    }

    #[test]
    fn options_are_refused_in_dockers_words() {
        for (given, words) in [
            (&[("foo", "1")][..], "create v: invalid option: \"foo\""),
            (&[("size", "many")], "create v: invalid size: 'many'"),
            (
                &[("device", "x")],
                "create v: missing required option: \"type\"",
            ),
            (
                &[("type", "x")],
                "create v: missing required option: \"device\"",
            ),
            (
                &[("o", "x")],
                "create v: missing required option: \"device\"",
            ),
            (
                &[("type", "cifs"), ("device", "//h:445/x")],
                "create v: port not allowed in CIFS device URL, include 'port' in 'o='",
            ),
            (
                &[("type", "tmpfs"), ("device", "tmpfs"), ("size", "1m")],
                "create v: size can't be combined with type, device and o: limit the file system that they \
                 name",
            ),
        ] {
            assert_eq!(check(given), Err(words.to_owned()), "{given:?}");
        }
    }
}
