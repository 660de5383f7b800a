//! The storage driver and its options, from the command line and from a file like Docker's.
//!
//! What Docker's file says holds unless the settings say it too; as with Docker, that is an error. Of
//! the file only what concerns storage is read, so Docker's own file can be given. It is not taken
//! unasked: what is right for Docker's store need not be for ours.

use std::path::{Path, PathBuf};

use lapstrake_engine::{NameError, StorageOptionError, StorageOptions, StorageRequest};
use serde::Deserialize;

use crate::settings::{Origin, Settings};

/// Why what was asked of the storage is not understood.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A driver that there is not.
    #[error(transparent)]
    Driver(#[from] NameError),
    /// An option that there is not.
    #[error("{}", with_cause(.0))]
    Option(#[from] StorageOptionError),
    /// A file that cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    /// A file that is not JSON, or has something else under our keys.
    #[error("{} is not as Docker's daemon.json: {source}", path.display())]
    Form {
        path: PathBuf,
        source: serde_json::Error,
    },
    /// The same twice.
    #[error("{key} is given both {place} and in {}: take it out of one", path.display())]
    Twice {
        key: &'static str,
        place: &'static str,
        path: PathBuf,
    },
}

fn with_cause(error: &StorageOptionError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// What of Docker's file concerns storage.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    storage_driver: Option<String>,
    storage_opts: Option<Vec<String>>,
}

/// Reads what was asked for.
pub(crate) fn request(settings: &Settings) -> Result<StorageRequest, Error> {
    let Some((path, must)) = &settings.dockers else {
        return combine(settings, File::default(), Path::new(""));
    };
    let file = match std::fs::read(path) {
        Ok(text) => parse(&text).map_err(|source| Error::Form {
            path: path.clone(),
            source,
        })?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must => File::default(),
        Err(source) => {
            return Err(Error::Read {
                path: path.clone(),
                source,
            });
        }
    };
    combine(settings, file, path)
}

/// An empty file says nothing, as for Docker.
fn parse(text: &[u8]) -> Result<File, serde_json::Error> {
    if text.trim_ascii().is_empty() {
        return Ok(File::default());
    }
    serde_json::from_slice(text)
}

fn combine(settings: &Settings, file: File, path: &Path) -> Result<StorageRequest, Error> {
    let twice = |key, origin| {
        Err(Error::Twice {
            key,
            place: match origin {
                Origin::Environment(_) => "in the environment",
                Origin::File => "in the configuration",
                Origin::CommandLine | Origin::Default => "on the command line",
            },
            path: path.to_owned(),
        })
    };
    let (asked, typed) = (&settings.storage_driver, &settings.storage_opts);
    let driver = match (&asked.value, file.storage_driver) {
        (Some(_), Some(_)) => return twice("storage-driver", asked.origin),
        (Some(name), None) => Some(name.clone()),
        // As Docker has it, an empty name asks for nothing.
        (None, name) => name.filter(|name| !name.is_empty()),
    };
    let of_file = file.storage_opts.unwrap_or_default();
    // Sizes are said for one command; the file has what holds for all.
    let of_drivers = |options: &[String]| options.iter().any(|option| is_of_driver(option));
    if of_drivers(&typed.value) && of_drivers(&of_file) {
        return twice("storage-opts", typed.origin);
    }
    let options = of_file.iter().chain(&typed.value);
    Ok(StorageRequest {
        driver: driver.map(|name| name.parse()).transpose()?,
        options: StorageOptions::parse(options.map(String::as_str))?,
    })
}

fn is_of_driver(option: &str) -> bool {
    option
        .split('=')
        .next()
        .is_some_and(|key| key.contains('.'))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use lapstrake_engine::DriverName;

    use super::*;
    use crate::arguments::Arguments;

    fn typed(driver: Option<&str>, options: &[&str]) -> Settings {
        let mut line = vec!["lapstrake"];
        line.extend(
            driver
                .into_iter()
                .flat_map(|driver| ["--storage-driver", driver]),
        );
        line.extend(options.iter().flat_map(|option| ["--storage-opt", option]));
        let arguments = Arguments::try_parse_from(line.into_iter().chain(["images"]));
        Settings::over_nothing(&arguments.expect("arguments"), &|_| None).expect("settings")
    }

    fn check(arguments: &Settings, file: &str) -> Result<StorageRequest, String> {
        let path = Path::new("/f");
        let file = parse(file.as_bytes()).map_err(|error| error.to_string())?;
        combine(arguments, file, path).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_asked_for() {
        for file in ["", "{}", r#"{"log-level": "debug", "storage-driver": ""}"#] {
            assert_eq!(
                check(&typed(None, &[]), file),
                Ok(StorageRequest::DEFAULT),
                "{file}"
            );
        }
    }

    #[test]
    fn dockers_file_is_read() {
        let file = r#"{
            "data-root": "/elsewhere", "storage-driver": "overlay2", "dns": ["1.1.1.1"],
            "storage-opts": ["overlay2.override_kernel_check=true", "overlay2.size=20G"]
        }"#;
        let request = check(&typed(None, &[]), file).expect("understood");
        assert_eq!(request.driver, Some(DriverName::Overlay2));
        let bytes = request.options.limit(DriverName::Overlay2).bytes;
        assert_eq!(bytes, Some(20 << 30));
        // A command's own limit comes last, and so counts.
        let request = check(&typed(None, &["size=1G"]), file).expect("understood");
        let bytes = request.options.limit(DriverName::Overlay2).bytes;
        assert_eq!(bytes, Some(1 << 30));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let overlay2 = r#"{"storage-driver": "overlay2", "storage-opts": ["overlay2.size=1G"]}"#;
        for (arguments, file, words) in [
            (
                typed(Some("vfs"), &[]),
                overlay2,
                "storage-driver is given both",
            ),
            (
                typed(None, &["erofs.metacopy=on"]),
                overlay2,
                "storage-opts is given both",
            ),
            (typed(Some("aufs"), &[]), "", "use overlay2 or erofs"),
            (
                typed(Some("nonsense"), &[]),
                "",
                "there are erofs, overlay2 and vfs",
            ),
            (typed(None, &["dm.fs=xfs"]), "", "unknown storage option"),
            (typed(None, &["size=a lot"]), "", "size"),
            (
                typed(None, &[]),
                r#"{"storage-opts": "overlay2.size=1G"}"#,
                "expected a sequence",
            ),
            (typed(None, &[]), "storage-driver: vfs", "expected"),
        ] {
            let error = check(&arguments, file).expect_err("refused");
            assert!(error.contains(words), "{arguments:?} {file}: {error}");
        }
    }
}
