//! The options of log drivers, as Docker's `--log-opt` names them.
//!
//! They are read by the same function when a container is made, so that what makes no sense is refused then, and when it
//! starts.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lapstrake_container::settings::LogSettings;
use lapstrake_monitor::logs::{Format, Settings};
use lapstrake_oci::Execution;
use lapstrake_snapshot::room::parse_size;
use regex::Regex;

use super::super::error::{Error, Result};
use super::super::record::Record;

/// How much of an id a tag shows.
const SHORT_ID: usize = 12;

/// So many files a log may have: each rotation renames them all.
const FILES_MAX: u32 = 1000;
/// So many bytes may be added to each entry. Readers know an entry by its length, too.
const ATTRIBUTES_MAX: usize = 64 << 10;

/// What each entry of a log may say about its container.
#[derive(Debug, Default)]
pub(super) struct About {
    labels: BTreeMap<String, String>,
    env: BTreeMap<String, String>,
    id: String,
    name: String,
    image: String,
    image_name: String,
}

impl About {
    pub(super) fn of(record: &Record) -> Self {
        Self {
            id: record.id.clone(),
            name: record.name.clone(),
            image: record.image.clone(),
            image_name: record.settings.image.clone(),
            ..Self::of_execution(&record.settings.execution)
        }
    }

    /// Of one that is not there yet.
    fn of_execution(execution: &Execution) -> Self {
        let env = execution.env.iter();
        let env = env.filter_map(|entry| entry.split_once('='));
        let env = env.map(|(key, value)| (key.to_owned(), value.to_owned()));
        Self {
            labels: execution.labels.clone(),
            env: env.collect(),
            ..Self::default()
        }
    }

    /// What stands for a name in a tag's template.
    fn field(&self, name: &str) -> Option<&str> {
        let image = self
            .image
            .split_once(':')
            .map_or(&*self.image, |(_, hex)| hex);
        let short = |id: &'_ str| id.len().min(SHORT_ID);
        Some(match name {
            ".ID" => &self.id[..short(&self.id)],
            ".FullID" => &self.id,
            ".Name" => &self.name,
            ".ImageID" => &image[..short(image)],
            ".ImageFullID" => &self.image,
            ".ImageName" => &self.image_name,
            ".DaemonName" => "docker",
            _ => return None,
        })
    }

    /// A tag's template with what stands for the names in it.
    fn tag(&self, template: &str) -> std::result::Result<String, String> {
        let mut tag = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after
                .split_once("}}")
                .ok_or_else(|| "a \"{{\" has no \"}}\"".to_owned())?;
            let field = self.field(name.trim()).ok_or_else(|| {
                format!(
                    "{{{{{name}}}}} is none of .ID, .FullID, .Name, .ImageID, .ImageFullID, .ImageName and .DaemonName"
                )
            })?;
            tag.push_str(before);
            tag.push_str(field);
            rest = after;
        }
        tag.push_str(rest);
        Ok(tag)
    }
}

/// Whether the options of a log driver make sense.
pub(in super::super) fn check(wanted: &LogSettings, execution: &Execution) -> Result<()> {
    settings(wanted, PathBuf::new(), &About::of_execution(execution)).map(drop)
}

