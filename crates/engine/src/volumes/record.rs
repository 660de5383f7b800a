//! What is known of a volume, as it is kept in the state database.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::{Error, Result};
use super::options::Options;

/// A volume's record: JSON. Fields that are added later have defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    pub(super) driver: String,
    /// As the client gave them.
    pub(super) options: BTreeMap<String, String>,
    pub(super) labels: BTreeMap<String, String>,
    /// Seconds since 1970.
    pub(super) created: u64,
    /// The container for which it was made, until that has a record too.
    pub(super) made_for: Option<String>,
    /// Its room is being made: without one, it gets one.
    pub(super) making: bool,
    /// The directory in it, `.` for all, that is being filled from an image: after a crash, it is emptied.
    pub(super) filling: Option<String>,
    /// It is being taken away.
    pub(super) removing: bool,
    /// What it used when somebody last looked and nobody was using it.
    pub(super) counted: Option<Counted>,
}

/// A size. It is worth something while the kernel runs under which it was found: a power cut may take back
/// the note that the volume is used again, and keep what was written in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Counted {
    pub(super) bytes: u64,
    pub(super) inodes: u64,
    pub(super) boot_id: String,
}

impl Record {
    pub(super) fn to_json(&self, name: &str) -> Result<String> {
        serde_json::to_string(self).map_err(|error| unreadable(name, &error))
    }

    pub(super) fn from_json(name: &str, text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|error| unreadable(name, &error))
    }

    /// How it is kept. Records have options that were checked.
    pub(super) fn parsed(&self, name: &str) -> Result<Options> {
        Options::parse(name, &self.options)
    }
}

fn unreadable(name: &str, error: &serde_json::Error) -> Error {
    Error::Record {
        name: name.to_owned(),
        why: error.to_string(),
    }
}
