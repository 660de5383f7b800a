//! What stands in a container's `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf`.

mod resolver;

use std::fmt::Write as _;
use std::net::IpAddr;

use super::{Error, Result};
use crate::settings::{NetworkMode, Settings};

pub use resolver::{STUB_SOURCE, is_stub, resolv_conf};

/// What a client says for the host's own address, as containers reach it.
const HOST_GATEWAY: &str = "host-gateway";
const HOSTS: &str = "127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
";

/// `/etc/hostname`.
pub fn hostname(name: &str) -> String {
    format!("{name}\n")
}

/// `/etc/hosts`: that of the host for a container with the host's network, the usual names for another; then
/// what its settings add, then its own name at its addresses. `gateway` is where it reaches the host: without
/// one nothing is said of that.
pub fn hosts(
    settings: &Settings,
    hostname: &str,
    of_host: &str,
    addresses: &[IpAddr],
    gateway: Option<IpAddr>,
) -> String {
    let mut text = match settings.host.network {
        NetworkMode::Host => of_host.to_owned(),
        NetworkMode::None
        | NetworkMode::Container(_)
        | NetworkMode::Named(_)
        | NetworkMode::Default => HOSTS.to_owned(),
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let mut line = |address: &str, names: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{address}\t{names}");
    };
    for extra in &settings.host.extra_hosts {
        let Some((name, address)) = extra_host(extra) else {
            continue;
        };
        let address = match address {
            Address::Is(address) => Some(address),
            Address::Gateway => gateway,
        };
        if let Some(address) = address {
            line(&address.to_string(), name);
        }
    }
    let domain = settings.execution.domainname.as_deref().unwrap_or_default();
    let names = match (hostname, domain) {
        ("", _) => String::new(),
        (name, "") => name.to_owned(),
        (name, domain) => format!("{name}.{domain} {name}"),
    };
    if !names.is_empty() {
        for address in addresses {
            line(&address.to_string(), &names);
        }
    }
    text
}

/// An address in the list of extra hosts.
#[derive(Debug, PartialEq)]
enum Address {
    Is(IpAddr),
    Gateway,
}

/// Reads `name:address`; an IPv6 address may be in brackets.
fn extra_host(text: &str) -> Option<(&str, Address)> {
    let (name, address) = text.split_once(['=', ':'])?;
    let sound = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control());
    let address = match address {
        HOST_GATEWAY => Address::Gateway,
        address => {
            let inner = address
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'));
            Address::Is(inner.unwrap_or(address).parse().ok()?)
        }
    };
    sound.then_some((name, address))
}

/// Checks what settings say of names and name servers.
pub(super) fn check(settings: &Settings) -> Result<()> {
    let host = &settings.host;
    let wrong = |what: &'static str, text: &str| {
        let text = text.to_owned();
        Err(Error::Malformed { what, text })
    };
    for server in &host.dns {
        if server.parse::<IpAddr>().is_err() {
            return wrong("IP address in dns", server);
        }
    }
    for extra in &host.extra_hosts {
        if extra_host(extra).is_none() {
            return wrong("IP address in add-host", extra);
        }
    }
    let breaks = |text: &&String| text.contains(['\n', '\r', '\0']);
    match host.dns_search.iter().chain(&host.dns_options).find(breaks) {
        Some(text) => wrong("resolver option", text),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(network: NetworkMode, extra: &[&str]) -> Settings {
        let mut settings = Settings::default();
        settings.host.network = network;
        settings.host.extra_hosts = extra.iter().map(|&text| text.to_owned()).collect();
        settings
    }

    #[test]
    fn a_container_knows_itself_and_what_it_is_told() {
        let mut settings = settings(
            NetworkMode::Default,
            &["db:10.0.0.9", "six:[fd00::1]", "up:host-gateway"],
        );
        let address = [IpAddr::from([172, 17, 0, 5])];
        let gateway = Some(IpAddr::from([172, 17, 0, 1]));
        let text = hosts(&settings, "box", "127.0.0.1 host\n", &address, gateway);
        assert_eq!(
            text,
            format!("{HOSTS}10.0.0.9\tdb\nfd00::1\tsix\n172.17.0.1\tup\n172.17.0.5\tbox\n")
        );
        settings.execution.domainname = Some("d".to_owned());
        let text = hosts(&settings, "box", "", &address, None);
        assert!(text.ends_with("172.17.0.5\tbox.d box\n"));
        assert!(hosts(&settings, "box", "", &[], None).ends_with("\tsix\n"));
    }

    #[test]
    fn with_the_hosts_network_it_has_the_hosts_names() {
        let settings = settings(NetworkMode::Host, &["a:1.2.3.4"]);
        let text = hosts(&settings, "box", "127.0.0.1 host", &[], None);
        assert_eq!(text, "127.0.0.1 host\n1.2.3.4\ta\n");
    }

    #[test]
    fn what_can_not_be_a_line_is_refused() {
        for bad in [
            "",
            "a",
            "a:",
            "a:b",
            ":1.2.3.4",
            "a b:1.2.3.4",
            "a\n:1.2.3.4",
        ] {
            assert!(
                check(&settings(NetworkMode::None, &[bad])).is_err(),
                "{bad:?}"
            );
        }
        let mut with = settings(NetworkMode::None, &["a=::1", "b:::1"]);
        assert!(check(&with).is_ok());
        with.host.dns_search = vec!["x\nnameserver 6.6.6.6".to_owned()];
        assert!(check(&with).is_err());
        with.host.dns_search.clear();
        with.host.dns = vec!["localhost".to_owned()];
        assert!(check(&with).is_err());
    }
}
