//! The watermark: when the disk runs short, what nobody used for the longest time goes.
//!
//! ```text
//! facts ── what there is, when it was used, who holds it          read while a collection is under way
//! decide ─ what goes, in order, what stays, and why               a pure function; what a dry run shows
//! pass ─── the first that goes is removed as pruning removes it; then all is looked at anew, until there is room
//! keeper ─ a daemon's watch over it: in the background, off unless it is asked for, every decision in the log
//! ```
//!
//! What it keeps true: nothing goes that is used, mounted, leased or protected, and nothing that was used a moment ago;
//! no more goes than brings the mark back. Each removal is decided from what is so at that moment, so whatever happens
//! beside it is met as pruning meets it.

mod decide;
mod decision;
mod facts;
mod freeing;
mod keeper;
mod log;
mod pass;
mod policy;
mod space;
#[cfg(test)]
mod tests;

pub use decision::{Decision, Goes, Stays, Subject, Verdict, Why};
pub use keeper::{Keeper, KeeperSettings, Keeping};
pub use policy::{Mark, MarkError, Policy};
pub use space::Space;
