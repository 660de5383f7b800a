//! The storage driver: what was asked for, what was chosen and why.
//!
//! The choice is made when a driver is first needed: looking at images or pulling needs none. What
//! works here is found by trying, and remembered below the run directory, which does not outlive the
//! kernel that it is true of; [`Engine::storage`] tries anew.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use lapstrake_drivers::choose::{self, Choice, DriverName, Facts, Paths};
use lapstrake_drivers::options::Options;
use lapstrake_drivers::vfs::Xattrs;
use lapstrake_oci::DiffId;
use lapstrake_snapshot::room::{self, Backing, Report};
use lapstrake_snapshot::{CopyUp, Driver, Place};

use crate::Engine;
use crate::error::{Result, io_error};

/// What is asked of the storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageRequest {
    /// The driver; with none, the best that works here.
    pub driver: Option<DriverName>,
    /// Its options.
    pub options: Options,
}

impl StorageRequest {
    /// The best that works, with no options.
    pub const DEFAULT: Self = Self {
        driver: None,
        options: Options::DEFAULT,
    };
}

/// How roots are made here, and why so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageInfo {
    /// The choice and its reasons.
    pub choice: Choice,
    /// What `docker info` lists of a driver: names and values.
    pub status: Vec<(String, String)>,
    /// How writable layers are limited here, and why so.
    pub limits: Report,
    /// Options that have no effect.
    pub without_effect: Vec<String>,
    /// How many images there are.
    pub images: usize,
    /// How many layers mounted roots use.
    pub layers_in_use: usize,
}

/// The driver in use, chosen when it is first asked for.
#[derive(Debug)]
pub(crate) struct Storage {
    request: StorageRequest,
    driver: OnceLock<Arc<dyn Driver>>,
    /// Held while one is chosen: two that try the same things in the same place disturb each other.
    choosing: Mutex<()>,
}

impl Storage {
    pub(crate) fn of(request: StorageRequest) -> Self {
        Self {
            request,
            driver: OnceLock::new(),
            choosing: Mutex::default(),
        }
    }

    pub(crate) fn given(driver: Arc<dyn Driver>) -> Self {
        Self {
            request: StorageRequest::DEFAULT,
            driver: OnceLock::from(driver),
            choosing: Mutex::default(),
        }
    }
}

impl Engine {
    /// The same engine, with this storage.
    #[must_use]
    pub fn with_storage(mut self, request: StorageRequest) -> Self {
        self.storage = Storage::of(request);
        self
    }

    /// Chooses the driver anew, and says how and why.
    ///
    /// # Errors
    /// If what was asked for cannot work here, or nothing can.
    pub fn storage(&self) -> Result<StorageInfo> {
        let request = &self.storage.request;
        let facts = self.facts()?;
        let choice = choose::choose(request.driver, &facts)?;
        remember(&self.works_path(), &choice)?;
        let driver = self.open_driver(choice.driver)?;
        let limits = room::report(&self.root().join("state"))?;
        let filesystem = ("Backing Filesystem".to_owned(), facts.state.kind);
        let limited = limits.limited.map_or("not possible", Backing::name);
        let limited = ("Limits of Writable Layers".to_owned(), limited.to_owned());
        Ok(StorageInfo {
            status: [vec![filesystem], driver.status(), vec![limited]].concat(),
            limits,
            without_effect: request.options.without_effect(choice.driver),
            images: self.store.state().images()?.len(),
            layers_in_use: self.run.in_use()?.len(),
            choice,
        })
    }

    /// What a writable layer may use when nothing is said of that layer.
    pub(crate) fn default_limit(&self) -> Result<lapstrake_snapshot::room::Limit> {
        let name = self.driver()?.name().parse::<DriverName>();
        let name = name.unwrap_or(DriverName::Erofs);
        Ok(self.storage.request.options.limit(name))
    }

    /// The driver for new roots.
    pub(crate) fn driver(&self) -> Result<&Arc<dyn Driver>> {
        if let Some(driver) = self.storage.driver.get() {
            return Ok(driver);
        }
        let choosing = self.storage.choosing.lock();
        let _choosing = choosing.unwrap_or_else(PoisonError::into_inner);
        if let Some(driver) = self.storage.driver.get() {
            return Ok(driver);
        }
        let works = remembered(&self.works_path());
        let name = match self.storage.request.driver {
            Some(wanted) if works.contains(&wanted) => wanted,
            None if !works.is_empty() => works[0],
            wanted => {
                let choice = choose::choose(wanted, &self.facts()?)?;
                remember(&self.works_path(), &choice)?;
                choice.driver
            }
        };
        let opened = self.open_driver(name)?;
        Ok(self.storage.driver.get_or_init(|| opened))
    }

