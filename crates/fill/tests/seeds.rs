//! What fuzzers begin with, and what they found, as ordinary tests.

#[path = "shared/any.rs"]
mod any;

use lapstrake_testkit::seeds::replay;

#[test]
fn seeds_of_spans() {
    replay("spans", any::any_spans);
}
