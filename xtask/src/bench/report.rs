//! Results as rows, and rows as text.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::series::Series;

/// Our own subject's name in every row.
pub const OURS: &str = "lapstrake";

/// One subject's results in one quantity of one measure; less is better in all of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    /// What was measured: "pull of science".
    pub measure: String,
    /// The quantity with its unit: "ready, s".
    pub quantity: String,
    /// Who: "lapstrake", "dockerd", "overlay2".
    pub subject: String,
    /// The observations.
    pub values: Series,
}

impl Row {
    /// One subject's results.
    pub fn new(measure: &str, quantity: &str, subject: &str, values: Series) -> Self {
        Self {
            measure: measure.to_owned(),
            quantity: quantity.to_owned(),
            subject: subject.to_owned(),
            values,
        }
    }
}

/// Puts new rows in the place of those for the same quantities.
pub fn merge(rows: &mut Vec<Row>, new: Vec<Row>) {
    let key = |row: &Row| (row.measure.clone(), row.quantity.clone());
    let measured = new.iter().map(key).collect::<BTreeSet<_>>();
    let place = rows.iter().position(|row| measured.contains(&key(row)));
    rows.retain(|row| !measured.contains(&key(row)));
    let place = place.unwrap_or(rows.len()).min(rows.len());
    rows.splice(place..place, new);
}

/// Prints rows as a table.
#[expect(clippy::print_stdout, reason = "the table is what the command is for")]
pub fn print(rows: &[Row]) {
    println!("{}", table(rows));
}

/// Rows as a Markdown table. The last column compares the row with ours of the same quantity:
/// "3.0x" is three times what we take.
pub fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| measure | quantity | subject | median | min | max | n | to ours |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for row in rows.iter().filter(|row| row.values.count() > 0) {
        let ours = rows.iter().find(|other| {
            other.subject == OURS && other.measure == row.measure && other.quantity == row.quantity
        });
        let ratio = match ours {
            Some(ours) if row.subject != OURS && ours.values.median() > 0.0 => {
                format!("{:.2}x", row.values.median() / ours.values.median())
            }
            _ => String::new(),
        };
        let Row {
            measure,
            quantity,
            subject,
            values,
        } = row;
        let [median, min, max] = [values.median(), values.min(), values.max()].map(number);
        let count = values.count();
        writeln!(
            text,
            "| {measure} | {quantity} | {subject} | {median} | {min} | {max} | {count} | {ratio} |"
        )
        .expect("a String takes any text");
    }
    text
}

fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        large if large >= 10.0 => format!("{value:.1}"),
        large if large >= 0.1 => format!("{value:.2}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(subject: &str, value: f64) -> Row {
        Row::new("pull", "s", subject, Series::from_iter([value]))
    }

    #[test]
    fn what_is_measured_again_takes_the_old_place() {
        let other = || Row::new("mount", "ms", "lapstrake", Series::from_iter([9.0]));
        let mut rows = vec![row("lapstrake", 1.0), row("podman", 2.0), other()];
        merge(&mut rows, vec![row("lapstrake", 3.0)]);
        assert_eq!(table(&rows), table(&[row("lapstrake", 3.0), other()]));
    }

    #[test]
    fn a_row_is_compared_with_ours_of_the_same_quantity() {
        let text = table(&[row("lapstrake", 2.0), row("dockerd", 15.0)]);
        assert!(text.ends_with(
            "| pull | s | lapstrake | 2.00 | 2.00 | 2.00 | 1 |  |\n\
             | pull | s | dockerd | 15.0 | 15.0 | 15.0 | 1 | 7.50x |\n"
        ));
    }
}
