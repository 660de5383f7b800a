//! Tables that fit where they are read.
//!
//! On a terminal, columns that may be shortened are, until the table has the terminal's width; elsewhere
//! nothing is, for programs read it. `COLUMNS` says the width if it is set. What documents from outside
//! say is shown without control characters.

use std::io::IsTerminal as _;
use std::time::{Duration, SystemTime};

/// Between two columns.
const GAP: usize = 2;

/// A column: its title, and how it is shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    title: &'static str,
    right: bool,
    /// The least width that it may be shortened to.
    least: Option<usize>,
}

impl Column {
    /// Text that is always shown whole.
    pub(crate) const fn text(title: &'static str) -> Self {
        Self {
            title,
            right: false,
            least: None,
        }
    }

    /// A number.
    pub(crate) const fn number(title: &'static str) -> Self {
        Self {
            title,
            right: true,
            least: None,
        }
    }

    /// Text of which the middle may be left out, down to so many characters.
    pub(crate) const fn long(title: &'static str, least: usize) -> Self {
        Self {
            title,
            right: false,
            least: Some(least),
        }
    }
}

/// The lines of a table, its titles first.
pub(crate) fn lines(columns: &[Column], rows: &[Vec<String>], fit: Option<usize>) -> Vec<String> {
    let rows: Vec<Vec<String>> = (rows.iter())
        .map(|row| row.iter().map(|cell| plain(cell)).collect())
        .collect();
    let width = |at: usize, column: &Column| {
        let cells = rows.iter().filter_map(|row| row.get(at));
        let longest = cells.map(|cell| length(cell)).max().unwrap_or(0);
        longest.max(column.title.len())
    };
    let mut widths: Vec<usize> = (columns.iter().enumerate())
        .map(|(at, column)| width(at, column))
        .collect();
    if let Some(fit) = fit {
        shorten(columns, &mut widths, fit);
    }
    let titles: Vec<_> = columns
        .iter()
        .map(|column| column.title.to_owned())
        .collect();
    std::iter::once(&titles)
        .chain(&rows)
        .map(|row| line(columns, &widths, row))
        .collect()
}

/// How wide results are shown; `None` if nobody looks.
pub(crate) fn width() -> Option<usize> {
    let said = std::env::var("COLUMNS").ok();
    if let Some(columns) = said.and_then(|text| text.parse().ok()) {
        return Some(columns);
    }
    if !std::io::stdout().is_terminal() {
        return None;
    }
    let size = console::Term::stdout().size_checked();
    Some(size.map_or(80, |(_, columns)| usize::from(columns)))
}

/// How long ago something was, as Docker says it.
pub(crate) fn ago(then: Option<SystemTime>, now: SystemTime) -> String {
    let Some(then) = then else {
        return "-".to_owned();
    };
    let since = now.duration_since(then).unwrap_or(Duration::ZERO).as_secs();
    let (count, unit) = match since {
        0..60 => (since, "second"),
        60..3600 => (since / 60, "minute"),
        3600..172_800 => (since / 3600, "hour"),
        172_800..1_209_600 => (since / 86_400, "day"),
        1_209_600..5_184_000 => (since / 604_800, "week"),
        5_184_000..63_072_000 => (since / 2_592_000, "month"),
        _ => (since / 31_536_000, "year"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural} ago")
}

/// Without characters that a terminal obeys.
pub(crate) fn plain(text: &str) -> String {
    let is_control =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars()
        .map(|c| if is_control(c) { ' ' } else { c })
        .collect()
}

/// A text of at most so many characters, with the middle left out if it has more.
pub(crate) fn elide(text: &str, most: usize) -> String {
    let count = length(text);
    if count <= most {
        return text.to_owned();
    }
    let kept = most.saturating_sub(1);
    let (head, tail) = (kept - kept / 2, kept / 2);
    let begin: String = text.chars().take(head).collect();
    let end: String = text.chars().skip(count - tail).collect();
    format!("{begin}…{end}")
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// Takes from the widest column that has something to give, one by one, until all fit.
fn shorten(columns: &[Column], widths: &mut [usize], fit: usize) {
    let gaps = GAP * columns.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > fit {
        let may_give = |at: &usize| columns[*at].least.is_some_and(|least| widths[*at] > least);
        let Some(widest) = (0..columns.len())
            .filter(may_give)
            .max_by_key(|at| widths[*at])
        else {
            return;
        };
        widths[widest] -= 1;
    }
}

fn line(columns: &[Column], widths: &[usize], row: &[String]) -> String {
    let mut line = String::new();
    for ((column, width), cell) in columns.iter().zip(widths).zip(row) {
        let cell = elide(cell, *width);
        let space = " ".repeat(width - length(&cell));
        if !line.is_empty() {
            line.push_str(&" ".repeat(GAP));
        }
        if column.right {
            line.push_str(&space);
            line.push_str(&cell);
        } else {
            line.push_str(&cell);
            line.push_str(&space);
        }
    }
    line.truncate(line.trim_end().len());
    line
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const COLUMNS: [Column; 3] = [
        Column::long("NAME", 8),
        Column::text("ID"),
        Column::number("SIZE"),
    ];

    fn rows() -> Vec<Vec<String>> {
        [
            ["registry.example.com/team/app", "0123", "1.0GB"],
            ["debian", "4567", "9B"],
        ]
        .map(|row| row.map(str::to_owned).to_vec())
        .to_vec()
    }

    #[test]
    fn nothing_is_left_out_where_nobody_looks() {
        let want = [
            "NAME                           ID     SIZE",
            "registry.example.com/team/app  0123  1.0GB",
            "debian                         4567     9B",
        ];
        assert_eq!(lines(&COLUMNS, &rows(), None), want);
    }

    #[test]
    fn long_columns_give_what_is_too_wide() {
        let want = [
            "NAME             ID     SIZE",
            "registr…eam/app  0123  1.0GB",
            "debian           4567     9B",
        ];
        assert_eq!(lines(&COLUMNS, &rows(), Some(28)), want);
        // Not more than they may.
        assert_eq!(
            lines(&COLUMNS, &rows(), Some(3))[1],
            "regi…app  0123  1.0GB"
        );
    }

    #[test]
    fn control_characters_are_not_shown() {
        assert_eq!(plain("a\tb\u{1b}[31m\nc"), "a b [31m c");
    }

    #[test]
    fn times_are_said_in_their_largest_unit() {
        let now = UNIX_EPOCH + Duration::from_secs(2_000_000_000);
        let at = |seconds| ago(Some(now - Duration::from_secs(seconds)), now);
        for (seconds, want) in [
            (1, "1 second ago"),
            (119, "1 minute ago"),
            (3600, "1 hour ago"),
            (172_800, "2 days ago"),
            (15 * 86_400, "2 weeks ago"),
            (61 * 86_400, "2 months ago"),
            (800 * 86_400, "2 years ago"),
        ] {
            assert_eq!(at(seconds), want);
        }
        assert_eq!(ago(None, now), "-");
        assert_eq!(
            ago(Some(now + Duration::from_secs(9)), now),
            "0 seconds ago"
        );
    }
}
