//! Observations of several subjects in several quantities, on their way to rows.

use super::cgroup::Group;
use super::report::Row;
use super::scratch::timed;
use super::series::Series;
use crate::error::Result;

/// One measure's observations. Rows of one quantity stand together; else what was seen first comes first.
#[derive(Debug)]
pub struct Tally {
    measure: String,
    rows: Vec<Row>,
}

impl Tally {
    /// Nothing seen yet.
    pub fn new(measure: &str) -> Self {
        Self {
            measure: measure.to_owned(),
            rows: Vec::new(),
        }
    }

    /// Adds one observation.
    pub fn saw(&mut self, quantity: &str, subject: &str, value: f64) {
        let of_quantity = |row: &Row| row.quantity == quantity;
        if let Some(row) = self
            .rows
            .iter_mut()
            .find(|row| of_quantity(row) && row.subject == subject)
        {
            row.values.push(value);
            return;
        }
        let place = self.rows.iter().rposition(of_quantity);
        let place = place.map_or(self.rows.len(), |last| last + 1);
        let row = Row::new(&self.measure, quantity, subject, Series::from_iter([value]));
        self.rows.insert(place, row);
    }

    /// Adds what a piece of work cost.
    pub fn saw_cost(&mut self, subject: &str, cost: &Cost) {
        self.saw("s", subject, cost.seconds);
        self.saw("CPU, s", subject, cost.cpu);
        self.saw("memory, MB", subject, cost.memory);
    }

    /// The rows.
    pub fn rows(self) -> Vec<Row> {
        self.rows
    }
}

/// What a piece of work in a group cost.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Seconds until it was done.
    pub seconds: f64,
    /// Processor seconds of the whole group meanwhile.
    pub cpu: f64,
    /// The most anonymous and kernel memory of the group, in MB.
    pub memory: f64,
}

/// Does something in a group; what it returned, and its cost.
pub fn costed<T>(group: &Group, work: impl FnOnce() -> Result<T>) -> Result<(T, Cost)> {
    let cpu = group.cpu_seconds()?;
    let memory = group.watch_memory();
    let (value, seconds) = timed(work)?;
    let cost = Cost {
        seconds,
        cpu: group.cpu_seconds()? - cpu,
        memory: megabytes(memory.peak()),
    };
    Ok((value, cost))
}

/// For people to read.
#[expect(clippy::cast_precision_loss, reason = "for people to read")]
pub fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_quantity_stand_together() {
        let mut tally = Tally::new("save");
        tally.saw("s", "lapstrake", 1.0);
        tally.saw("CPU, s", "lapstrake", 0.5);
        tally.saw("s", "cat", 2.0);
        tally.saw("s", "lapstrake", 3.0);
        let rows = tally.rows();
        let seen = rows
            .iter()
            .map(|row| (&*row.quantity, &*row.subject, row.values.median()));
        assert_eq!(
            seen.collect::<Vec<_>>(),
            [
                ("s", "lapstrake", 2.0),
                ("s", "cat", 2.0),
                ("CPU, s", "lapstrake", 0.5)
            ]
        );
    }
}
