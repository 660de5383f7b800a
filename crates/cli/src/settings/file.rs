//! The configuration file: TOML, of which every key and value is checked.

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};

use lapstrake_engine::{DriverName, StorageOptions};
use serde::Deserialize;
use toml::Spanned;

use super::daemon::DaemonSettings;
use crate::network::MirrorOf;

/// Every key.
#[cfg(test)]
const KEYS: [&str; 12] = [
    "root",
    "run-dir",
    "storage-driver",
    "storage-opts",
    "mirrors",
    "plain-http",
    "certs-dir",
    "authfile",
    "parallel",
    "wait",
    "daemon",
    "watermark",
];

/// Numbers from one to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowed(u64, u64);

/// Layers to fetch at a time.
pub(crate) const PARALLEL: Allowed = Allowed(1, 64);
/// Seconds to wait for another owner of the store; at most a day.
pub(crate) const WAIT: Allowed = Allowed(0, 86_400);

impl Allowed {
    pub(crate) fn has(self, number: u64) -> bool {
        (self.0..=self.1).contains(&number)
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.0, self.1)
    }
}

/// Why settings can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file that cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    /// Something in it that cannot be used.
    #[error("{}:{line}: {what}", path.display())]
    Content {
        path: PathBuf,
        line: usize,
        what: String,
    },
    /// A variable of the environment that cannot be used.
    #[error("{name}={value:?}: give a number, {allowed}")]
    Variable {
        name: &'static str,
        value: String,
        allowed: Allowed,
    },
}

/// What a file says.
#[derive(Debug, Default)]
pub(crate) struct File {
    pub(crate) root: Option<PathBuf>,
    pub(crate) run_dir: Option<PathBuf>,
    pub(crate) storage_driver: Option<String>,
    pub(crate) storage_opts: Option<Vec<String>>,
    pub(crate) mirrors: Option<Vec<MirrorOf>>,
    pub(crate) plain_http: Option<Vec<String>>,
    pub(crate) certs_dir: Option<PathBuf>,
    pub(crate) authfile: Option<PathBuf>,
    pub(crate) parallel: Option<u16>,
    pub(crate) wait: Option<u64>,
    pub(crate) daemon: Option<DaemonSettings>,
    pub(crate) watermark: super::watermark::Asked,
}

/// As it is written.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Written {
    root: Option<Spanned<String>>,
    run_dir: Option<Spanned<String>>,
    storage_driver: Option<Spanned<String>>,
    storage_opts: Option<Vec<Spanned<String>>>,
    mirrors: Option<BTreeMap<String, Vec<Spanned<String>>>>,
    plain_http: Option<Vec<Spanned<String>>>,
    certs_dir: Option<Spanned<String>>,
    authfile: Option<Spanned<String>>,
    parallel: Option<Spanned<u64>>,
    wait: Option<Spanned<u64>>,
    daemon: Option<super::daemon::Written>,
    #[serde(default)]
    watermark: super::watermark::Written,
}

impl File {
    /// Reads a file that must be there.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(path, &text).map(Some)
    }

    /// Reads a file; none is fine.
    pub(crate) fn read_if_there(path: &Path) -> Result<Option<Self>, Error> {
        match Self::read(path) {
            Err(Error::Read { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
            done => done,
        }
    }

    /// Checks a file's text.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let check = Check { path, text };
        let written: Written = toml::from_str(text).map_err(|error| check.not_toml(&error))?;
        Ok(Self {
            root: check.path("root", written.root)?,
            run_dir: check.path("run-dir", written.run_dir)?,
            storage_driver: written
                .storage_driver
                .map(|name| check.driver(name))
                .transpose()?,
            storage_opts: check.each(written.storage_opts, |option| {
                StorageOptions::parse([option])
                    .map(|_| option.to_owned())
                    .map_err(|error| with_cause(&error))
            })?,
            mirrors: check.mirrors(written.mirrors)?,
            plain_http: check.each(written.plain_http, |host| {
                if host.is_empty() || host.contains('/') {
                    return Err(format!("plain-http: {host:?} is no HOST or HOST:PORT"));
                }
                Ok(host.to_owned())
            })?,
            certs_dir: check.path("certs-dir", written.certs_dir)?,
            authfile: check.path("authfile", written.authfile)?,
            parallel: match check.number("parallel", written.parallel, PARALLEL)? {
                None => None,
                Some(number) => u16::try_from(number).ok(),
            },
            wait: check.number("wait", written.wait, WAIT)?,
            daemon: match written.daemon {
                None => None,
                Some(daemon) => Some(daemon.checked(&check)?),
            },
            watermark: written.watermark.checked(&check)?,
        })
    }
}

fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// A text and where it is from, to say where in it something is wrong.
pub(super) struct Check<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Check<'_> {
    fn wrong(&self, at: Range<usize>, what: String) -> Error {
        let before = self.text.get(..at.start).unwrap_or_default();
        Error::Content {
            path: self.path.to_owned(),
            line: before.matches('\n').count() + 1,
            what,
        }
    }

    fn not_toml(&self, error: &toml::de::Error) -> Error {
        let message = error.message().trim();
        let unknown = message.strip_prefix("unknown field ");
        // The key, and those that there are where it stands.
        let mut keys = unknown
            .into_iter()
            .flat_map(|rest| rest.split('`').skip(1).step_by(2));
        let what = match keys.next() {
            None => message.replace('\n', "; "),
            Some(key) => {
                let keys: Vec<_> = keys.collect();
                match nearest(key, &keys) {
                    Some(meant) => format!("there is no key {key:?}: did you mean {meant:?}?"),
                    None => format!("there is no key {key:?}; the keys are {}", keys.join(", ")),
                }
            }
        };
        self.wrong(error.span().unwrap_or_default(), what)
    }

    pub(super) fn path(
        &self,
        key: &str,
        path: Option<Spanned<String>>,
    ) -> Result<Option<PathBuf>, Error> {
        let Some(path) = path else {
            return Ok(None);
        };
        let (span, path) = (path.span(), path.into_inner());
        if !path.starts_with('/') {
            let what = format!("{key} = {path:?}: give the whole path, from / on");
            return Err(self.wrong(span, what));
        }
        Ok(Some(PathBuf::from(path)))
    }

    fn driver(&self, name: Spanned<String>) -> Result<String, Error> {
        let (span, name) = (name.span(), name.into_inner());
        match name.parse::<DriverName>() {
            Ok(_) => Ok(name),
            Err(error) => Err(self.wrong(span, format!("storage-driver: {error}"))),
        }
    }

    fn number(
        &self,
        key: &str,
        number: Option<Spanned<u64>>,
        allowed: Allowed,
    ) -> Result<Option<u64>, Error> {
        let Some(number) = number else {
            return Ok(None);
        };
        let (span, number) = (number.span(), number.into_inner());
        if !allowed.has(number) {
            return Err(self.wrong(span, format!("{key} = {number}: give {allowed}")));
        }
        Ok(Some(number))
    }

    /// One text, of which `read` says what it means or what is wrong.
    pub(super) fn parsed<T>(
        &self,
        key: &str,
        text: Option<Spanned<String>>,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Error> {
        let Some(text) = text else {
            return Ok(None);
        };
        let read = read(text.as_ref());
        read.map(Some)
            .map_err(|what| self.wrong(text.span(), format!("{key}: {what}")))
    }

    pub(super) fn each<T>(
        &self,
        list: Option<Vec<Spanned<String>>>,
        check: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<Vec<T>>, Error> {
        let Some(list) = list else {
            return Ok(None);
        };
        let each = list.into_iter().map(|text| {
            let span = text.span();
            check(text.as_ref()).map_err(|what| self.wrong(span, what))
        });
        each.collect::<Result<_, _>>().map(Some)
    }

    fn mirrors(
        &self,
        mirrors: Option<BTreeMap<String, Vec<Spanned<String>>>>,
    ) -> Result<Option<Vec<MirrorOf>>, Error> {
        let Some(mirrors) = mirrors else {
            return Ok(None);
        };
        let mut all = Vec::new();
        for (registry, places) in mirrors {
            let of = self.each(Some(places), |place| {
                let mirror = format!("{registry}={place}").parse();
                mirror.map_err(|why: String| format!("mirrors of {registry}: {place:?}: {why}"))
            })?;
            all.extend(of.unwrap_or_default());
        }
        Ok(Some(all))
    }
}

/// The key that was probably meant.
fn nearest<'k>(key: &str, keys: &[&'k str]) -> Option<&'k str> {
    let key = key.replace('_', "-").to_ascii_lowercase();
    let likeness = |known: &str| strsim::jaro_winkler(&key, known);
    let best =
        (keys.iter().copied()).max_by(|one, other| likeness(one).total_cmp(&likeness(other)))?;
    (likeness(best) > 0.8).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../../../docs/config.toml");

    fn parse(text: &str) -> Result<File, String> {
        File::parse(Path::new("/f"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn the_example_is_right_and_has_every_key() {
        parse(EXAMPLE).expect("the example as it is");
        // Settings are commented out with a # right before them, explanations with a space after it.
        let all: Vec<_> = EXAMPLE
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(rest) if !rest.starts_with(' ') => rest,
                _ => line,
            })
            .collect();
        let file = parse(&all.join("\n")).expect("the example with all settings");
        assert_eq!(file.parallel, Some(3));
        assert_eq!(file.mirrors.map(|mirrors| mirrors.len()), Some(2));
        let watermark = super::super::WatermarkSettings::from(file.watermark);
        let policy = watermark.policy().expect("a policy");
        assert_eq!(policy.keep_free.to_string(), "20%");
        assert_eq!(policy.min_age.as_secs(), 24 * 3600);
        assert_eq!(watermark.interval.value.as_secs(), 60);
        for key in KEYS {
            let written =
                |line: &&str| line.starts_with(&format!("{key} =")) || **line == format!("[{key}]");
            assert!(all.iter().any(written), "{key}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, want) in [
            (
                "rooot = '/a'",
                "/f:1: there is no key \"rooot\": did you mean \"root\"?",
            ),
            (
                "\nstorage_driver = 'vfs'",
                "/f:2: there is no key \"storage_driver\": did you mean \"storage-driver\"?",
            ),
            (
                "x = 1",
                "/f:1: there is no key \"x\"; the keys are root, run-dir,",
            ),
            (
                "root = 'here'",
                "/f:1: root = \"here\": give the whole path",
            ),
            (
                "wait = 5\nparallel = 65",
                "/f:2: parallel = 65: give 1 to 64",
            ),
            ("wait = -1", "/f:1: "),
            (
                "wait = 'long'",
                "/f:1: invalid type: string \"long\", expected u64",
            ),
            ("storage-driver = 'aufs'", "/f:1: storage-driver: "),
            (
                "storage-opts = [\n  'size=1G',\n  'nonsense=1',\n]",
                "/f:3: ",
            ),
            (
                "[mirrors]\n'docker.io' = ['/x']",
                "/f:2: mirrors of docker.io: \"/x\": both",
            ),
            ("plain-http = ['http://a/']", "/f:1: plain-http: "),
            ("root = '/a'\nroot = '/b'", "/f:2: duplicate key"),
            ("root '/a'", "/f:1: "),
            (
                "[watermark]\nkeep-free = '120%'",
                "/f:2: keep-free: \"120%\" is not how much is to be free",
            ),
            (
                "[watermark]\nprotect = ['label!=a']",
                "/f:2: protect: \"label!=a\": give label=KEY",
            ),
            ("[watermark]\nmin-age = 'long'", "/f:2: min-age: "),
            ("[watermark]\ninterval = '10ms'", "/f:2: interval: "),
            (
                "[watermark]\nkeep_free = '20%'",
                "/f:2: there is no key \"keep_free\": did you mean \"keep-free\"?",
            ),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.starts_with(want), "{text}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
