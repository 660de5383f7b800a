//! Where Debian's packages come from: what this machine's apt is told, and nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use crate::command::Tool;
use crate::error::{Error, IoContext as _, Result};

/// The Debian release that images are made of.
pub(super) const RELEASE: &str = "bookworm";

const ETC_APT: &str = "/etc/apt";

/// The mirrors and the proxy of this machine's apt.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mirror {
    /// Base address of the archive with the release itself.
    pub(super) archive: String,
    /// A sources.list for [`RELEASE`].
    pub(super) sources: String,
    /// apt's HTTP proxy, if it has one.
    pub(super) proxy: Option<String>,
}

/// One `deb` entry: an address and the suites and components wanted from it.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    uri: String,
    suites: Vec<String>,
    components: Vec<String>,
}

impl Mirror {
    /// Reads apt's configuration.
    pub(super) fn of_this_machine() -> Result<Self> {
        let release = Path::new("/etc/os-release");
        let text = fs::read_to_string(release).io("read", release)?;
        let codename = text
            .lines()
            .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
            .map_or(RELEASE, |name| name.trim_matches('"'));
        let mut entries = Vec::new();
        for path in source_files(Path::new(ETC_APT))? {
            let text = fs::read_to_string(&path).io("read", &path)?;
            if path
                .extension()
                .is_some_and(|extension| extension == "sources")
            {
                entries.extend(parse_deb822(&text));
            } else {
                entries.extend(parse_list(&text));
            }
        }
        let mut mirror = Self::choose(&entries, codename).ok_or_else(|| Error::NoMirror {
            path: PathBuf::from(ETC_APT),
        })?;
        mirror.proxy = proxy()?;
        Ok(mirror)
    }

    /// The entries for this machine's release (or for ours), said for our release.
    fn choose(entries: &[Entry], codename: &str) -> Option<Self> {
        let mut archive = None;
        let mut sources = String::new();
        for entry in entries
            .iter()
            .filter(|entry| entry.components.iter().any(|c| c == "main"))
        {
            for suite in &entry.suites {
                let Some(rest) = suite
                    .strip_prefix(RELEASE)
                    .or_else(|| suite.strip_prefix(codename))
                else {
                    continue;
                };
                match rest {
                    "" if archive.is_none() => archive = Some(entry.uri.clone()),
                    "-updates" | "-security" => {}
                    _ => continue,
                }
                let line = format!("deb {} {RELEASE}{rest} main\n", entry.uri);
                if !sources.contains(&line) {
                    sources.push_str(&line);
                }
            }
        }
        Some(Self {
            archive: archive?,
            sources,
            proxy: None,
        })
    }
}

fn source_files(etc: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let list = etc.join("sources.list");
    if list.is_file() {
        files.push(list);
    }
    let dir = etc.join("sources.list.d");
    if dir.is_dir() {
        let mut more = Vec::new();
        for entry in fs::read_dir(&dir).io("list", &dir)? {
            let path = entry.io("list", &dir)?.path();
            if path
                .extension()
                .is_some_and(|end| end == "list" || end == "sources")
            {
                more.push(path);
            }
        }
        more.sort();
        files.extend(more);
    }
    Ok(files)
}

fn parse_list(text: &str) -> Vec<Entry> {
    text.lines().filter_map(parse_line).collect()
}

/// `deb [option=value …] URI SUITE COMPONENT…`
fn parse_line(line: &str) -> Option<Entry> {
    let line = line.split('#').next()?.trim();
    let mut rest = line.strip_prefix("deb")?;
    if !rest.starts_with([' ', '\t']) {
        return None;
    }
    rest = rest.trim_start();
    if let Some(options) = rest.strip_prefix('[') {
        rest = options.split_once(']')?.1;
    }
    let mut words = rest.split_whitespace().map(str::to_owned);
    let uri = words.next()?;
    let suite = words.next()?;
    Some(Entry {
        uri,
        suites: vec![suite],
        components: words.collect(),
    })
}

/// Stanzas of `Field: value` lines.
fn parse_deb822(text: &str) -> Vec<Entry> {
    let lines = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect::<Vec<_>>();
    lines
        .split(|line| line.trim().is_empty())
        .flat_map(parse_stanza)
        .collect()
}

fn parse_stanza(lines: &[&str]) -> Vec<Entry> {
    let field = |name: &str| {
        lines
            .iter()
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| {
                value
                    .split_whitespace()
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            })
            .unwrap_or_default()
    };
    let disabled = field("Enabled").first().is_some_and(|value| value == "no");
    if disabled || !field("Types").iter().any(|kind| kind == "deb") {
        return Vec::new();
    }
    let (suites, components) = (field("Suites"), field("Components"));
    field("URIs")
        .into_iter()
        .map(|uri| Entry {
            uri,
            suites: suites.clone(),
            components: components.clone(),
        })
        .collect()
}

fn proxy() -> Result<Option<String>> {
    let shell = Tool::new("apt-config")
        .args(["shell", "PROXY", "Acquire::http::Proxy"])
        .output()?;
    let value = shell
        .trim()
        .strip_prefix("PROXY=")
        .map(|value| value.trim_matches('\''));
    Ok(value
        .filter(|value| !value.is_empty() && *value != "DIRECT")
        .map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(entries: &[Entry], codename: &str, archive: &str, sources: &str) {
        let mirror = Mirror::choose(entries, codename).unwrap();
        assert_eq!(
            (mirror.archive.as_str(), mirror.sources.as_str()),
            (archive, sources)
        );
    }

    #[test]
    fn one_line_entries_are_read() {
        check(
            &parse_list(
                "# comment\n\
                 deb-src http://mirror.test/debian bookworm main\n\
                 deb [arch=amd64 signed-by=/k.gpg] http://mirror.test/debian bookworm main contrib\n\
                 deb http://other.test/apt cloud-bookworm main\n\
                 deb http://mirror.test/security bookworm-security main # said why\n",
            ),
            "bookworm",
            "http://mirror.test/debian",
            "deb http://mirror.test/debian bookworm main\n\
             deb http://mirror.test/security bookworm-security main\n",
        );
    }

    #[test]
    fn stanzas_of_another_release_are_said_for_ours() {
        check(
            &parse_deb822(
                "Types: deb\n# comment\nURIs: http://mirror.test/debian\n\
                 Suites: trixie trixie-updates trixie-backports\nComponents: main\n\n\
                 Types: deb\nURIs: http://off.test/debian\nSuites: trixie\nComponents: main\n\
                 Enabled: no\n",
            ),
            "trixie",
            "http://mirror.test/debian",
            "deb http://mirror.test/debian bookworm main\n\
             deb http://mirror.test/debian bookworm-updates main\n",
        );
    }

    #[test]
    fn no_debian_entry_is_no_mirror() {
        assert_eq!(
            Mirror::choose(&parse_list("deb http://a.test/x stable main\n"), "sid"),
            None
        );
    }
}
