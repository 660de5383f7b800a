//! Holes, spans and sources: how a missing range is made again.
#![forbid(unsafe_code)]
