//! Content tiers: stage, verify, publish.
#![forbid(unsafe_code)]
