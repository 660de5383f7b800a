//! Settings: what holds for a command that is not told otherwise.
//!
//! Of each, the first counts that is there: the command line, the environment, the file, the default.
//! Lists of the file are added to: what was typed comes first where order matters, and counts where it
//! contradicts.

mod daemon;
mod file;
mod watermark;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::arguments::Arguments;
use crate::network::MirrorOf;
pub(crate) use daemon::DaemonSettings;
pub(crate) use file::{Error, File};
pub(crate) use watermark::WatermarkSettings;

/// The store, if nothing else is said.
const ROOT: &str = "/var/lib/lapstrake";
/// Read if it is there.
const FILE: &str = "/etc/lapstrake/config.toml";
/// Docker's own, read for its storage driver if it is there and no other file was named.
const DOCKERS_FILE: &str = "/etc/lapstrake/daemon.json";
/// Layers to fetch at a time.
const PARALLEL: u16 = 3;

/// The environment, as a function of a variable's name.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Where a setting comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    CommandLine,
    Environment(&'static str),
    File,
    Default,
}

/// A setting, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting<T> {
    pub(crate) value: T,
    pub(crate) origin: Origin,
}

/// All settings.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The file that was read.
    pub(crate) file: Option<PathBuf>,
    /// Docker's file, to be read, and whether it must be there.
    pub(crate) dockers: Option<(PathBuf, bool)>,
    pub(crate) root: Setting<PathBuf>,
    pub(crate) run_dir: Setting<Option<PathBuf>>,
    pub(crate) storage_driver: Setting<Option<String>>,
    /// Those of the file, then those that were typed.
    pub(crate) storage_opts: Setting<Vec<String>>,
    pub(crate) mirrors: Setting<Vec<MirrorOf>>,
    pub(crate) plain_http: Setting<Vec<String>>,
    pub(crate) certs_dir: Setting<Option<PathBuf>>,
    pub(crate) authfile: Setting<Option<PathBuf>>,
    pub(crate) parallel: Setting<u16>,
    pub(crate) wait: Setting<Option<Duration>>,
    /// What the file says of the daemon.
    pub(crate) daemon: DaemonSettings,
    /// What is to be kept free.
    pub(crate) watermark: WatermarkSettings,
}

impl Settings {
    /// Reads the file, and puts it below what was typed and what the environment says.
    pub(crate) fn read(typed: &Arguments, environment: Environment<'_>) -> Result<Self, Error> {
        let named = typed
            .storage
            .config
            .clone()
            .or_else(|| text(environment, "LAPSTRAKE_CONFIG").map(PathBuf::from));
        let (file, dockers) = match named {
            // Docker's has JSON in it, and is known by its name.
            Some(path) if path.extension().is_some_and(|ending| ending == "json") => {
                (None, Some((path, true)))
            }
            Some(path) => (File::read(&path)?.map(|file| (path.clone(), file)), None),
            None => {
                let path = Path::new(FILE);
                let file = File::read_if_there(path)?;
                let dockers = (PathBuf::from(DOCKERS_FILE), false);
                (file.map(|file| (path.to_owned(), file)), Some(dockers))
            }
        };
        let (path, file) = file.unzip();
        let mut settings = Self::of(typed, environment, file.unwrap_or_default())?;
        (settings.file, settings.dockers) = (path, dockers);
        Ok(settings)
    }

    /// As if there were no file.
    #[cfg(test)]
    pub(crate) fn over_nothing(
        typed: &Arguments,
        environment: Environment<'_>,
    ) -> Result<Self, Error> {
        Self::of(typed, environment, File::default())
    }

    fn of(typed: &Arguments, environment: Environment<'_>, file: File) -> Result<Self, Error> {
        let variable = |name: &'static str| text(environment, name).map(|value| (name, value));
        let path = |name| variable(name).map(|(name, value)| (name, PathBuf::from(value)));
        let mut options = file.storage_opts.unwrap_or_default();
        let of_file = !options.is_empty();
        options.extend(typed.storage.driver_opt.iter().cloned());
        Ok(Self {
            file: None,
            dockers: None,
            root: first(typed.root.clone(), path("LAPSTRAKE_ROOT"), file.root)
                .or(PathBuf::from(ROOT)),
            run_dir: first(
                typed.run_dir.clone(),
                path("LAPSTRAKE_RUN_DIR"),
                file.run_dir,
            )
            .optional(),
            storage_driver: first(
                typed.storage.storage_driver.clone(),
                variable("LAPSTRAKE_STORAGE_DRIVER"),
                file.storage_driver,
            )
            .optional(),
            storage_opts: Setting {
                value: options,
                origin: match (typed.storage.driver_opt.is_empty(), of_file) {
                    (false, _) => Origin::CommandLine,
                    (true, true) => Origin::File,
                    (true, false) => Origin::Default,
                },
            },
            mirrors: listed(file.mirrors),
            plain_http: listed(file.plain_http),
            certs_dir: first(None, None, file.certs_dir).optional(),
            authfile: first(None, path("REGISTRY_AUTH_FILE"), file.authfile).optional(),
            parallel: first(
                None,
                number("LAPSTRAKE_PARALLEL", environment, file::PARALLEL)?,
                file.parallel,
            )
            .or(PARALLEL),
            wait: first(
                typed.wait,
                number("LAPSTRAKE_WAIT", environment, file::WAIT)?,
                file.wait,
            )
            .map(Duration::from_secs)
            .optional(),
            daemon: file.daemon.unwrap_or_default(),
            watermark: file.watermark.into(),
        })
    }
}

