//! Bars on a terminal, and lines where there is none.
//!
//! What it keeps true: nothing is wider than the terminal, and there are never more bars than it has
//! lines; items for which there is no line count in the bar below, which is there for all of them.
//! Where there is no terminal, nothing but whole lines of text is written.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::render;

/// Lines that are left for the shell's prompt, the bar for all, and one that scrolls.
const OTHER_LINES: usize = 3;

/// Where progress is shown.
pub(crate) struct Screen {
    /// Without one there are lines.
    bars: Option<Bars>,
}

struct Bars {
    /// Its lines and columns, now.
    size: Box<dyn Fn() -> (u16, u16) + Send + Sync>,
    all: MultiProgress,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    items: BTreeMap<String, Item>,
    /// Items that are finished.
    finished: usize,
    /// The bar for all, once there is more than one item.
    total: Option<ProgressBar>,
}

struct Item {
    bytes: u64,
    at: u64,
    stage: Stage,
}

enum Stage {
    Expected,
    /// Without a bar if there was no line for it.
    Running(Option<ProgressBar>),
    Finished,
}

impl Screen {
    /// On standard error.
    pub(crate) fn stderr() -> Self {
        let terminal = Term::stderr();
        if !terminal.is_term() {
            return Self { bars: None };
        }
        Self::over(ProgressDrawTarget::stderr(), move || terminal.size())
    }

    fn over(
        target: ProgressDrawTarget,
        size: impl Fn() -> (u16, u16) + Send + Sync + 'static,
    ) -> Self {
        let bars = Bars {
            size: Box::new(size),
            all: MultiProgress::with_draw_target(target),
            state: Mutex::default(),
        };
        Self { bars: Some(bars) }
    }

    /// An item of so many bytes is to come.
    pub(crate) fn expect(&self, name: &str, bytes: u64) {
        self.change(|bars, state| {
            state.expect(name, bytes);
            bars.count(state);
        });
    }

    /// Work on an item begins, so far from its beginning. Begins anew if it had begun before.
    pub(crate) fn start(&self, name: &str, bytes: u64, at: u64) {
        self.change(|bars, state| {
            state.expect(name, bytes);
            if let Some(item) = state.items.get_mut(name) {
                item.at = at;
                if let Stage::Running(Some(bar)) = &item.stage {
                    bar.set_position(at);
                    bar.set_message("");
                } else {
                    item.stage = Stage::Running(None);
                }
            }
            bars.fit(state);
            bars.count(state);
        });
    }

    /// An item is so far.
    pub(crate) fn at(&self, name: &str, at: u64) {
        self.change(|bars, state| {
            if let Some(item) = state.items.get_mut(name) {
                item.at = at;
                if let Stage::Running(Some(bar)) = &item.stage {
                    bar.set_position(at);
                }
            }
            bars.count(state);
        });
    }

    /// An item is so much further.
    pub(crate) fn more(&self, name: &str, bytes: u64) {
        self.change(|_, state| {
            if let Some(item) = state.items.get_mut(name) {
                item.at += bytes;
                if let Stage::Running(Some(bar)) = &item.stage {
                    bar.set_position(item.at);
                }
            }
        });
    }

    /// What is done with an item, in a word of at most nine letters.
    pub(crate) fn phase(&self, name: &str, what: &'static str) {
        self.change(|_, state| {
            if let Some(Stage::Running(Some(bar))) = state.items.get(name).map(|item| &item.stage) {
                bar.set_message(what);
            }
        });
    }

    /// An item is done.
    pub(crate) fn finish(&self, name: &str) {
        self.change(|bars, state| {
            let Some(item) = state.items.get_mut(name) else {
                return;
            };
            item.at = item.bytes;
            let before = std::mem::replace(&mut item.stage, Stage::Finished);
            if let Stage::Running(Some(bar)) = before {
                bar.finish_and_clear();
                bars.all.remove(&bar);
            }
            bars.fit(state);
            bars.count(state);
        });
    }

    /// A line for a log; a terminal has bars instead.
    pub(crate) fn line(&self, text: &str) {
        if self.bars.is_none() {
            render::say(text);
        }
    }

    /// A line that also a person at a terminal wants to see.
    pub(crate) fn warn(&self, text: &str) {
        match &self.bars {
            // A terminal that is gone is nobody's loss.
            Some(bars) => bars.all.suspend(|| render::say(text)),
            None => render::say(text),
        }
    }

    /// Takes all bars away.
    pub(crate) fn clear(&self) {
        self.change(|bars, state| {
            *state = State::default();
            drop(bars.all.clear());
        });
    }

    fn change(&self, change: impl FnOnce(&Bars, &mut State)) {
        if let Some(bars) = &self.bars {
            change(bars, &mut bars.lock());
        }
    }
}

impl State {
    fn expect(&mut self, name: &str, bytes: u64) {
        self.items.entry(name.to_owned()).or_insert(Item {
            bytes,
            at: 0,
            stage: Stage::Expected,
        });
    }
}

