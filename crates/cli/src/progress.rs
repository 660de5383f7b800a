//! How long work goes: bars on a terminal, lines elsewhere, objects with `--json`, nothing with `--quiet`.
//!
//! One renderer for every verb. What happens is an [`Event`] of the engine; `progress/` says for each
//! kind what it is as an object and what it does to the screen.

mod events;
mod screen;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::context::Context;
use crate::render;
pub(crate) use screen::Screen;

/// How often an object tells how far one item is.
const EVERY: Duration = Duration::from_millis(500);

/// Something that happens during long work.
pub(crate) trait Event {
    /// As an object, so long after the work began; none if it is not worth one.
    fn object(&self, after: Duration) -> Option<Value>;
    /// What is told so often that not each time is worth an object: the name of the item.
    fn often(&self) -> Option<String> {
        None
    }
    /// Shown to a person.
    fn show(&self, screen: &Screen);
}

/// Shows long work.
pub(crate) struct Progress {
    start: Instant,
    to: To,
}

enum To {
    Nobody,
    Objects(Mutex<HashMap<String, Instant>>),
    Screen(Screen),
}

impl Progress {
    /// With the manner that was asked for.
    pub(crate) fn new(context: &Context) -> Self {
        let to = if context.json {
            To::Objects(Mutex::default())
        } else if context.quiet {
            To::Nobody
        } else {
            To::Screen(Screen::stderr())
        };
        Self::to(to)
    }

    /// As [`Progress::new`], for a verb whose standard output is a stream of bytes: no objects.
    pub(crate) fn beside_a_stream(context: &Context) -> Self {
        if context.json {
            Self::to(To::Nobody)
        } else {
            Self::new(context)
        }
    }

    fn to(to: To) -> Self {
        Self {
            start: Instant::now(),
            to,
        }
    }

    /// Shows an event.
    pub(crate) fn tell(&self, event: &impl Event) {
        match &self.to {
            To::Nobody => {}
            To::Screen(screen) => event.show(screen),
            To::Objects(told) => {
                if let Some(item) = event.often() {
                    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                    let now = Instant::now();
                    let before = told.get(&item);
                    if before.is_some_and(|before| now.duration_since(*before) < EVERY) {
                        return;
                    }
                    told.insert(item, now);
                }
                if let Some(object) = event.object(self.start.elapsed()) {
                    render::json(&object);
                }
            }
        }
    }

    /// Takes the bars away. Also done when this is dropped.
    pub(crate) fn clear(&self) {
        if let To::Screen(screen) = &self.to {
            screen.clear();
        }
    }

    /// Milliseconds since the work began.
    pub(crate) fn millis(&self, at: Instant) -> f64 {
        at.duration_since(self.start).as_secs_f64() * 1e3
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