/// Reads the settings of a log driver.
pub(super) fn settings(
    wanted: &LogSettings,
    path: PathBuf,
    about: &About,
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
                let files = value.parse::<u32>().ok();
                settings.max_files = files
                    .filter(|files| (1..=FILES_MAX).contains(files))
                    .ok_or_else(|| {
                        invalid(&format!(
                            "it must be a positive number of at most {FILES_MAX}"
                        ))
                    })?;
            }
            "compress" => {
                settings.compress = match value.as_str() {
                    "true" | "1" => true,
                    "false" | "0" => false,
                    _ => return Err(invalid("it is true or false")),
                };
            }
            "labels" => add(&mut settings.attributes, &about.labels, &listed(value)),
            "env" => add(&mut settings.attributes, &about.env, &listed(value)),
            "labels-regex" | "env-regex" => {
                let regex = Regex::new(value).map_err(|error| invalid(&error.to_string()))?;
                let from = match key.as_str() {
                    "env-regex" => &about.env,
                    _ => &about.labels,
                };
                add(&mut settings.attributes, from, &|name| regex.is_match(name));
            }
            "tag" => {
                let tag = about.tag(value).map_err(|why| invalid(&why))?;
                if !tag.is_empty() {
                    settings.attributes.insert("tag".to_owned(), tag);
                }
            }
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
            _ => {
                return Err(Error::Invalid(format!(
                    "unknown log opt '{key}' for {} log driver",
                    wanted.driver
                )));
            }
        }
    }
    let attributes = settings.attributes.iter();
    let bytes: usize = attributes
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if bytes > ATTRIBUTES_MAX {
        return Err(Error::Invalid(format!(
            "labels, env and tag add {bytes} bytes to each entry of the log; at most {ATTRIBUTES_MAX} are possible"
        )));
    }
    Ok(Some(settings))
}

/// Adds what is chosen by name.
fn add(
    attributes: &mut BTreeMap<String, String>,
    from: &BTreeMap<String, String>,
    is_chosen: &dyn Fn(&str) -> bool,
) {
    let chosen = from.iter().filter(|(name, _)| is_chosen(name));
    attributes.extend(chosen.map(|(name, value)| (name.clone(), value.clone())));
}

/// Whether a name is in a list with commas.
fn listed(names: &str) -> impl Fn(&str) -> bool {
    move |wanted| names.split(',').any(|name| name == wanted)
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
        let about = About {
            labels: [
                ("a".to_owned(), "1".to_owned()),
                ("bc".to_owned(), "3".to_owned()),
            ]
            .into(),
            env: [("B".to_owned(), "2".to_owned())].into(),
            id: "0123456789abcdef".to_owned(),
            name: "n".to_owned(),
            image: "sha256:fedcba9876543210".to_owned(),
            image_name: "i:1".to_owned(),
        };
        settings(&wanted, PathBuf::from("/x/id-json.log"), &about)
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

    fn check_attributes(options: &[(&str, &str)], expected: &[(&str, &str)]) {
        let settings = read("json-file", options).unwrap().unwrap();
        let found = settings.attributes.iter();
        let found: Vec<_> = found.map(|(key, value)| (&**key, &**value)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn entries_say_what_is_chosen() {
        check_attributes(&[("labels", "bc,none")], &[("bc", "3")]);
        check_attributes(&[("labels-regex", "^b")], &[("bc", "3")]);
        check_attributes(
            &[("env-regex", "B|X"), ("labels", "a")],
            &[("B", "2"), ("a", "1")],
        );
        check_attributes(
            &[("tag", "{{.Name}}/{{ .ID }}/{{.ImageID}}/{{.ImageName}}")],
            &[("tag", "n/0123456789ab/fedcba987654/i:1")],
        );
        check_attributes(&[("tag", "plain")], &[("tag", "plain")]);
        check_attributes(&[("tag", "")], &[]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (driver, options, words) in [
            ("syslog", &[][..], "no log driver named 'syslog'"),
            ("json-file", &[("size", "1")], "unknown log opt 'size'"),
            ("json-file", &[("max-size", "x")], "invalid max-size"),
            ("json-file", &[("max-file", "0")], "positive number"),
            ("json-file", &[("max-file", "1001")], "at most 1000"),
            ("json-file", &[("tag", "{{.Command}}")], "none of .ID"),
            ("json-file", &[("tag", "{{.ID")], "has no"),
            ("json-file", &[("env-regex", "(")], "invalid env-regex"),
            ("local", &[("mode", "x")], "blocking or non-blocking"),
            ("local", &[("max-buffer-size", "4m")], "mode=non-blocking"),
        ] {
            let error = read(driver, options).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
