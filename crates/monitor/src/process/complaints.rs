//! What went wrong without being able to stop the monitor: lines in a file of its directory, made when
//! there is a first one.

use std::fmt::Display;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use crate::place::Place;
use crate::time::Timestamp;

/// The file's name.
const FILE: &str = "monitor.err";

/// A disk that is full makes a complaint for every line of a log.
const LIMIT: u32 = 1000;

#[derive(Debug, Clone)]
pub(super) struct Complaints {
    path: PathBuf,
    made: u32,
}

impl Complaints {
    pub(super) fn new(place: &Place) -> Self {
        Self {
            path: place.here(FILE),
            made: 0,
        }
    }

    pub(super) fn note<E: Display>(&mut self, what: &str, done: Result<(), E>) {
        if let Err(error) = done {
            self.make(&format!("{what}: {error}"));
        }
    }

    pub(super) fn make(&mut self, text: &str) {
        if self.made == LIMIT {
            return;
        }
        self.made += 1;
        let file = File::options().append(true).create(true).open(&self.path);
        // Nobody is left to hear that this fails too.
        drop(file.and_then(|mut file| writeln!(file, "{} {text}", Timestamp::now())));
    }
}