impl Bars {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives bars to items that run, as far as there are lines.
    fn fit(&self, state: &mut State) {
        let (rows, columns) = (self.size)();
        let lines = usize::from(rows).saturating_sub(OTHER_LINES).max(1);
        let shown = state
            .items
            .values()
            .filter(|item| matches!(item.stage, Stage::Running(Some(_))))
            .count();
        let without = state
            .items
            .iter_mut()
            .filter(|(_, item)| matches!(item.stage, Stage::Running(None)));
        for (name, item) in without.take(lines.saturating_sub(shown)) {
            let bar = ProgressBar::new(item.bytes)
                .with_prefix(name.clone())
                .with_position(item.at)
                .with_style(style(Kind::Item, columns));
            let bar = match &state.total {
                Some(total) => self.all.insert_before(total, bar),
                None => self.all.add(bar),
            };
            item.stage = Stage::Running(Some(bar));
        }
    }

    /// Brings the bar for all up to date.
    fn count(&self, state: &mut State) {
        if state.items.len() < 2 {
            return;
        }
        let columns = (self.size)().1;
        let total = state.total.get_or_insert_with(|| {
            let bar = ProgressBar::new(0).with_style(style(Kind::Total, columns));
            self.all.add(bar)
        });
        let (mut bytes, mut at, mut finished) = (0_u64, 0_u64, 0);
        for item in state.items.values() {
            bytes = bytes.saturating_add(item.bytes);
            at = at.saturating_add(item.at.min(item.bytes));
            finished += usize::from(matches!(item.stage, Stage::Finished));
        }
        if state.finished != finished || total.length() != Some(bytes) {
            state.finished = finished;
            total.set_length(bytes);
            total.set_prefix(format!("{finished}/{}", state.items.len()));
        }
        total.set_position(at);
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Item,
    Total,
}

/// As much as fits on a line.
fn template(kind: Kind, columns: u16) -> &'static str {
    match (kind, columns) {
        (Kind::Item, 72..) => {
            "{prefix:12} {wide_bar} {decimal_bytes:>9}/{decimal_total_bytes:9} {decimal_bytes_per_sec:>11} {msg:9}"
        }
        (Kind::Total, 72..) => {
            "{prefix:12} {wide_bar} {decimal_bytes:>9}/{decimal_total_bytes:9} {decimal_bytes_per_sec:>11} {eta:>9}"
        }
        (_, 40..) => "{prefix:12} {wide_bar} {decimal_bytes:>9}",
        (_, 20..) => "{prefix:12} {percent:>3}%",
        (_, _) => "{percent:>3}%",
    }
}

fn style(kind: Kind, columns: u16) -> ProgressStyle {
    // The templates are constants, and a test reads them all.
    ProgressStyle::with_template(template(kind, columns))
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use indicatif::InMemoryTerm;

    use super::*;

    /// A terminal of that size, in the middle of the work on a hundred items of which some run.
    fn check(rows: u16, columns: u16, running: usize, want: &[&str]) {
        let terminal = InMemoryTerm::new(rows, columns);
        let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
        let screen = Screen::over(target, move || (rows, columns));
        let name = |number: usize| format!("{number:012}");
        for number in 0..100 {
            screen.expect(&name(number), 1_000_000_000);
        }
        for number in 0..running {
            screen.start(&name(number), 1_000_000_000, 0);
            screen.at(&name(number), 999_999_999);
            screen.phase(&name(number), "verifying");
        }
        // Drawing is held back to twenty times a second.
        std::thread::sleep(std::time::Duration::from_millis(200));
        screen.at(&name(0), 500_000_000);
        let shown = terminal.contents();
        let lines: Vec<_> = shown.lines().collect();
        assert!(lines.len() < usize::from(rows), "{shown}");
        let bars = running.min(usize::from(rows) - OTHER_LINES);
        assert_eq!(lines.len(), bars + 1, "no line is broken in two:\n{shown}");
        for (line, want) in [lines[0], lines[lines.len() - 1]].iter().zip(want) {
            assert!(line.contains(want), "{want}:\n{shown}");
        }
        screen.clear();
        assert_eq!(terminal.contents().trim(), "");
    }

    #[test]
    fn what_is_shown_fits_the_terminal() {
        check(24, 80, 3, &["000000000000 =", "0/100"]);
        check(24, 80, 64, &["000000000000 =", "0/100"]);
        check(24, 72, 3, &["000000000000 =", "0/100"]);
        check(10, 40, 64, &["000000000000 =", "0/100"]);
        check(6, 20, 3, &["000000000000  50%", "0/100"]);
        check(4, 8, 3, &["50%", "%"]);
    }

    #[test]
    fn every_template_is_one() {
        for columns in [10, 30, 50, 80, 200] {
            for kind in [Kind::Item, Kind::Total] {
                let template = template(kind, columns);
                assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
            }
        }
    }
}
