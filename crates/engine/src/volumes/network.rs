//! Names of servers in mount options: the kernel wants addresses.

use std::net::{IpAddr, ToSocketAddrs};

use super::error::{Error, Result};
use super::options::Foreign;

/// A file system whose server, if it has one, is named by its address.
pub(super) fn resolve(foreign: &Foreign) -> Result<Foreign> {
    with(foreign, &|host| {
        let found = (host, 0).to_socket_addrs();
        let found = found.map_err(|error| Error::Address(format!("lookup {host}: {error}")))?;
        let addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
        let first = addresses.iter().find(|address| address.is_ipv4());
        let first = first.or_else(|| addresses.first()).copied();
        first.ok_or_else(|| Error::Address(format!("lookup {host}: no such host")))
    })
}

fn with(foreign: &Foreign, lookup: &dyn Fn(&str) -> Result<IpAddr>) -> Result<Foreign> {
    let mut resolved = foreign.clone();
    if !matches!(foreign.kind.as_str(), "nfs" | "nfs4" | "cifs") {
        return Ok(resolved);
    }
    let address = |option: &str| option.strip_prefix("addr=").map(str::to_owned);
    let named = foreign.options.split(',').find_map(address);
    if let Some(host) = named.filter(|host| !host.is_empty()) {
        if host.parse::<IpAddr>().is_err() {
            let (from, to) = (format!("addr={host}"), format!("addr={}", lookup(&host)?));
            let options = foreign.options.split(',');
            let options: Vec<&str> = options
                .map(|option| if option == from { &to } else { option })
                .collect();
            resolved.options = options.join(",");
        }
        return Ok(resolved);
    }
    if foreign.kind == "cifs"
        && let Some(rest) = foreign.device.strip_prefix("//")
    {
        let (host, share) = rest.split_once('/').unwrap_or((rest, ""));
        if !host.is_empty() && host.parse::<IpAddr>().is_err() {
            resolved.device = format!("//{}/{share}", lookup(host)?);
        }
    }
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: &str, device: &str, options: &str) -> std::result::Result<String, String> {
        let foreign = Foreign {
            kind: kind.to_owned(),
            device: device.to_owned(),
            options: options.to_owned(),
        };
        let lookup = |host: &str| match host {
            "files" => Ok(IpAddr::from([10, 0, 0, 1])),
            _ => Err(Error::Address(format!("lookup {host}: no such host"))),
        };
        let resolved = with(&foreign, &lookup).map_err(|error| error.to_string())?;
        Ok(format!("{} {}", resolved.device, resolved.options))
    }

    #[test]
    fn names_of_servers_become_addresses() {
        for (kind, device, options, expected) in [
            ("nfs", ":/x", "addr=files,ro", ":/x addr=10.0.0.1,ro"),
            ("nfs", ":/x", "addr=10.0.0.7", ":/x addr=10.0.0.7"),
            ("nfs", ":/x", "ro", ":/x ro"),
            ("cifs", "//files/s/d", "user=u", "//10.0.0.1/s/d user=u"),
            ("cifs", "//files/s", "addr=files", "//files/s addr=10.0.0.1"),
            ("tmpfs", "tmpfs", "addr=files", "tmpfs addr=files"),
        ] {
            assert_eq!(check(kind, device, options).as_deref(), Ok(expected));
        }
        let words = "error resolving passed in network volume address: lookup gone: no such host";
        assert_eq!(check("nfs", ":/x", "addr=gone"), Err(words.to_owned()));
    }
}
