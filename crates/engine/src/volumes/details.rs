//! What is told of a volume. None of it waits for the volume.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::error::{Error, Result};
use super::options::Options;
use super::record::Record;
use super::{ANONYMOUS_LABEL, Inner, Volumes};

/// A volume, for a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeDetails {
    /// Its name.
    pub name: String,
    /// Its driver.
    pub driver: String,
    /// Options, as they were given.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// When it was made.
    pub created: SystemTime,
    /// Where its data is, at least while it is attached.
    pub mountpoint: PathBuf,
}

impl VolumeDetails {
    /// Whether the client gave it no name.
    pub fn is_anonymous(&self) -> bool {
        self.labels.contains_key(ANONYMOUS_LABEL)
    }
}

/// Whether a volume with this record was given no name. Of one that can't be read that is not known, so it counts as named.
pub(crate) fn is_anonymous(name: &str, body: &str) -> bool {
    match Record::from_json(name, body) {
        Ok(record) => record.labels.contains_key(ANONYMOUS_LABEL),
        Err(_) => false,
    }
}

impl Volumes {
    /// A volume by its name.
    ///
    /// # Errors
    /// If there is none.
    pub fn get(&self, name: &str) -> Result<VolumeDetails> {
        let missing = || Error::Missing(name.to_owned());
        let volume = self.inner.table.get(name).ok_or_else(missing)?;
        let record = volume.record();
        let record = record.as_ref().ok_or_else(missing)?;
        Ok(self.inner.details(name, record))
    }

    /// All volumes, by name.
    pub fn list(&self) -> Vec<VolumeDetails> {
        let all = self.inner.table.all();
        let details = all.iter().filter_map(|volume| {
            let record = volume.record();
            let record = record.as_ref()?;
            Some(self.inner.details(&volume.name, record))
        });
        details.collect()
    }
}

impl Inner {
    pub(super) fn details(&self, name: &str, record: &Record) -> VolumeDetails {
        let mountpoint = match record.parsed(name) {
            Ok(Options::Mounted(_)) => self.seat(name),
            // A limit that the file system can't enforce takes a file system of its own.
            Ok(Options::Room(limit)) if !limit.is_none() && self.is_image(name) => {
                super::rooms_run(&self.run).join(name).join("_data")
            }
            _ => self.home.join(name).join("_data"),
        };
        VolumeDetails {
            name: name.to_owned(),
            driver: record.driver.clone(),
            options: record.options.clone(),
            labels: record.labels.clone(),
            created: UNIX_EPOCH + Duration::from_secs(record.created),
            mountpoint,
        }
    }

    /// Whether the room of a volume is an image file.
    pub(super) fn is_image(&self, name: &str) -> bool {
        self.home.join(name).join("room.ext4").exists()
    }
}
