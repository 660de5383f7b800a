//! Ports that are to be published. None is yet; what makes no sense is refused all the same, in Docker's words.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::Failure;

/// `PortBindings`: by port of the container.
pub(super) type PortBindings = BTreeMap<String, Vec<PortBinding>>;

/// A port of the host.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct PortBinding {
    host_port: String,
}

/// Refuses what is no port.
pub(super) fn check(bindings: &PortBindings) -> Result<(), Failure> {
    let wrong = |port: &str| Failure::invalid(format!("invalid port specification: {port:?}"));
    for (port, hosts) in bindings {
        let number = without_protocol(port);
        if number.parse::<u16>().is_err() {
            return Err(wrong(number));
        }
        for PortBinding { host_port } in hosts {
            if !is_range(without_protocol(host_port)) {
                return Err(wrong(host_port));
            }
        }
    }
    Ok(())
}

fn without_protocol(port: &str) -> &str {
    port.split_once('/').map_or(port, |(number, _)| number)
}

/// A port, ports from one to another, or nothing: any port.
fn is_range(text: &str) -> bool {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) => first <= last,
        _ => text.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ports_are_numbers_and_those_of_the_host_may_be_ranges() {
        for (port, host, wrong) in [
            ("80/tcp", "", None),
            ("80", "8080", None),
            ("53/udp", "5000-5010", None),
            ("http", "80", Some("http")),
            ("99999/tcp", "80", Some("99999")),
            ("", "80", Some("")),
            ("80/tcp", "99999", Some("99999")),
            ("80/tcp", "zz", Some("zz")),
            ("80/tcp", "9-8", Some("9-8")),
        ] {
            let bindings = json!({ port: [{"HostIp": "", "HostPort": host}] });
            let bindings: PortBindings = serde_json::from_value(bindings).expect("bindings");
            let told = check(&bindings).map_err(|failure| failure.message);
            let want = wrong.map(|port| format!("invalid port specification: {port:?}"));
            assert_eq!(told.err(), want, "{port} {host}");
        }
    }
}
