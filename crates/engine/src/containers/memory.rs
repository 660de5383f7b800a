//! A container in which the kernel killed a process for want of memory: each time is told once.
//!
//! A container's monitor counts the times since the start, and the record how many of these were told, so that what happened
//! while no daemon was there is told by the next one. The record is on disk before an event goes out: a crash between the two
//! loses the event, and `OOMKilled` stays.

use std::sync::Arc;

use super::Containers;
use super::container::Container;
use super::record::State;
use crate::events::{self, Action};

impl Containers {
    /// Writes down and tells that it happened so many times since the start.
    pub(crate) async fn out_of_memory(&self, container: &Arc<Container>, times: u64) {
        let untold = container.change(|record| take_note(&mut record.state, times));
        if untold == 0 {
            return;
        }
        let this = Arc::clone(container);
        if let Err(error) = self.blocking(move |all| all.save(&this)).await {
            // A later daemon tells it again.
            self.note(&format!(
                "container {}: that it ran out of memory could not be recorded: {error}",
                container.id
            ));
        }
        self.tell_out_of_memory(container, untold);
    }

    /// Tells it so many times, but no more than anybody could look up.
    pub(crate) fn tell_out_of_memory(&self, container: &Container, times: u64) {
        for _ in 0..times.min(events::KEPT as u64) {
            self.tell(container, Action::OutOfMemory, &[]);
        }
    }
}

/// Takes note that it happened so many times since the start; how many of these were not told.
pub(crate) fn take_note(state: &mut State, times: u64) -> u64 {
    let untold = times.saturating_sub(state.out_of_memory_told);
    state.out_of_memory |= times > 0;
    state.out_of_memory_told += untold;
    untold
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_told_once() {
        let mut state = State::default();
        let told = [0, 1, 1, 4, 3, 4].map(|times| take_note(&mut state, times));
        assert_eq!(told, [0, 1, 0, 3, 0, 0]);
        assert!(state.out_of_memory);
    }
}
