//! What containers said: where it is written, and how it is read.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lapstrake_container::settings::LogSettings;
use lapstrake_monitor::logs::{Format, Query, Reader, Settings};
use lapstrake_snapshot::room::parse_size;

use super::Containers;
use super::error::{Error, Result};
use super::places::Places;
use super::record::Record;

/// A log that can be read.
#[derive(Debug)]
pub struct Log {
    /// Its entries, one after another. It blocks while it follows.
    pub reader: Reader,
    /// Whether the container has a terminal: then its output is one stream.
    pub tty: bool,
    /// Tells when the container has no process any more, so that there is nothing to follow.
    pub seen: tokio::sync::watch::Receiver<super::Seen>,
}

/// Options of the log drivers that only choose what is added to each entry.
const NAMING: [&str; 5] = ["labels", "labels-regex", "env", "env-regex", "tag"];

impl Containers {
    /// Opens a container's log.
    ///
    /// # Errors
    /// If there is none of that name, its driver keeps nothing, or the log can't be read.
    pub async fn log(&self, name: &str, query: Query) -> Result<Log> {
        let container = self.find(name)?;
        let record = container.record();
        let seen = container.watch();
        let tty = record.settings.tty;
        let reader = self.blocking(move |all| {
            let places = all.places(&record.id);
            let settings = all.log_settings(&record, &places)?.ok_or_else(|| {
                Error::Unsupported("configured logging driver does not support reading".to_owned())
            })?;
            Ok(Reader::open(&settings.path, settings.format, query)?)
        });
        Ok(Log {
            reader: reader.await?,
            tty,
            seen,
        })
    }

    /// Where a container's output is written, if it is.
    pub fn log_path(&self, record: &Record) -> Option<PathBuf> {
        let places = self.places(&record.id);
        let settings = self.log_settings(record, &places).ok().flatten();
        settings.map(|settings| settings.path)
    }

    /// A container's log settings, or the daemon's where it has none.
    pub fn log_of(&self, settings: &LogSettings) -> LogSettings {
        let default = &self.inner.options.log;
        if settings.driver.is_empty() || settings.driver == default.driver {
            let mut options = default.options.clone();
            options.extend(settings.options.clone());
            LogSettings {
                driver: default.driver.clone(),
                options,
            }
        } else {
            settings.clone()
        }
    }

    /// How a container's output is written; nothing if it is not.
    pub(crate) fn log_settings(
        &self,
        record: &Record,
        places: &Places,
    ) -> Result<Option<Settings>> {
        let wanted = self.log_of(&record.settings.host.log);
        let execution = &record.settings.execution;
        let env = execution
            .env
            .iter()
            .filter_map(|entry| entry.split_once('='));
        let env = env
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        settings(&wanted, places.log(&record.id), &execution.labels, &env)
    }
}

/// Reads the settings of a log driver.
pub(crate) fn settings(
    wanted: &LogSettings,
    path: PathBuf,
    labels: &BTreeMap<String, String>,
    env: &BTreeMap<String, String>,
) -> Result<Option<Settings>> {
    let format = match wanted.driver.as_str() {
        "json-file" | "" => Format::JsonFile,
        "local" => Format::Local,
        "none" => return Ok(None),
        other => {
            return Err(Error::Invalid(format!(
                "logger: no log driver named '{other}' is registered"
            )));
        }
    };
    let path = match format {
        Format::JsonFile => path,
        Format::Local => path.with_file_name("container.log"),
    };
    let mut settings = Settings::defaults(format, path);
    for (key, value) in &wanted.options {
        let invalid = |what: &str| Error::Invalid(format!("invalid {key}: {value:?}: {what}"));
        match key.as_str() {
            "max-size" => {
                settings.max_size = match value.as_str() {
                    "-1" => None,
                    size => parse_size(size).map_err(|error| invalid(&error.to_string()))?,
                };
            }
            "max-file" => {
                let files = value.parse::<u32>().ok().filter(|files| *files > 0);
                settings.max_files =
                    files.ok_or_else(|| invalid("max-file must be a positive number"))?;
            }
            "compress" => {
                settings.compress = match value.as_str() {
                    "true" | "1" => true,
                    "false" | "0" => false,
                    _ => return Err(invalid("it is true or false")),
                };
            }
            "labels" => add(&mut settings.attributes, value, labels),
            "env" => add(&mut settings.attributes, value, env),
            // It says how output is passed on, not what is kept: a file takes it at once.
            "mode" => match value.as_str() {
                "" | "blocking" | "non-blocking" => {}
                _ => return Err(invalid("it is blocking or non-blocking")),
            },
            "max-buffer-size" => {
                if wanted.options.get("mode").map(String::as_str) != Some("non-blocking") {
                    return Err(invalid("it is only supported with mode=non-blocking"));
                }
                parse_size(value).map_err(|error| invalid(&error.to_string()))?;
            }
            name if NAMING.contains(&name) => {
                return Err(Error::Invalid(format!(
                    "log opt {name:?} is not supported: use labels or env"
                )));
            }
            _ => {
                return Err(Error::Invalid(format!(
                    "unknown log opt '{key}' for {} log driver",
                    wanted.driver
                )));
            }
        }
    }
    Ok(Some(settings))
}

/// Adds what a list of names chooses.
fn add(attributes: &mut BTreeMap<String, String>, names: &str, from: &BTreeMap<String, String>) {
    for name in names.split(',') {
        if let Some(value) = from.get(name) {
            attributes.insert(name.to_owned(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        driver: &str,
        options: &[(&str, &str)],
    ) -> std::result::Result<Option<Settings>, String> {
        let wanted = LogSettings {
            driver: driver.to_owned(),
            options: (options.iter())
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        };
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        let env = BTreeMap::from([("B".to_owned(), "2".to_owned())]);
        settings(&wanted, PathBuf::from("/x/id-json.log"), &labels, &env)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn options_are_those_of_docker() {
        let settings = read(
            "json-file",
            &[
                ("max-size", "10k"),
                ("max-file", "3"),
                ("labels", "a,b"),
                ("env", "B"),
            ],
        );
        let settings = settings.unwrap().unwrap();
        assert_eq!((settings.max_size, settings.max_files), (Some(10240), 3));
        assert_eq!(settings.attributes.len(), 2);
        assert_eq!(read("none", &[]).unwrap(), None);
        let local = read("local", &[("compress", "false")]).unwrap().unwrap();
        assert!(!local.compress && local.path.ends_with("container.log"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (driver, options, words) in [
            ("syslog", &[][..], "no log driver named 'syslog'"),
            ("json-file", &[("size", "1")], "unknown log opt 'size'"),
            ("json-file", &[("max-size", "x")], "invalid max-size"),
            ("json-file", &[("max-file", "0")], "positive number"),
            ("local", &[("mode", "x")], "blocking or non-blocking"),
            ("local", &[("max-buffer-size", "4m")], "mode=non-blocking"),
        ] {
            let error = read(driver, options).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
