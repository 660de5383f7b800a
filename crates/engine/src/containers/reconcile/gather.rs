//! What a daemon finds when it starts: the containers that have records. What has none is swept.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use lapstrake_monitor::client::Client;

use super::super::Containers;
use super::super::container::Container;
use super::super::dirs::remove_dir;
use super::super::error::{Result, io_error};
use super::super::record::Record;
use super::super::signal;
use super::{LOOK, PATIENCE, is_id, names_in};

/// What was found.
#[derive(Debug)]
pub(super) struct Gathered {
    /// The containers whose records can be read.
    pub(super) containers: Vec<Arc<Container>>,
    /// The ids of those that have something in the run directory.
    pub(super) live: BTreeSet<String>,
    /// The ids of all that have a record, readable or not.
    pub(super) known: BTreeSet<String>,
    /// How much without a record was swept.
    pub(super) swept: usize,
}

impl Containers {
    /// Reads the records, and sweeps what has none.
    pub(super) fn gather(&self) -> Result<Gathered> {
        for dir in [self.run_dir(), self.files_dir(), self.runtime_state()] {
            std::fs::create_dir_all(&dir).map_err(io_error("create", &dir))?;
        }
        let (containers, known) = self.read_records()?;
        let live = names_in(&self.run_dir())?;
        let swept = self.sweep_runs(&live, &known)
            + self.sweep_writables(&known)?
            + self.sweep_files(&known)?;
        Ok(Gathered {
            containers,
            live,
            known,
            swept,
        })
    }

    fn read_records(&self) -> Result<(Vec<Arc<Container>>, BTreeSet<String>)> {
        let rows = self.inner.engine.store.state().containers()?;
        let mut containers = Vec::with_capacity(rows.len());
        let mut known = BTreeSet::new();
        for row in rows {
            known.insert(row.id.clone());
            match serde_json::from_str::<Record>(&row.body) {
                Ok(record) => {
                    self.registry().reserve(&row.name, &row.id)?;
                    let container = Arc::new(Container::new(record));
                    self.registry().add(Arc::clone(&container));
                    containers.push(container);
                }
                Err(error) => self.note(&format!(
                    "container {}: its record can't be read, it is left alone: {error}",
                    row.id
                )),
            }
        }
        Ok((containers, known))
    }

    fn sweep_runs(&self, live: &BTreeSet<String>, known: &BTreeSet<String>) -> usize {
        let mut swept = 0;
        for id in live.difference(known) {
            self.note(&format!(
                "sweeping the run directory of {id}, which has no record"
            ));
            if !self.end_monitor(id) {
                self.note(&format!(
                    "what runs in the run directory of {id} does not end: it is left to the next start"
                ));
                continue;
            }
            match self.tear_down(id) {
                Ok(()) => swept += 1,
                Err(error) => self.note(&format!("the run directory of {id}: {error}")),
            }
        }
        swept
    }

    fn sweep_writables(&self, known: &BTreeSet<String>) -> Result<usize> {
        // The database is let go before what is swept asks for it.
        let writables = self.inner.engine.store.state().writables()?;
        let mut swept = 0;
        for writable in writables {
            let name = &writable.name;
            if !is_id(name) || known.contains(name) {
                continue;
            }
            self.note(&format!(
                "sweeping the writable layer {name}, which has no record"
            ));
            match self.inner.engine.remove_writable(name) {
                Ok(()) => swept += 1,
                Err(error) => self.note(&format!("the writable layer {name}: {error}")),
            }
        }
        Ok(swept)
    }

    fn sweep_files(&self, known: &BTreeSet<String>) -> Result<usize> {
        let mut swept = 0;
        for id in names_in(&self.files_dir())?.difference(known) {
            match remove_dir(&self.files_dir().join(id)) {
                Ok(()) => swept += 1,
                Err(error) => {
                    self.note(&format!("the files of {id}, which has no record: {error}"));
                }
            }
        }
        Ok(swept)
    }

    /// Ends what runs under the monitor of something that has no record. Whether it has ended: what waits for a disk
    /// does not.
    fn end_monitor(&self, id: &str) -> bool {
        let client = Client::new(&self.places(id).run);
        // Whatever of it is there or not, it is gone afterwards.
        drop(client.dismiss());
        drop(client.signal(signal::KILL));
        let deadline = Instant::now() + PATIENCE;
        while client.state().is_ok() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(LOOK);
        }
        self.delete_from_runtime(None, id);
        true
    }
}