fn text(environment: Environment<'_>, name: &str) -> Option<String> {
    let value = environment(name)?.into_string().ok()?;
    Some(value).filter(|value| !value.is_empty())
}

fn number<T: TryFrom<u64>>(
    name: &'static str,
    environment: Environment<'_>,
    allowed: file::Allowed,
) -> Result<Option<(&'static str, T)>, Error> {
    let Some(text) = text(environment, name) else {
        return Ok(None);
    };
    let wrong = || Error::Variable {
        name,
        value: text.clone(),
        allowed,
    };
    let number: u64 = text.parse().map_err(|_| wrong())?;
    if !allowed.has(number) {
        return Err(wrong());
    }
    let number = T::try_from(number).map_err(|_| wrong())?;
    Ok(Some((name, number)))
}

/// What was said of a setting.
struct Said<T>(Option<Setting<T>>);

/// The first that says something.
fn first<T>(typed: Option<T>, variable: Option<(&'static str, T)>, file: Option<T>) -> Said<T> {
    let from = |origin| move |value| Setting { value, origin };
    Said(
        typed
            .map(from(Origin::CommandLine))
            .or_else(|| variable.map(|(name, value)| from(Origin::Environment(name))(value)))
            .or_else(|| file.map(from(Origin::File))),
    )
}

impl<T> Said<T> {
    fn or(self, default: T) -> Setting<T> {
        self.0.unwrap_or(Setting {
            value: default,
            origin: Origin::Default,
        })
    }

    fn optional(self) -> Setting<Option<T>> {
        match self.0 {
            None => Setting {
                value: None,
                origin: Origin::Default,
            },
            Some(Setting { value, origin }) => Setting {
                value: Some(value),
                origin,
            },
        }
    }

    fn map<U>(self, map: impl FnOnce(T) -> U) -> Said<U> {
        Said(self.0.map(|Setting { value, origin }| Setting {
            value: map(value),
            origin,
        }))
    }
}

fn listed<T>(file: Option<Vec<T>>) -> Setting<Vec<T>> {
    Setting {
        origin: file.as_ref().map_or(Origin::Default, |_| Origin::File),
        value: file.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn settings(
        typed: &[&str],
        variables: &[(&str, &str)],
        file: &str,
    ) -> Result<Settings, String> {
        let typed = ["lapstrake"].iter().chain(typed).chain(&["images"]);
        let typed = Arguments::try_parse_from(typed).expect("arguments");
        let environment = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let file = File::parse(Path::new("/f"), file).map_err(|error| error.to_string())?;
        Settings::of(&typed, &environment, file).map_err(|error| error.to_string())
    }

    #[test]
    fn the_first_that_is_there_counts() {
        let file = "root = '/file'\nwait = 3\nparallel = 9";
        let root = |typed: &[&str], variables: &[(&str, &str)], file| {
            let root = settings(typed, variables, file).expect("settings").root;
            (root.value.display().to_string(), root.origin)
        };
        let variables = [("LAPSTRAKE_ROOT", "/variable")];
        for (typed, variables, file, want, origin) in [
            (
                &["--root", "/typed"][..],
                &variables[..],
                file,
                "/typed",
                Origin::CommandLine,
            ),
            (
                &[],
                &variables,
                file,
                "/variable",
                Origin::Environment("LAPSTRAKE_ROOT"),
            ),
            (&[], &[("LAPSTRAKE_ROOT", "")], file, "/file", Origin::File),
            (&[], &[], "", ROOT, Origin::Default),
        ] {
            assert_eq!(root(typed, variables, file), (want.to_owned(), origin));
        }
        let all = settings(&["--wait", "0"], &[], file).expect("settings");
        assert_eq!(all.wait.value, Some(Duration::ZERO));
        assert_eq!((all.parallel.value, all.parallel.origin), (9, Origin::File));
    }

    #[test]
    fn options_of_both_are_taken_and_what_was_typed_comes_last() {
        let file = "storage-opts = ['size=1G', 'erofs.metacopy=off']";
        let both = settings(&["--storage-opt", "size=2G"], &[], file).expect("settings");
        assert_eq!(
            both.storage_opts.value,
            ["size=1G", "erofs.metacopy=off", "size=2G"]
        );
    }

    #[test]
    fn numbers_of_the_environment_are_checked() {
        for value in ["0", "65", "many", "-1"] {
            let error = settings(&[], &[("LAPSTRAKE_PARALLEL", value)], "").expect_err("refused");
            assert!(
                error.contains("LAPSTRAKE_PARALLEL") && error.contains("1 to 64"),
                "{error}"
            );
        }
    }
}