    /// The driver for the writable layer at `place`: the chosen one, if it can read what is there, else
    /// the one that can. So a store goes on after a change of drivers.
    pub(crate) fn driver_for(&self, place: &Path) -> Result<Arc<dyn Driver>> {
        let chosen = self.driver()?;
        let whole = match Place::at(place)? {
            None => return Ok(Arc::clone(chosen)),
            Some(Place::Whole) => true,
            Some(Place::Upper(CopyUp::Whole | CopyUp::AttributesFirst)) => false,
        };
        if (chosen.name() == "vfs") == whole {
            return Ok(Arc::clone(chosen));
        }
        let needed = if whole {
            DriverName::Vfs
        } else {
            let works = remembered(&self.works_path());
            let overlay = works.into_iter().find(|name| *name != DriverName::Vfs);
            overlay.unwrap_or(DriverName::Overlay2)
        };
        self.open_driver(needed)
    }

    /// Takes away what any driver made of these layers: also those that were in use before.
    pub(crate) fn forget_layers(&self, layers: &[&DiffId]) -> Result<()> {
        let chosen = self.storage.driver.get().cloned();
        let others = DriverName::ALL.into_iter().filter(|name| {
            let is_chosen = chosen
                .as_ref()
                .is_some_and(|one| one.name() == name.as_str());
            !is_chosen && self.drivers_path().join(name.as_str()).exists()
        });
        let others = others.map(|name| self.open_driver(name));
        for driver in chosen.clone().into_iter().map(Ok).chain(others) {
            let driver = driver?;
            for layer in layers {
                driver.forget(layer)?;
            }
        }
        Ok(())
    }

    fn open_driver(&self, name: DriverName) -> Result<Arc<dyn Driver>> {
        let options = &self.storage.request.options;
        let driver = lapstrake_drivers::open(name, options, &self.drivers_path(), &self.run)?;
        Ok(Arc::from(driver))
    }

    fn facts(&self) -> Result<Facts> {
        let (state, content) = (self.root().join("state"), self.root().join("content"));
        let mut facts = choose::probe(Paths {
            content: &content,
            state: &state,
            drivers: &self.drivers_path(),
        })?;
        facts.vfs_without_xattrs = self.storage.request.options.vfs_xattrs == Xattrs::BestEffort;
        Ok(facts)
    }

    fn drivers_path(&self) -> PathBuf {
        self.root().join("state").join("drivers")
    }

    fn works_path(&self) -> PathBuf {
        self.run_path.join("drivers-that-work")
    }
}

/// The drivers that worked when they were last tried under this kernel, the best first.
fn remembered(path: &Path) -> Vec<DriverName> {
    // Whatever cannot be read is tried again.
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let names: std::result::Result<Vec<DriverName>, _> = text.lines().map(str::parse).collect();
    names.unwrap_or_default()
}

fn remember(path: &Path, choice: &Choice) -> Result<()> {
    let works = choice.candidates.iter().filter(|one| one.verdict.is_ok());
    let text: String = works.map(|one| format!("{}\n", one.driver)).collect();
    let new = path.with_extension(format!("{}", std::process::id()));
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::File::create(&new)?;
        file.write_all(text.as_bytes())?;
        rustix::fs::rename(&new, path).map_err(Into::into)
    };
    match write() {
        // Somebody who may not write there asks; the next one tries again.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        written => written.map_err(io_error("write", path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapstrake_drivers::choose::Candidate;

    #[test]
    fn what_works_is_remembered_in_order_and_damage_is_forgotten() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("drivers-that-work");
        assert_eq!(remembered(&path), []);
        let candidate = |driver, works| Candidate {
            driver,
            verdict: if works {
                Ok(Vec::new())
            } else {
                Err(choose::Problem {
                    why: String::new(),
                    instead: String::new(),
                })
            },
        };
        let choice = Choice {
            driver: DriverName::Overlay2,
            why: String::new(),
            candidates: vec![
                candidate(DriverName::Erofs, false),
                candidate(DriverName::Overlay2, true),
                candidate(DriverName::Vfs, true),
            ],
            notes: Vec::new(),
        };
        remember(&path, &choice).expect("written");
        assert_eq!(remembered(&path), [DriverName::Overlay2, DriverName::Vfs]);
        std::fs::File::create(&path)
            .and_then(|mut file| file.write_all(b"overlay2\nnonsense\n"))
            .expect("written");
        assert_eq!(remembered(&path), []);
    }
}
