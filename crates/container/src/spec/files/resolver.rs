//! `/etc/resolv.conf`: the host's, where its name servers can be reached, with what settings say over it.

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::settings::{NetworkMode, Settings};

/// Where systemd-resolved keeps the servers that it asks itself.
pub const STUB_SOURCE: &str = "/run/systemd/resolve/resolv.conf";
/// The address at which it answers on the host.
const STUB: &str = "127.0.0.53";
/// Who is asked where only the host itself could answer, as in Docker.
const PUBLIC: [&str; 2] = ["8.8.8.8", "8.8.4.4"];

/// What a resolver is told.
#[derive(Debug, Default, PartialEq)]
struct Told<'a> {
    servers: Vec<&'a str>,
    search: Vec<&'a str>,
    options: Vec<&'a str>,
}

/// Whether a host's file names nothing but systemd-resolved: then [`STUB_SOURCE`] says more.
pub fn is_stub(of_host: &str) -> bool {
    Told::read(of_host).servers == [STUB]
}

/// The text of the file. `of_host` is the host's own: see [`is_stub`].
pub fn resolv_conf(settings: &Settings, of_host: &str) -> String {
    let host = &settings.host;
    let has_hosts_network = host.network == NetworkMode::Host;
    let says_nothing =
        host.dns.is_empty() && host.dns_search.is_empty() && host.dns_options.is_empty();
    if has_hosts_network && says_nothing {
        return of_host.to_owned();
    }
    let mut told = Told::read(of_host);
    if !has_hosts_network {
        told.servers.retain(|server| is_reachable(server));
    }
    for (old, new) in [
        (&mut told.servers, &host.dns),
        (&mut told.search, &host.dns_search),
        (&mut told.options, &host.dns_options),
    ] {
        if !new.is_empty() {
            *old = new.iter().map(String::as_str).collect();
        }
    }
    // A lone dot means that nothing is searched.
    told.search.retain(|domain| *domain != ".");
    if told.servers.is_empty() && !has_hosts_network {
        told.servers = PUBLIC.to_vec();
    }
    told.written()
}

impl<'a> Told<'a> {
    fn read(text: &'a str) -> Self {
        let mut told = Self::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => told.servers.extend(words.next()),
                // Of several lines the last counts.
                Some("search" | "domain") => told.search = words.collect(),
                Some("options") => told.options.extend(words),
                _ => {}
            }
        }
        told
    }

    fn written(&self) -> String {
        let mut text = String::new();
        for server in &self.servers {
            // Writing to a string does not fail.
            let _ = writeln!(text, "nameserver {server}");
        }
        for (key, words) in [("search", &self.search), ("options", &self.options)] {
            if !words.is_empty() {
                let _ = writeln!(text, "{key} {}", words.join(" "));
            }
        }
        text
    }
}

/// Whether a server of the host is one for another network namespace too: no loopback, and no address that
/// is bound to an interface of the host.
fn is_reachable(server: &str) -> bool {
    let address = server.parse::<IpAddr>();
    address.is_ok_and(|address| !address.is_loopback() && !address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "# made by hand\nnameserver 10.0.0.2\nnameserver 127.0.0.1 ; local\nsearch a.example b.example\noptions ndots:2\n";

    #[track_caller]
    fn check(of_host: &str, change: impl FnOnce(&mut Settings), wanted: &str) {
        let mut settings = Settings::default();
        change(&mut settings);
        assert_eq!(resolv_conf(&settings, of_host), wanted);
    }

    #[test]
    fn it_is_the_hosts_without_what_only_the_host_can_ask() {
        let wanted = "nameserver 10.0.0.2\nsearch a.example b.example\noptions ndots:2\n";
        check(HOST, |_| {}, wanted);
        check(
            "nameserver ::1\nnameserver fe80::1%eth0\n",
            |_| {},
            "nameserver 8.8.8.8\nnameserver 8.8.4.4\n",
        );
        check("", |_| {}, "nameserver 8.8.8.8\nnameserver 8.8.4.4\n");
    }

    #[test]
    fn settings_come_over_it() {
        let change = |settings: &mut Settings| {
            settings.host.dns = vec!["1.1.1.1".to_owned(), "::1".to_owned()];
            settings.host.dns_search = vec![".".to_owned()];
            settings.host.dns_options = vec!["timeout:1".to_owned()];
        };
        check(
            HOST,
            change,
            "nameserver 1.1.1.1\nnameserver ::1\noptions timeout:1\n",
        );
    }

    #[test]
    fn with_the_hosts_network_it_is_the_hosts() {
        let host = |settings: &mut Settings| settings.host.network = NetworkMode::Host;
        check(HOST, host, HOST);
        let with = |settings: &mut Settings| {
            settings.host.network = NetworkMode::Host;
            settings.host.dns_search = vec!["c".to_owned()];
        };
        let wanted = "nameserver 10.0.0.2\nnameserver 127.0.0.1\nsearch c\noptions ndots:2\n";
        check(HOST, with, wanted);
    }

    #[test]
    fn a_stub_is_told_from_servers() {
        assert!(is_stub("nameserver 127.0.0.53\noptions edns0\n"));
        assert!(!is_stub("nameserver 127.0.0.53\nnameserver 1.1.1.1\n"));
        assert!(!is_stub(""));
    }
}
