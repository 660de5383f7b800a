//! Rules that no compiler checks, as tests: which crate may know which, what every source file
//! has, what we may depend on.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod arrows;
mod dependencies;
mod metadata;
mod sources;
