//! Making a volume, or finding the one that has the name already.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use lapstrake_container::mounts::LOCAL_DRIVER;
use lapstrake_snapshot::room::Limit;
use lapstrake_store::Commit;

use super::error::{Error, Result, io_error};
use super::options::Options;
use super::record::Record;
use super::{ANONYMOUS_LABEL, Inner, VolumeDetails, Volumes};

/// A volume to make.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewVolume {
    /// Its name.
    pub name: String,
    /// Its driver, if one was named.
    pub driver: Option<String>,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Whether the client gave it no name.
    pub anonymous: bool,
    /// The container that it is made for, if that has no record yet.
    pub made_for: Option<String>,
}

impl Volumes {
    /// Makes a volume, and says whether it is new: one of this name stays as it is. It is on disk when this
    /// returns.
    ///
    /// # Errors
    /// If the name or an option can't be, or nothing here can hold it to its limit.
    pub fn create(&self, new: &NewVolume) -> Result<(VolumeDetails, bool)> {
        let driver = new.driver.as_deref().filter(|driver| !driver.is_empty());
        if let Some(driver) = driver.filter(|driver| *driver != LOCAL_DRIVER) {
            return Err(Error::Driver {
                name: new.name.clone(),
                driver: driver.to_owned(),
            });
        }
        loop {
            let volume = self.inner.table.entry(&new.name);
            let mut held = volume.change();
            if held.gone {
                continue;
            }
            if let Some(record) = &*volume.record() {
                return Ok((self.inner.details(&new.name, record), false));
            }
            let made = self.inner.make(new);
            return match made {
                Ok(record) => {
                    let details = self.inner.details(&new.name, &record);
                    *volume.record() = Some(record);
                    Ok((details, true))
                }
                Err(error) => {
                    self.inner.table.forget(&volume, &mut held);
                    Err(error)
                }
            };
        }
    }
}

impl Inner {
    fn make(&self, new: &NewVolume) -> Result<Record> {
        check_name(&new.name)?;
        Options::parse(&new.name, &new.options)?;
        let mut labels = new.labels.clone();
        if new.anonymous {
            labels.insert(ANONYMOUS_LABEL.to_owned(), String::new());
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let mut record = Record {
            driver: LOCAL_DRIVER.to_owned(),
            options: new.options.clone(),
            labels,
            created: now.map_or(0, |since| since.as_secs()),
            made_for: new.made_for.clone(),
            making: true,
            ..Record::default()
        };
        self.save(&new.name, &record, Commit::Synced)?;
        match self.make_room(&new.name, &record) {
            Ok(()) => {
                record.making = false;
                self.save(&new.name, &record, Commit::Lazy)?;
                Ok(record)
            }
            Err(error) => {
                // The failure is what to tell. A record that stays leads to a try at the next start.
                drop(self.store.state().remove_volume(&new.name));
                Err(error)
            }
        }
    }

    /// Makes the room of a volume that has none, with its directory for data.
    pub(super) fn make_room(&self, name: &str, record: &Record) -> Result<()> {
        let Options::Room(limit) = record.parsed(name)? else {
            return Ok(());
        };
        let room = self.rooms.create(&Self::room(name)?, limit)?;
        let made = make_data(&room.dir);
        if made.is_err() {
            // The failure is what to tell.
            drop(self.rooms.remove(&room.id));
        }
        self.let_go(name, limit);
        made
    }

    /// Unmounts a room that needs that, as long as nobody uses it.
    pub(super) fn let_go(&self, name: &str, limit: Limit) {
        if limit.is_none() {
            return;
        }
        if let Ok(id) = Self::room(name) {
            // One that somebody looks into stays mounted.
            drop(self.rooms.release(&id));
        }
    }
}

/// Makes the directory for data in a room, unless it is there. A power cut may take back one that nothing was
/// synced in; whoever attaches the volume makes it again.
pub(super) fn make_data(room: &Path) -> Result<()> {
    let data = room.join("_data");
    match std::fs::create_dir(&data) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(io_error("create", &data)(error))
        }
        _ => Ok(()),
    }
}

fn check_name(name: &str) -> Result<()> {
    if name.len() == 1 {
        return Err(Error::ShortName(name.to_owned()));
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric();
    let fits = |byte: u8| is_plain(byte) || matches!(byte, b'_' | b'.' | b'-');
    let begins = name.bytes().next().is_some_and(is_plain);
    if begins && name.len() <= 255 && name.bytes().all(fits) {
        return Ok(());
    }
    Err(Error::Name(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_not_short() {
        for name in ["ab", "a1", "0-_.", &"x".repeat(255)] {
            check_name(name).unwrap();
        }
        let words = |name: &str| check_name(name).unwrap_err().to_string();
        assert_eq!(
            words("a"),
            "create a: volume name is too short, names should be at least two alphanumeric characters"
        );
        for name in ["", "-a", ".a", "a/b", "a b", "aä", &"x".repeat(256)] {
            assert!(words(name).contains("includes invalid characters for a local volume name"));
        }
    }
}
