//! What containers said: where it is written, and how it is read.

mod options;

use std::path::PathBuf;

use lapstrake_container::settings::LogSettings;
use lapstrake_monitor::logs::{Query, Reader, Settings};

use super::Containers;
use super::error::{Error, Result};
use super::places::Places;
use super::record::Record;
use options::About;

pub(super) use options::check;

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
        let about = About::of(record);
        options::settings(&wanted, places.log(&record.id), &about)
    }
}
